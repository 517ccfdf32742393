"""Write speech to a file while the rest is still being synthesized.

python examples/stream_to_file.py "Hello there."

A player that reads chunks of samples can take the place of the file.
"""

from __future__ import annotations

import argparse
import time

import soundfile

import valle


def main() -> None:
    """Stream the speech of a text to a file, and print when each chunk is ready."""
    parser = argparse.ArgumentParser(description="Write speech to a file while it is being synthesized.")
    parser.add_argument("text", nargs="?", default="The first words are ready before the last ones are synthesized.")
    parser.add_argument("--output", default="streamed.wav", help="file to write (default: streamed.wav)")
    args = parser.parse_args()

    tts = valle.load("small")
    start = time.perf_counter()
    with soundfile.SoundFile(args.output, "w", samplerate=tts.codec.sample_rate, channels=1) as file:
        for chunk in tts.stream(args.text):
            file.write(chunk.samples)
            seconds = file.tell() / tts.codec.sample_rate
            print(f"{seconds:.1f} s of audio after {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()

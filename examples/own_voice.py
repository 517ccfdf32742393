"""Synthesize a text in the voice of a recording.

python examples/own_voice.py 3s.wav "Hello there."
python examples/own_voice.py 3s.wav "Hello there." --transcript "What the recording says."
"""

from __future__ import annotations

import argparse

import valle


def main() -> None:
    """Write several candidates in the voice of a recording, each with the verdict on its completeness."""
    parser = argparse.ArgumentParser(description="Synthesize a text in the voice of a recording.")
    parser.add_argument("recording", help="3 to 10 seconds of one speaker, without background noise")
    parser.add_argument("text")
    parser.add_argument("--transcript", help="words of the recording; without them it conditions on the voice alone")
    parser.add_argument("--seeds", type=int, default=2, help="number of renditions (default: 2)")
    args = parser.parse_args()

    tts = valle.load("small")
    # The recording is read, corrected and encoded once for all renditions.
    prompt = tts.prompt(args.recording, args.transcript)
    seeds = list(range(args.seeds))
    results = tts.synthesize_batch([args.text] * len(seeds), [prompt] * len(seeds), seeds=seeds)
    for seed, speech in zip(seeds, results, strict=True):
        path = f"own_voice-{seed}.wav"
        speech.audio.save(path)
        # The bundled model's codes stand for phones, so each result is aligned with its text.
        assert speech.quality is not None
        print(f"{path}: {speech.quality.verdict}")


if __name__ == "__main__":
    main()

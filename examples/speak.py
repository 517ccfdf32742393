"""Synthesize a text with the bundled model and its default voice.

python examples/speak.py "Hello there."
"""

from __future__ import annotations

import argparse

import valle


def main() -> None:
    """Write the speech of a text to a file."""
    parser = argparse.ArgumentParser(description="Synthesize a text with the bundled model.")
    parser.add_argument("text", nargs="?", default="Hello there. This is a neural codec language model.")
    parser.add_argument("--output", default="speech.wav", help="file to write (default: speech.wav)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another rendition (default: 0)")
    args = parser.parse_args()

    tts = valle.load("small")
    audio = tts.synthesize(args.text, seed=args.seed)
    audio.save(args.output)
    print(f"{args.output}: {len(audio.samples) / audio.sample_rate:.1f} s")


if __name__ == "__main__":
    main()

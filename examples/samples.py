"""Synthesize the samples of docs/samples with the bundled model.

python examples/samples.py [--output FOLDER]

Four samples have the default voice. Two have the voices of recordings that espeak-ng speaks, by the scripts of the
generated corpus (egs/mini), which are written beside them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import valle
from valle.audio import mp3

ROOT = Path(__file__).resolve().parents[1]
# The synthesizer of the generated corpus belongs to its recipe.
sys.path.append(str(ROOT / "egs" / "mini" / "local"))
from espeak import EspeakVoice, espeak  # noqa: E402

DEFAULT_VOICE = {
    "greeting": "Hello there. This is a neural codec language model.",
    "story": "The old lighthouse stood at the end of the pier, and nobody remembered who had built it.",
    "question": "Would you like to hear the same sentence in another voice?",
    "numbers": "Dr. Ng paid $20.50 on May 5th, 2021, at 3:05 p.m.",
}
PROMPT_TEXT = "The quick brown fox jumps over the lazy dog near the river bank."
PROMPT_VOICES = {
    "male": EspeakVoice("en-us", "m4", pitch=50, pitch_range=50, rate=160),
    "female": EspeakVoice("en-us", "f1", pitch=50, pitch_range=50, rate=160),
}


def main() -> None:
    """Write the prompts and the samples as MP3 files."""
    parser = argparse.ArgumentParser(description="Synthesize the samples of docs/samples.")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "samples", help="default: docs/samples")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)

    tts = valle.load("small")
    texts = dict(DEFAULT_VOICE)
    prompts = [tts.voice()] * len(texts)
    for name, voice in PROMPT_VOICES.items():
        recording = valle.Audio(espeak().synthesize(PROMPT_TEXT, voice).samples, espeak().sample_rate)
        recording.save(args.output / f"{name}_prompt.flac")
        texts[name] = DEFAULT_VOICE["story"]
        prompts.append(tts.prompt(args.output / f"{name}_prompt.flac"))

    results = tts.synthesize_batch(list(texts.values()), prompts, seeds=[0] * len(texts))
    for name, speech in zip(texts, results, strict=True):
        path = args.output / f"{name}.mp3"
        path.write_bytes(mp3(speech.audio))
        assert speech.quality is not None
        print(f"{path}: {speech.audio.duration:.1f} s, {speech.quality.verdict}")


if __name__ == "__main__":
    main()

"""Measure how often prompts with a wrong transcript or bad audio are reported, and how often correct ones are.

    python benchmarks/prompts.py DATA [--utterances 200]

DATA is a data directory with correct transcripts. Each recording of at most 30 s is read as a prompt with its own
transcript, with another one's, with half of its own, and with its own and half of another one's. It is also read
without a transcript: as it is, which should not be reported, and with white noise 5 dB below the voice or clipped,
which should be.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.progress import track

import valle
from valle import audio
from valle.cli.common import run
from valle.data import kaldi
from valle.errors import UserError
from valle.evaluation.metrics import wilson_interval
from valle.synthesis.prompt import MAX_PROMPT, PromptWarning

# Decibels of the voice above the added noise.
SNR = 5.0
# Share of the peak at which samples are clipped.
CLIP_LEVEL = 0.3
# Seconds; shorter recordings are skipped.
MIN_DURATION = 1.5
SAMPLE_RATE = 16_000


def format_rate(flags: list[bool]) -> str:
    """Format a count and its percentage, with the 95 % Wilson interval."""
    count = sum(flags)
    low, high = wilson_interval(count, len(flags))
    return f"{count} of {len(flags)}: {100 * count / len(flags):.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def add_noise(samples: np.ndarray) -> np.ndarray:
    """Add white noise `SNR` decibels below the level of (time,) samples."""
    noise = np.random.default_rng(0).normal(0, 1, len(samples))
    return (samples + noise * np.sqrt(np.mean(samples**2)) * 10 ** (-SNR / 20)).astype(np.float32)


def clip(samples: np.ndarray) -> np.ndarray:
    """Clip (time,) samples at `CLIP_LEVEL` of their peak."""
    bound = CLIP_LEVEL * float(np.abs(samples).max())
    return np.clip(samples, -bound, bound)


def first_half(text: str) -> str:
    """Return the first half of the words of a text."""
    words = text.split()
    return " ".join(words[: max(1, len(words) // 2)])


def is_reported(tts: valle.TTS, recording: Path, text: str | None) -> bool | None:
    """Return whether reading a prompt gives a PromptWarning; None where it is an error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            tts.prompt(recording, text)
        except UserError:
            return None
    return any(issubclass(w.category, PromptWarning) for w in caught)


TEXTS: dict[str, Callable[[str, str], str]] = {
    "correct transcript": lambda own, other: own,
    "transcript of another utterance": lambda own, other: other,
    "half of the transcript": lambda own, other: first_half(own),
    "the transcript and half of another one": lambda own, other: f"{own} {first_half(other)}",
}
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "no transcript, clean": lambda samples: samples,
    f"no transcript, white noise at {SNR:g} dB": add_noise,
    "no transcript, clipped": clip,
}


def measure(tts: valle.TTS, utterances: list[kaldi.Utterance]) -> dict[str, list[bool]]:
    """Return for each kind of prompt whether it was reported, without prompts that are errors."""
    flags: dict[str, list[bool]] = {name: [] for name in (*TEXTS, *CHANGES)}

    def add(name: str, path: Path, text: str | None) -> None:
        flag = is_reported(tts, path, text)
        if flag is not None:
            flags[name].append(flag)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompt.wav"
        for index, utterance in enumerate(track(utterances, description="prompts")):
            recording = audio.read(utterance.path, SAMPLE_RATE, start=utterance.start, end=utterance.end)
            other = utterances[(index + len(utterances) // 2) % len(utterances)].text
            recording.save(path)
            for name, change_text in TEXTS.items():
                add(name, path, change_text(utterance.text, other))
            for name, change_audio in CHANGES.items():
                audio.write(path, change_audio(recording.samples), SAMPLE_RATE)
                add(name, path, None)
    return flags


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data directory with correct transcripts")
    parser.add_argument("--utterances", type=int, default=200, help="number of recordings (200)")
    parser.add_argument("--model", default="small", help="run directory, or name of a bundled model (small)")
    args = parser.parse_args()
    tts = valle.load(args.model)
    with_durations = kaldi.with_durations(kaldi.read(args.data))
    candidates = [u for u in with_durations if MIN_DURATION <= (u.duration or 0) <= MAX_PROMPT]
    utterances = candidates[:: max(1, len(candidates) // args.utterances)][: args.utterances]
    flags = measure(tts, utterances)
    print("| prompt | reported (95 % interval) |\n|---|---|")
    for name, results in flags.items():
        print(f"| {name} | {format_rate(results)} |")


if __name__ == "__main__":
    run(_main)

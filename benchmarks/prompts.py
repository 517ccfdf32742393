"""Are prompts whose text does not fit reported, and are others not? Rates by kind of error.

    python benchmarks/prompts.py DATA [--utterances 200]

DATA is a data directory of real recordings with their true text. Each recording, cut to 30 s, is a prompt with its own
text, with another's, with half of its own, and with its own and half of another's. Prompts without text are read too:
clean ones should not be reported, the same with white noise 5 dB below the voice, or clipped, should.
"""

from __future__ import annotations

import argparse
import math
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
from valle.synthesis.prompt import MAX_PROMPT, PromptWarning

SNR = 5.0  # decibels
CLIPPED_AT = 0.3  # of the peak


def rate(flags: list[bool]) -> str:
    """Per cent, with a 95 % interval (Wilson)."""
    n, p, z = len(flags), float(np.mean(flags)), 1.96
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (100 * (centre + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return f"{sum(flags)} of {n}: {100 * p:.1f} % ({max(0.0, low):.1f}-{high:.1f})"


def noisy(samples: np.ndarray) -> np.ndarray:
    """With white noise `SNR` decibels below."""
    noise = np.random.default_rng(0).normal(0, 1, len(samples))
    return (samples + noise * np.sqrt(np.mean(samples**2)) * 10 ** (-SNR / 20)).astype(np.float32)


def clipped(samples: np.ndarray) -> np.ndarray:
    """Cut at a part of its peak."""
    bound = CLIPPED_AT * float(np.abs(samples).max())
    return np.clip(samples, -bound, bound)


def halved(text: str) -> str:
    """The first half of its words."""
    words = text.split()
    return " ".join(words[: max(1, len(words) // 2)])


def reported(tts: valle.TTS, recording: Path, text: str | None) -> bool | None:
    """Whether a PromptWarning comes; None where the prompt is refused."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            tts.prompt(recording, text)
        except UserError:
            return None
    return any(issubclass(w.category, PromptWarning) for w in caught)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--utterances", type=int, default=200)
    parser.add_argument("--model", default="small")
    args = parser.parse_args()
    tts = valle.load(args.model)
    found = [u for u in kaldi.with_durations(kaldi.read(args.data)) if 1.5 <= (u.duration or 0) <= MAX_PROMPT]
    chosen = found[:: max(1, len(found) // args.utterances)][: args.utterances]
    texts: dict[str, Callable[[str, str], str]] = {
        "true text": lambda own, other: own,
        "another's text": lambda own, other: other,
        "half of the text": lambda own, other: halved(own),
        "the text and half of another's": lambda own, other: f"{own} {halved(other)}",
    }
    changes = {"clean": lambda x: x, f"white noise at {SNR:g} dB": noisy, "clipped": clipped}
    flags: dict[str, list[bool]] = {name: [] for name in (*texts, *(f"no text, {name}" for name in changes))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompt.wav"
        for index, u in enumerate(track(chosen, description="prompts")):
            sound = audio.read(u.path, 16_000, start=u.start, end=u.end)
            other = chosen[(index + len(chosen) // 2) % len(chosen)].text
            sound.save(path)
            for name, change in texts.items():
                told = reported(tts, path, change(u.text, other))
                if told is not None:
                    flags[name].append(told)
            for name, alter in changes.items():
                audio.write(path, alter(sound.samples), 16_000)
                told = reported(tts, path, None)
                if told is not None:
                    flags[f"no text, {name}"].append(told)
    print("| prompt | reported (95 % interval) |\n|---|---|")
    for name, results in flags.items():
        print(f"| {name} | {rate(results)} |")


if __name__ == "__main__":
    run(_main)

"""Measure the durations of utterances by their number of phones, from which the minimum length of synthesis is set.

    python benchmarks/speaking_rate.py DATA...

DATA are data directories. Prints percentiles of the duration, without and with the silence at both ends, and the share
of utterances that are shorter than the bound of synthesis, `MIN_SECONDS + MIN_SECONDS_PER_PHONE * phones`.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.progress import track

from valle import audio
from valle.cli.common import run
from valle.data import kaldi
from valle.errors import UserError
from valle.synthesis.lengths import MIN_SECONDS, MIN_SECONDS_PER_PHONE
from valle.text import TextUnits, normalize

# Bounds of the groups of utterances, in phones.
EDGES = (1, 3, 6, 12, 25, 50, 100, 1000)
PERCENTILES = (0.5, 1, 5, 50)
SAMPLE_RATE = 16_000
WINDOW_SECONDS = 0.02
# Windows at either end are silence if they are this many decibels below the loudest 5 % of the windows.
SILENCE_BELOW_SPEECH = 30.0


def trimmed_seconds(samples: np.ndarray, sample_rate: int) -> float:
    """Return the duration of (time,) samples without the silence at both ends."""
    size = round(WINDOW_SECONDS * sample_rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    level = 10 * np.log10(np.square(frames).mean(1) + 1e-12)
    loud = np.flatnonzero(level > np.percentile(level, 95) - SILENCE_BELOW_SPEECH)
    return float(loud[-1] - loud[0] + 1) * WINDOW_SECONDS


def measure(directories: list[Path]) -> np.ndarray:
    """Return (utterances, 3): number of phones, duration without silence at both ends, and duration, in seconds."""
    units = TextUnits()
    rows = []
    for directory in directories:
        for utterance in track(kaldi.read(directory), description=str(directory)):
            # Texts that cannot be phonemized are skipped.
            try:
                phones = units.phones(units([normalize(utterance.text)])[0])
            except UserError:
                continue
            recording = audio.read(utterance.path, SAMPLE_RATE, start=utterance.start, end=utterance.end)
            rows.append((phones, trimmed_seconds(recording.samples, SAMPLE_RATE), recording.duration))
    return np.array(rows)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="data directories")
    args = parser.parse_args()
    table = measure(args.data)
    shares = ", ".join(f"{p:g} %" for p in PERCENTILES)
    print(f"| phones | utterances | seconds without silence: {shares} | with silence: {shares} | below the bound |")
    print("|---|---|---|---|---|")
    for low, high in pairwise(EDGES):
        group = table[(table[:, 0] >= low) & (table[:, 0] < high)]
        if len(group):
            cells = [", ".join(f"{x:.2f}" for x in np.percentile(group[:, i], PERCENTILES)) for i in (1, 2)]
            below = np.mean(group[:, 2] < MIN_SECONDS + MIN_SECONDS_PER_PHONE * group[:, 0])
            print(f"| {low} to {high - 1} | {len(group)} | {' | '.join(cells)} | {100 * below:.1f} % |")


if __name__ == "__main__":
    run(_main)

"""How fast are the fastest speakers? What the lower bound on the length of synthesized speech is taken from.

    python benchmarks/speaking_rate.py DATA...

DATA are data directories. For utterances of so many phones it prints percentiles of their duration, without the silence
at both ends and as recorded, and how many are shorter than the bound (`MIN_SECONDS + MIN_SECONDS_PER_PHONE * phones`).
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

EDGES = (1, 3, 6, 12, 25, 50, 100, 1000)  # phones
PERCENTILES = (0.5, 1, 5, 50)
WINDOW = 0.02  # seconds
BELOW_SPEECH = 30.0  # decibels under the loudest 5 % of the windows; quieter ones at either end are silence


def spoken_seconds(samples: np.ndarray, sample_rate: int) -> float:
    """Seconds from the first sound to the last: (time,) samples."""
    size = round(WINDOW * sample_rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    level = 10 * np.log10(np.square(frames).mean(1) + 1e-12)
    loud = np.flatnonzero(level > np.percentile(level, 95) - BELOW_SPEECH)
    return float(loud[-1] - loud[0] + 1) * WINDOW


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    args = parser.parse_args()
    units = TextUnits()
    found = []
    for directory in args.data:
        for u in track(kaldi.read(directory), description=str(directory)):
            try:
                phones = units.phones(units([normalize(u.text)])[0])
            except UserError:
                continue
            samples = audio.read(u.path, 16_000, start=u.start, end=u.end).samples
            found.append((phones, spoken_seconds(samples, 16_000), len(samples) / 16_000))
    table = np.array(found)
    shares = ", ".join(f"{p:g} %" for p in PERCENTILES)
    print(f"| phones | utterances | seconds spoken: {shares} | with silence: {shares} | shorter than the bound |")
    print("|---|---|---|---|---|")
    for low, high in pairwise(EDGES):
        some = table[(table[:, 0] >= low) & (table[:, 0] < high)]
        if len(some):
            cells = [", ".join(f"{x:.2f}" for x in np.percentile(some[:, i], PERCENTILES)) for i in (1, 2)]
            shorter = np.mean(some[:, 2] < MIN_SECONDS + MIN_SECONDS_PER_PHONE * some[:, 0])
            print(f"| {low} to {high - 1} | {len(some)} | {' | '.join(cells)} | {100 * shorter:.1f} % |")


if __name__ == "__main__":
    run(_main)

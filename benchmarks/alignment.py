"""Does `valle-prepare align` tell recordings that say their text from those that do not?

    python benchmarks/alignment.py DATA [--utterances 150]

DATA is a data directory with true transcripts. Every recording is compared with its own text, with the texts of others
(rotated by one to `ROTATIONS`), and with its own text of which the second half is another's. Printed are percentiles of
the similarity that decides, and how many texts are accepted, with 95 % intervals (Wilson).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from rich.progress import track

from valle.cli.common import run
from valle.data import kaldi
from valle.data.forced_alignment import MIN_SIMILARITY, Aligner, similarity

ROTATIONS = 5
WORDS = 4  # shorter texts are left out


def interval(share: float, total: int) -> str:
    """Per cent, with its interval."""
    z = 1.96
    centre = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    low, high = (100 * (centre + sign * half) / (1 + z * z / total) for sign in (-1, 1))
    return f"{100 * share:.1f} % ({max(0.0, low):.1f}-{high:.1f})"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--utterances", type=int, default=150)
    args = parser.parse_args()
    found = [u for u in kaldi.read(args.data) if len(u.text.split()) >= WORDS]
    chosen = found[:: max(1, len(found) // args.utterances)][: args.utterances]
    aligner = Aligner()
    similarities: dict[str, list[float]] = {"its own text": [], "another's text": [], "half of it another's": []}
    for index, u in enumerate(track(chosen, description="recordings")):
        recognized = aligner.recognize(u)
        others = [chosen[(index + k) % len(chosen)].text for k in range(1, ROTATIONS + 1)]
        words = u.text.split()
        half = " ".join([*words[: len(words) // 2], *others[0].split()[: len(words) - len(words) // 2]])
        texts = {"its own text": [u.text], "another's text": others, "half of it another's": [half]}
        for name, candidates in texts.items():
            similarities[name] += [similarity(recognized, text) for text in candidates]
    print(f"| text | comparisons | similarity: 1, 5, 50, 95, 99 % | accepted (at least {MIN_SIMILARITY}) |\n|---|---|---|---|")
    for name, values in similarities.items():
        shares = ", ".join(f"{x:.2f}" for x in np.percentile(values, [1, 5, 50, 95, 99]))
        accepted = float(np.mean(np.array(values) >= MIN_SIMILARITY))
        print(f"| {name} | {len(values)} | {shares} | {interval(accepted, len(values))} |")


if __name__ == "__main__":
    run(_main)

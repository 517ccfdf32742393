"""Measure how well `valle-prepare align` detects recordings whose transcript is wrong.

    python benchmarks/alignment.py DATA [--utterances 150]

DATA is a data directory with correct transcripts. Every recording is compared with its own transcript, with those of
`ROTATIONS` other recordings, and with its own whose second half is replaced by that of another one. Prints percentiles
of the similarity by which transcripts are accepted, and the acceptance rates with 95 % Wilson intervals.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.progress import track

from valle.cli.common import run
from valle.data import kaldi
from valle.data.forced_alignment import MIN_SIMILARITY, Aligner, similarity
from valle.evaluation.metrics import wilson_interval

ROTATIONS = 5
# Utterances with fewer words are skipped.
MIN_WORDS = 4


def format_rate(flags: np.ndarray) -> str:
    """Format the share of True in (comparisons,) bool in percent, with its 95 % interval."""
    low, high = wilson_interval(int(flags.sum()), len(flags))
    return f"{100 * flags.mean():.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def compare(utterances: list[kaldi.Utterance]) -> dict[str, list[float]]:
    """Return the similarities of each recording with correct, partly wrong and wrong texts."""
    aligner = Aligner()
    similarities: dict[str, list[float]] = {"correct": [], "of another utterance": [], "half of another utterance": []}
    for index, utterance in enumerate(track(utterances, description="recordings")):
        recognized = aligner.recognize(utterance)
        others = [utterances[(index + k) % len(utterances)].text for k in range(1, ROTATIONS + 1)]
        words = utterance.text.split()
        half = len(words) // 2
        mixed = " ".join([*words[:half], *others[0].split()[: len(words) - half]])
        for name, texts in zip(similarities, ([utterance.text], others, [mixed]), strict=True):
            similarities[name] += [similarity(recognized, text) for text in texts]
    return similarities


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data directory with correct transcripts")
    parser.add_argument("--utterances", type=int, default=150, help="number of recordings (150)")
    args = parser.parse_args()
    candidates = [u for u in kaldi.read(args.data) if len(u.text.split()) >= MIN_WORDS]
    utterances = candidates[:: max(1, len(candidates) // args.utterances)][: args.utterances]
    similarities = compare(utterances)
    print(f"| transcript | comparisons | similarity: 1, 5, 50, 95, 99 % | accepted (at least {MIN_SIMILARITY}) |")
    print("|---|---|---|---|")
    for name, values in similarities.items():
        percentiles = ", ".join(f"{x:.2f}" for x in np.percentile(values, [1, 5, 50, 95, 99]))
        accepted = format_rate(np.array(values) >= MIN_SIMILARITY)
        print(f"| {name} | {len(values)} | {percentiles} | {accepted} |")


if __name__ == "__main__":
    run(_main)

"""Paired comparison of two systems on the same utterances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from valle.errors import UserError
from valle.evaluation.metrics import METRICS, Metric, interval, ratio
from valle.evaluation.score import SCORES, Score
from valle.files import read_records

PERMUTATIONS = 10_000
# Permutations computed at once, which bounds the memory.
PERMUTATION_BATCH = 500


@dataclass(frozen=True)
class Difference:
    """Difference of one metric between systems A and B over the same utterances.

    Attributes:
        metric: The metric.
        a: Value of A.
        b: Value of B.
        low: Lower bound of the 95 % bootstrap interval of B - A.
        high: Upper bound of it.
        p: p-value of a paired permutation test.
        count: Number of utterances.
    """

    metric: Metric
    a: float
    b: float
    low: float
    high: float
    p: float
    count: int


@dataclass(frozen=True)
class Comparison:
    """Comparison of systems A and B.

    Attributes:
        differences: One for each metric that was measured.
        changed: Scores (A, B) of the utterances whose transcripts differ, by descending change of WER.
        unpaired: Number of utterances that only one system has.
        unrecognized: Number of utterances without a transcript in one of the systems.
    """

    differences: list[Difference]
    changed: list[tuple[Score, Score]]
    unpaired: int
    unrecognized: int = 0


def read_scores(folder: Path, system: str = "synthesized") -> dict[str, Score]:
    """Read the scores of a report folder, by utterance id.

    Args:
        folder: Report folder, also of an earlier version.
        system: One of `valle.evaluation.score.SYSTEMS`.

    Raises:
        UserError: The folder has no scores of the system.
    """
    scores = [Score.from_record(record) for record in read_records(folder / SCORES)]
    by_id = {s.id: s for s in scores if s.system == system}
    if not by_id:
        raise UserError(
            f"{folder}: has no {SCORES} with scores of system {system!r}; give a folder that valle-eval wrote"
        )
    return by_id


def compare(a: dict[str, Score], b: dict[str, Score]) -> Comparison:
    """Compare two systems on the utterances that both have.

    Args:
        a: Scores of A by utterance id.
        b: Scores of B by utterance id.

    Raises:
        UserError: The systems share fewer than two utterances, or an utterance has two texts.
    """
    shared = [key for key in a if key in b]
    if len(shared) < 2:
        raise UserError("the two systems share fewer than two utterances; score the same test set with both")
    mismatched = [key for key in shared if a[key].text != b[key].text]
    if mismatched:
        raise UserError(f"utterance {mismatched[0]!r} has two texts; score the same test set with both")
    pairs = [(a[key], b[key]) for key in shared]
    differences = [d for d in (difference(metric, pairs) for metric in METRICS) if d is not None]
    recognized = [pair for pair in pairs if pair[0].transcript is not None and pair[1].transcript is not None]
    changed = [pair for pair in recognized if pair[0].transcript != pair[1].transcript]
    changed.sort(key=lambda pair: (pair[1].wer or 0.0) - (pair[0].wer or 0.0), reverse=True)
    return Comparison(
        differences=differences,
        changed=changed,
        unpaired=len(a) + len(b) - 2 * len(shared),
        unrecognized=len(pairs) - len(recognized),
    )


def difference(metric: Metric, pairs: list[tuple[Score, Score]]) -> Difference | None:
    """Compare one metric over pairs (A, B) of scores of the same utterance; None where fewer than two have it."""
    parts = [(x, y) for x, y in ((metric.parts(one), metric.parts(two)) for one, two in pairs) if x and y]
    if len(parts) < 2:
        return None
    # Rows: numerator and denominator of A, numerator and denominator of B.
    columns = np.array([(*x, *y) for x, y in parts]).T
    low, high = interval(_gap, list(columns))
    return Difference(
        metric=metric,
        a=float(ratio(columns[0], columns[1])),
        b=float(ratio(columns[2], columns[3])),
        low=low,
        high=high,
        p=_permutation_p(columns),
        count=len(parts),
    )


def _gap(
    numerator_a: np.ndarray,
    denominator_a: np.ndarray,
    numerator_b: np.ndarray,
    denominator_b: np.ndarray,
    axis: int = -1,
) -> np.ndarray:
    """Return the difference B - A of two ratios of sums."""
    return ratio(numerator_b, denominator_b, axis) - ratio(numerator_a, denominator_a, axis)


def _permutation_p(columns: np.ndarray) -> float:
    """Return the p-value of the difference of (4, utterances) columns: a two-sided paired permutation test.

    It is the share of random swaps of A and B, utterance by utterance, whose difference is as large as the observed
    one. The observed one counts as a permutation, so that no p-value is 0.
    """
    rng = np.random.default_rng(0)
    # Rounding must not make a permutation that equals the observed one smaller than it.
    observed = abs(float(_gap(*columns))) - 1e-12
    as_large = 0
    for _ in range(PERMUTATIONS // PERMUTATION_BATCH):
        # Swapping A and B of an utterance exchanges the rows of both.
        swap = rng.random((PERMUTATION_BATCH, 1, columns.shape[1])) < 0.5
        swapped = np.where(swap, columns[[2, 3, 0, 1]], columns)
        as_large += int((np.abs(_gap(*swapped.transpose(1, 0, 2))) >= observed).sum())
    return (as_large + 1) / (PERMUTATIONS + 1)


def markdown(name_a: str, name_b: str, comparison: Comparison, max_shown: int = 20) -> str:
    """Format a comparison: a table of differences, then the utterances whose transcripts differ.

    Args:
        name_a: Name of A.
        name_b: Name of B.
        comparison: The comparison.
        max_shown: Maximum number of utterances: half those with the largest increase of WER, half those with the
            largest decrease.
    """
    lines = [
        f"| | {name_a} | {name_b} | difference (95 %) | p | utterances |",
        "|---|---|---|---|---|---|",
    ]
    for d in comparison.differences:
        m = d.metric
        gap = f"{d.b - d.a:+{m.form}} ({d.low:+{m.form}}, {d.high:+{m.form}})"
        lines.append(f"| {m.heading} | {m.text(d.a)} | {m.text(d.b)} | {gap} | {d.p:.4f} | {d.count} |")
    rates = [(x.wer or 0.0, y.wer or 0.0) for x, y in comparison.changed]
    worse = sum(y > x for x, y in rates)
    better = sum(y < x for x, y in rates)
    count = len(comparison.changed)
    lines += ["", f"Transcripts differ in {count} utterances: WER is higher in {worse}, lower in {better}."]
    if comparison.unpaired:
        lines.append(f"Excluded: {comparison.unpaired} utterances that only one of the systems has.")
    if comparison.unrecognized:
        lines.append(f"Excluded here: {comparison.unrecognized} utterances that could not be recognized.")
    shown = comparison.changed
    if count > max_shown:
        shown = shown[: max_shown // 2] + shown[-(max_shown // 2) :]
    for x, y in shown:
        lines += ["", f"**{x.id}**: {x.text}"]
        lines += [f"- WER {score.wer:.0%}: {score.transcript}" for score in (x, y)]
    if len(shown) < count:
        lines += ["", f"{count - len(shown)} more between these are not shown."]
    return "\n".join(lines) + "\n"

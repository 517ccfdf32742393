"""Two systems on the same utterances: which is better, how sure that is, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from valle.errors import UserError
from valle.evaluation.metrics import METRICS, Metric, interval, ratio
from valle.evaluation.score import SCORES, Score
from valle.files import read_records

RESAMPLES = 10_000  # of the permutation test


@dataclass(frozen=True)
class Difference:
    """One metric of A and B over the same utterances.

    low, high: 95 % bootstrap interval of B - A
    p:         of a paired permutation test: how often a difference so large comes from swapping A and B by chance
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
    """Differences, the utterances of which other words were heard (A, B), how many only one system has, and how many
    were not recognized in one of them."""

    differences: list[Difference]
    changed: list[tuple[Score, Score]]
    alone: int
    unrecognized: int = 0


def read_scores(folder: Path, system: str = "synthesized") -> dict[str, Score]:
    """The score of each utterance in a report's folder. Raises UserError where there is none."""
    scores = [Score(**record) for record in read_records(folder / SCORES)]
    found = {s.id: s for s in scores if s.system == system}
    if not found:
        raise UserError(f"{folder}: holds no {SCORES} with scores; give a folder that valle-eval wrote")
    return found


def compare(a: dict[str, Score], b: dict[str, Score]) -> Comparison:
    """Compare two systems on the utterances that both have. Raises UserError where the sets do not meet."""
    shared = [key for key in a if key in b]
    if len(shared) < 2:
        raise UserError("the two share fewer than two utterances; score the same test set with both")
    other = [key for key in shared if a[key].text != b[key].text]
    if other:
        raise UserError(f"utterance {other[0]!r} has two texts; score the same test set with both")
    pairs = [(a[key], b[key]) for key in shared]
    found = [d for d in (difference(metric, pairs) for metric in METRICS) if d is not None]
    recognized = [pair for pair in pairs if pair[0].heard is not None and pair[1].heard is not None]
    changed = [pair for pair in recognized if pair[0].heard != pair[1].heard]
    changed.sort(key=lambda pair: (pair[1].wer or 0.0) - (pair[0].wer or 0.0), reverse=True)
    return Comparison(found, changed, len(a) + len(b) - 2 * len(shared), len(pairs) - len(recognized))


def difference(metric: Metric, pairs: list[tuple[Score, Score]]) -> Difference | None:
    """One metric over pairs of scores of the same utterance; None where fewer than two have it."""
    parts = [(x, y) for x, y in ((metric.parts(one), metric.parts(two)) for one, two in pairs) if x and y]
    if len(parts) < 2:
        return None
    columns = np.array([(*x, *y) for x, y in parts]).T
    low, high = interval(_gap, list(columns))
    a, b = float(ratio(columns[0], columns[1])), float(ratio(columns[2], columns[3]))
    return Difference(metric, a, b, low, high, _permutation(columns), len(parts))


def _gap(a: np.ndarray, under_a: np.ndarray, b: np.ndarray, under_b: np.ndarray, axis: int = -1) -> np.ndarray:
    return ratio(b, under_b, axis) - ratio(a, under_a, axis)


def _permutation(columns: np.ndarray) -> float:
    """Share of random swaps of A and B, utterance by utterance, with a gap as large as the one found: (4, utterances).
    The found one counts as one of them, so that no p is 0."""
    rng, found, reached = np.random.default_rng(0), abs(float(_gap(*columns))) - 1e-12, 0
    for _ in range(RESAMPLES // 500):
        swap = rng.random((500, 1, columns.shape[1])) < 0.5
        swapped = np.where(swap, columns[[2, 3, 0, 1]], columns)
        reached += int((np.abs(_gap(*swapped.transpose(1, 0, 2))) >= found).sum())
    return (reached + 1) / (RESAMPLES + 1)


def markdown(name_a: str, name_b: str, comparison: Comparison, most: int = 20) -> str:
    """A table of differences, and the utterances that changed, those that became worse first."""
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
    lines += [
        "",
        f"Other words were heard in {len(comparison.changed)} utterances: {worse} became worse, {better} better.",
    ]
    if comparison.alone:
        lines.append(f"{comparison.alone} utterances that only one of them has are left out.")
    if comparison.unrecognized:
        lines.append(f"{comparison.unrecognized} utterances that could not be recognized are left out of these.")
    shown = comparison.changed
    if len(shown) > most:
        shown = shown[: most // 2] + shown[-(most // 2) :]
    for x, y in shown:
        lines += ["", f"**{x.id}**: {x.text}", f"- WER {x.wer:.0%}: {x.heard}", f"- WER {y.wer:.0%}: {y.heard}"]
    if len(shown) < len(comparison.changed):
        lines += ["", f"{len(comparison.changed) - len(shown)} more between these are not shown."]
    return "\n".join(lines) + "\n"

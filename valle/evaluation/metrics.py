"""Metrics of a set of utterances with their 95 % confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from valle.evaluation.score import SYSTEMS, Score
from valle.optional import require

BOOTSTRAP_RESAMPLES = 2000
CONFIDENCE_LEVEL = 0.95


@dataclass(frozen=True)
class Metric:
    """A metric of a set of utterances: a ratio of sums, or a mean.

    Attributes:
        name: Key in summary.json.
        heading: Column title.
        numerator: Field of `Score` that is summed.
        denominator: Field of `Score` whose sum is divided by; None: the number of utterances.
        form: Format specification of the value.
        better: "lower", "higher", or "" where neither is better.
        table: 0 for accuracy, similarity and quality; 1 for durations, decoding errors and speed.
        meaning: Description for readers of the report.
    """

    name: str
    heading: str
    numerator: str
    denominator: str | None
    form: str
    better: str
    table: int
    meaning: str

    def parts(self, score: Score) -> tuple[float, float] | None:
        """Return numerator and denominator of one utterance; None where it was not measured."""
        numerator = getattr(score, self.numerator)
        denominator = getattr(score, self.denominator) if self.denominator else 1.0
        return None if numerator is None or denominator is None else (float(numerator), float(denominator))

    def text(self, value: float | None) -> str:
        """Format a value for tables."""
        return "" if value is None else format(value, self.form)


# Headings stand in reports; names are keys of summary.json.
METRICS = (
    Metric("wer", "WER", "word_errors", "words", ".1%", "lower", 0, "word error rate"),
    Metric("cer", "CER", "character_errors", "characters", ".1%", "lower", 0, "character error rate"),
    Metric("sim_o", "SIM-o", "sim_o", None, ".3f", "higher", 0, "speaker similarity to the prompt, a cosine"),
    Metric("sim_r", "SIM-r", "sim_r", None, ".3f", "higher", 0, "speaker similarity to the prompt's codec resynthesis"),
    Metric(
        "speaker_accuracy", "speaker accuracy", "speaker_correct", None, ".0%", "higher", 0,
        "utterances whose speaker embedding is closest to the prompt's speaker among all speakers of the test set",
    ),
    Metric("dnsmos_p835", "DNSMOS P.835", "dnsmos_p835", None, ".2f", "higher", 0, "P.835 overall quality, 1 to 5"),
    Metric("dnsmos_p808", "DNSMOS P.808", "dnsmos_p808", None, ".2f", "higher", 0, "P.808 overall quality, 1 to 5"),
    Metric("seconds", "seconds", "seconds", None, ".2f", "", 1, "mean duration"),
    Metric("words_per_second", "words/s", "words", "seconds", ".2f", "", 1, "words of the text per second"),
    Metric("pauses", "pauses", "pause_seconds", "seconds", ".1%", "", 1, "share of time in silences of 0.2 s or more"),
    Metric("loops", "loops", "has_loop", None, ".0%", "lower", 1, "first codebook repeats itself for 0.5 s or more"),
    Metric("silences", "silences", "has_silence", None, ".0%", "lower", 1, "a silence of 1 s or more"),
    Metric("early_stops", "early stops", "early_stop", None, ".0%", "lower", 1, "the text's last word is missing"),
    Metric("truncated", "truncated", "truncated", None, ".0%", "lower", 1, "stopped at the length bound without EOS"),
    Metric("rtf", "RTF", "processing_seconds", "seconds", ".3f", "lower", 1, "synthesis time per second of speech"),
)  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval.

    Attributes:
        value: The value; None: not measured.
        low: Lower bound of the interval.
        high: Upper bound of the interval.
        count: Number of utterances.
    """

    value: float | None
    low: float | None
    high: float | None
    count: int


def interval(statistic: Callable[..., np.ndarray], columns: Sequence[np.ndarray]) -> tuple[float, float]:
    """Compute the 95 % interval of a statistic by a percentile bootstrap over utterances.

    Args:
        statistic: Function of the columns, vectorized along `axis`.
        columns: (utterances,) each.
    """
    result = require("scipy.stats", "eval").bootstrap(
        tuple(columns),
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=BOOTSTRAP_RESAMPLES,
        # Resamples computed at once, which bounds the memory.
        batch=200,
        confidence_level=CONFIDENCE_LEVEL,
        method="percentile",
        # A fixed seed: the same scores have the same interval in every run.
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def ratio(numerator: np.ndarray, denominator: np.ndarray, axis: int = -1) -> np.ndarray:
    """Divide the sums of two arrays along an axis; the sum of the numerator where that of the denominator is 0."""
    # A bootstrap resample can consist of utterances without words only.
    total = denominator.sum(axis)
    return numerator.sum(axis) / np.where(total == 0, 1, total)


def wilson_interval(count: float, total: int) -> tuple[float, float]:
    """Compute the 95 % Wilson interval of a proportion.

    Args:
        count: Number of successes.
        total: Number of trials.

    Returns:
        Bounds in [0, 1].
    """
    z = 1.96
    share = count / total
    centre = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - half) / scale), (centre + half) / scale


def estimate(metric: Metric, scores: Iterable[Score]) -> Estimate:
    """Estimate a metric of a set of utterances."""
    parts = [part for part in map(metric.parts, scores) if part is not None]
    return estimate_ratio(*np.array(parts, float).reshape(-1, 2).T)


def estimate_ratio(numerator: np.ndarray, denominator: np.ndarray) -> Estimate:
    """Estimate the ratio of the sums of two arrays, both (utterances,)."""
    if not len(numerator):
        return Estimate(None, None, None, 0)
    value = float(ratio(numerator, denominator))
    # A single utterance cannot be resampled.
    low, high = interval(ratio, (numerator, denominator)) if len(numerator) > 1 else (value, value)
    return Estimate(value, low, high, len(numerator))


def summary(scores: Sequence[Score]) -> dict[str, dict[str, Estimate]]:
    """Estimate every metric of every system that has scores."""
    by_system = {system: [s for s in scores if s.system == system] for system in SYSTEMS}
    return {
        system: {metric.name: estimate(metric, own) for metric in METRICS} for system, own in by_system.items() if own
    }

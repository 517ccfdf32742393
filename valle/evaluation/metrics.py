"""The scores by name: how each is gathered over utterances, and between which bounds it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from valle.evaluation.recognizer import missing
from valle.evaluation.score import SYSTEMS, Score

RESAMPLES = 2000  # of the bootstrap
LEVEL = 0.95


@dataclass(frozen=True)
class Metric:
    """A score of a set of utterances: the sum of `over` by the sum of `under`, or the mean of `over`.

    better: "lower", "higher" or "" where neither is
    table:  0 for what is said and how it sounds, 1 for how it is spoken
    """

    name: str
    heading: str
    over: str
    under: str | None
    form: str
    better: str
    table: int
    meaning: str

    def parts(self, score: Score) -> tuple[float, float] | None:
        """Numerator and denominator of one utterance; None where it was not measured."""
        over = getattr(score, self.over)
        under = getattr(score, self.under) if self.under else 1.0
        return None if over is None or under is None else (float(over), float(under))

    def text(self, value: float | None) -> str:
        """A value as tables show it."""
        return "" if value is None else format(value, self.form)


METRICS = (
    Metric("wer", "WER", "word_errors", "words", ".1%", "lower", 0, "word errors over the text's words"),
    Metric("cer", "CER", "character_errors", "characters", ".1%", "lower", 0, "the same of characters"),
    Metric("sim_o", "SIM-o", "sim_o", None, ".3f", "higher", 0, "cosine of speaker embeddings to the prompt's"),
    Metric("sim_r", "SIM-r", "sim_r", None, ".3f", "higher", 0, "to that of the prompt's codec round trip"),
    Metric("own_voice", "own voice", "own_voice", None, ".0%", "higher", 0, "nearest to its own prompt's voice of all"),
    Metric("dnsmos", "DNSMOS", "dnsmos", None, ".2f", "higher", 0, "predicted overall quality, 1 to 5"),
    Metric("seconds", "seconds", "seconds", None, ".2f", "", 1, "mean length"),
    Metric("pace", "words/s", "words", "seconds", ".2f", "", 1, "the text's words a second"),
    Metric("pauses", "pauses", "pauses", "seconds", ".1%", "", 1, "share of time in silences over 0.2 s"),
    Metric("loops", "loops", "looped", None, ".0%", "lower", 1, "the first codebook repeats itself for 0.5 s or more"),
    Metric("silences", "silences", "silent", None, ".0%", "lower", 1, "silent for 1 s or more"),
    Metric("early_stops", "early stops", "early_stop", None, ".0%", "lower", 1, "the text's last word was not heard"),
    Metric("no_end", "no end", "no_end", None, ".0%", "lower", 1, "cut by the bound on its length"),
    Metric("rtf", "RTF", "work", "seconds", ".3f", "lower", 1, "seconds of work a second of speech"),
)


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % bootstrap interval over so many utterances; value None: not measured."""

    value: float | None
    low: float | None
    high: float | None
    count: int


def interval(statistic: Callable[..., np.ndarray], columns: Sequence[np.ndarray]) -> tuple[float, float]:
    """95 % percentile bootstrap over utterances of a statistic of paired columns (utterances,), along `axis`."""
    try:
        from scipy.stats import bootstrap
    except ImportError as error:
        raise missing("scipy") from error
    found = bootstrap(
        tuple(columns), statistic, paired=True, vectorized=True, n_resamples=RESAMPLES, batch=200,
        confidence_level=LEVEL, method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def ratio(over: np.ndarray, under: np.ndarray, axis: int = -1) -> np.ndarray:
    """Sum by sum; 0 where nothing is under."""
    total = under.sum(axis)
    return over.sum(axis) / np.where(total == 0, 1, total)


def estimate(metric: Metric, scores: Iterable[Score]) -> Estimate:
    """A metric of a set of utterances."""
    parts = [part for part in map(metric.parts, scores) if part is not None]
    return estimate_ratio(*np.array(parts, float).reshape(-1, 2).T)


def estimate_ratio(over: np.ndarray, under: np.ndarray) -> Estimate:
    """Sum of `over` by sum of `under`, both (utterances,)."""
    if not len(over):
        return Estimate(None, None, None, 0)
    value = float(ratio(over, under))
    low, high = interval(ratio, (over, under)) if len(over) > 1 else (value, value)
    return Estimate(value, low, high, len(over))


def summary(scores: Sequence[Score]) -> dict[str, dict[str, Estimate]]:
    """By system and metric."""
    by_system = {system: [s for s in scores if s.system == system] for system in SYSTEMS}
    return {
        system: {metric.name: estimate(metric, own) for metric in METRICS} for system, own in by_system.items() if own
    }

"""Preference pairs: for each text the best and the worst of several candidates, by the scores of `valle-eval`."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path

from valle.data.preferences import Pair
from valle.errors import UserError
from valle.evaluation.samples import Sample
from valle.evaluation.score import CANDIDATES, Score
from valle.files import read_text


def read_candidate_scores(report: Path) -> dict[str, list[Score]]:
    """Read the scores of all candidates of each text in a report folder of `valle-eval --select sort`.

    Raises:
        UserError: There are none, or the file is damaged.
    """
    path = report / CANDIDATES
    if not path.is_file():
        raise UserError(f"{path}: does not exist; score the candidates with valle-eval --select sort")
    scores = defaultdict(list)
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            score = Score.from_record(json.loads(line))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}, line {number}: is damaged ({error}); run valle-eval again") from error
        scores[score.id].append(score)
    return dict(scores)


def choose_pairs(
    scores: dict[str, list[Score]], samples: dict[str, Sample], group_size: int = 1, margin: float = 0.0
) -> list[Pair]:
    """Choose the best and the worst candidate of each text: by WER, then by SIM-o.

    Texts are left out whose candidates do not differ in WER by more than `margin`, whose best candidate has no end, and
    that have no samples since they were split into parts.

    Args:
        scores: Scores of the candidates of each text.
        samples: By file name.
        group_size: Codes per step of the model. Only a truncated candidate can have other than whole groups; the rest
            is left out.
        margin: Difference in WER that a pair exceeds.
    """
    pairs = []
    for key, candidates in scores.items():
        scored = [s for s in candidates if s.wer is not None and Path(s.path).name in samples]
        if len(scored) < 2:
            continue
        ranked = sorted(scored, key=_rank)
        best, worst = (samples[Path(score.path).name] for score in (ranked[0], ranked[-1]))
        difference = (ranked[-1].wer or 0.0) - (ranked[0].wer or 0.0)
        if difference <= margin or best.truncated:
            continue
        pairs.append(
            Pair(
                id=key,
                speaker=ranked[0].speaker,
                text=ranked[0].text or "",
                phonemes=best.phonemes,
                prefix=best.prefix,
                chosen=best.codes,
                rejected=worst.codes[: len(worst.codes) // group_size * group_size],
                rejected_truncated=worst.truncated,
            )
        )
    return pairs


def _rank(score: Score) -> tuple[float, float]:
    """Return the sort key of a candidate, the best one lowest."""
    return score.wer or 0.0, math.inf if score.sim_o is None else -score.sim_o

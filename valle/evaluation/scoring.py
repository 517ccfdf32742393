"""Scoring of a test set: recordings, their codec resynthesis, and synthesized speech."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from valle.evaluation.cache import RESYNTHESES, ScoreCache
from valle.evaluation.items import ScoringItem, ScoringTask
from valle.evaluation.score import CANDIDATES, SCORES, Score
from valle.evaluation.scorer import Scorer
from valle.evaluation.selection import select
from valle.evaluation.transcripts import transcript_id
from valle.files import write_text
from valle.optional import require

track = require("rich.progress", "eval").track


def score_items(
    items: list[ScoringItem],
    scorer: Scorer,
    folder: Path,
    settings: Mapping[str, str],
    *,
    selection: str = "first",
    batch_size: int = 16,
) -> list[Score]:
    """Score every utterance by every system.

    Each finished batch is appended to `ScoreCache`, from which the same command continues. What was scored with other
    `settings`, or from a file that has changed, is scored again, and so are utterances with failures. Writes the codec
    resyntheses to `folder/codec`, the scores to `folder/scores.jsonl`, and where one of several candidates is selected
    by its scores, those of all candidates to `folder/candidates.jsonl`.

    Args:
        items: Test set.
        scorer: Scorer made for the same items.
        folder: Report folder.
        settings: Names or paths of the scoring models.
        selection: One of `SELECTIONS`; see `select`.
        batch_size: Number of audio files that are scored together.

    Returns:
        The scores in the order of the items.
    """
    cache = ScoreCache(folder, settings)
    tasks = {item.id: _item_tasks(item, scorer, folder, selection) for item in track(items, "codec resynthesis")}
    # Keys are computed once: a file that changes during scoring is scored again in the next run.
    keys = {task: task.cache_key() for own in tasks.values() for task in own}
    pending = [task for task, key in keys.items() if key not in cache]
    batches = [pending[start : start + batch_size] for start in range(0, len(pending), batch_size)]
    for batch in track(batches, "scoring"):
        for task, score in zip(batch, scorer(batch), strict=True):
            cache[keys[task]] = score

    # Selection comes after the cache, so that another selection needs no scoring of the same candidates.
    selected = []
    candidates = []
    for own in tasks.values():
        scores = [cache[keys[task]] for task in own]
        synthesized = [s for s in scores if s.system == "synthesized"]
        candidates += synthesized
        selected += [s for s in scores if s.system != "synthesized"]
        selected.append(select(synthesized, selection))
    _write_scores(folder / SCORES, selected)
    if selection == "first":
        # Of candidates that may have been synthesized again since.
        (folder / CANDIDATES).unlink(missing_ok=True)
    else:
        _write_scores(folder / CANDIDATES, candidates)
    return selected


def _write_scores(path: Path, scores: list[Score]) -> None:
    """Write scores, one per line."""
    write_text(path, "".join(json.dumps(asdict(score)) + "\n" for score in scores))


def _item_tasks(item: ScoringItem, scorer: Scorer, folder: Path, selection: str) -> list[ScoringTask]:
    """Return the audio files of an item to be scored, after writing its codec resynthesis."""
    tasks = []
    if item.reference is not None:
        reference = item.reference
        resynthesis = folder / RESYNTHESES / f"{item.id}.wav"
        scorer.write_resynthesis(reference, resynthesis)
        tasks.append(ScoringTask(item, "recording", reference.path, reference.start + item.offset, reference.end))
        tasks.append(ScoringTask(item, "codec", resynthesis, item.offset))
    tasks += [ScoringTask(item, "synthesized", path, item.synthesized_offset) for path in item.candidates(selection)]
    return [
        replace(task, transcript=scorer.transcripts.get(transcript_id(task.system, item, task.path))) for task in tasks
    ]

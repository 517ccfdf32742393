"""Saved scores of finished audio files, from which a stopped evaluation continues."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from valle.evaluation.items import file_state
from valle.evaluation.score import Score
from valle.files import append_line, read_records, write_text

SCORE_CACHE = "score_cache.jsonl"
SETTINGS = "settings.json"
RESYNTHESES = "codec"


class ScoreCache:
    """Scores of a report folder by `ScoringTask.cache_key`.

    Opening the cache deletes it, and the codec resyntheses, where the scoring models have changed: another name, other
    weights in the file or folder of that name, or other fields of `Score`.

    Args:
        folder: Report folder.
        settings: Names or paths of the scoring models.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._path = folder / SCORE_CACHE
        self._reset_if_changed(folder, settings)
        # Later lines replace earlier ones of the same key.
        self._scores: dict[str, Score] = {}
        for record in read_records(self._path):
            score = Score(**record["score"])
            # Scores with failures are computed again, because the reason may be gone.
            if not score.failures:
                self._scores[record["key"]] = score

    def __contains__(self, key: str) -> bool:
        """Return whether there is a score without failures for the key."""
        return key in self._scores

    def __getitem__(self, key: str) -> Score:
        """Return the score of a key.

        Raises:
            KeyError: There is none.
        """
        return self._scores[key]

    def __setitem__(self, key: str, score: Score) -> None:
        """Set the score of a key, and append it to the file of the cache."""
        append_line(self._path, json.dumps({"key": key, "score": asdict(score)}))
        self._scores[key] = score

    def _reset_if_changed(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Delete cached scores and resyntheses that were made with other settings, and save the settings."""
        weights = {}
        for name, value in settings.items():
            path = Path(value)
            if path.exists():
                weights[name] = sorted(file_state(file) for file in (path, *path.glob("*")) if file.is_file())
        document = {**settings, "weights": weights, "scores": [field.name for field in fields(Score)]}
        text = json.dumps(document, indent=2) + "\n"
        settings_path = folder / SETTINGS
        if settings_path.is_file() and settings_path.read_text(encoding="utf-8") != text:
            self._path.unlink(missing_ok=True)
            shutil.rmtree(folder / RESYNTHESES, ignore_errors=True)
        write_text(settings_path, text)

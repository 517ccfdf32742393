"""Transcripts of an outside recognizer, read from a file in Kaldi's text format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from valle.errors import UserError
from valle.evaluation.failures import shorten_list
from valle.evaluation.items import ScoringItem
from valle.files import read_text

# Systems whose transcripts may be missing. Their ids have the system as a prefix: recording/<id>, codec/<id>.
OPTIONAL = ("recording", "codec")


def transcript_id(system: str, item: ScoringItem, path: Path) -> str:
    """Return the id by which a file of transcripts names an audio file.

    Args:
        system: One of `valle.evaluation.score.SYSTEMS`.
        item: Utterance of the audio file.
        path: Audio file.
    """
    return path.stem if system == "synthesized" else f"{system}/{item.id}"


def read_transcripts(path: Path, items: Sequence[ScoringItem], selection: str) -> dict[str, str]:
    """Read the transcripts of a test set: a line `<id> <words>` per audio file, as in Kaldi's text.

    An id is the name of a synthesized file without .wav: `<id>`, or `<id>-1`, `<id>-2`, ... for several candidates.
    Transcripts of the recordings (`recording/<id>`) and of their codec resynthesis (`codec/<id>`) are optional; where
    there is one of a system, there must be all.

    Args:
        path: The file.
        items: Test set.
        selection: One of `valle.evaluation.selection.SELECTIONS`; candidates that it does not need may be missing.

    Returns:
        The words of each audio file by its `transcript_id`.

    Raises:
        UserError: An id is missing, repeated, or of no audio file of the test set.
    """
    transcripts: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        key, *text = line.split(maxsplit=1) or [""]
        if key in transcripts:
            raise UserError(f"{path}, line {number}: the id {key!r} is used twice; give each audio file one line")
        if key:
            transcripts[key] = text[0].strip() if text else ""
    required = {file.stem: None for item in items for file in item.candidates(selection)}
    known = {file.stem for item in items for file in item.synthesized}
    for system in OPTIONAL:
        own = {f"{system}/{item.id}": None for item in items if item.reference is not None}
        known |= own.keys()
        if not own.keys().isdisjoint(transcripts):
            required |= own
    missing = [key for key in required if key not in transcripts]
    extra = [key for key in transcripts if key not in known]
    _check_ids(path, missing, extra)
    return transcripts


def _check_ids(path: Path, missing: list[str], extra: list[str]) -> None:
    """Raise UserError that names missing and extra ids, unless there are none."""
    problems = []
    if missing:
        problems.append(f"has no line for {shorten_list(missing)}")
    if extra:
        problems.append(f"names no audio file of the test set by {shorten_list(extra)}")
    if problems:
        raise UserError(
            f"{path}: {', and '.join(problems)}; give a line `<id> <words>` for each synthesized file <id>.wav, and "
            "for all or none of recording/<id> and codec/<id>"
        )

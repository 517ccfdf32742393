"""Test lists: target texts with their prompts and reference recordings.

A test list is a tab-separated file whose first line names its columns:

    prompt           audio file of the prompt
    text             target text
    prompt_text      transcript of the prompt (optional)
    reference        recording of the target text by a person (optional)
    speaker          speaker of the prompt (optional; default: each prompt is a speaker of its own)
    id               id of the line (optional; default: its number with four digits)
    language         espeak-ng language tag of the target text (optional)
    prompt_language  espeak-ng language tag of the prompt (optional; default: the target text's)

Optional fields may be empty. Two published formats, whose files end in .lst and name no columns, are read as well:

    LibriSpeech-PC (F5-TTS, arXiv 2410.06885), tab-separated, in the folder test-clean of LibriSpeech:
        id of the prompt, its duration, its text, id of the target, its duration, its text
    Seed-TTS-eval (arXiv 2406.02430), separated by "|":
        id, text of the prompt, prompt, target text, and optionally the reference (default: wavs/<id>.wav, if it exists)

Paths are relative to the folder of the list.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from valle.errors import UserError
from valle.files import file_name_problem

COLUMNS = ("prompt", "text", "prompt_text", "reference", "speaker", "id", "language", "prompt_language")
LIBRISPEECH_PC = ("prompt", "prompt_seconds", "prompt_text", "id", "seconds", "text")
SEED_TTS = ("id", "prompt_text", "prompt", "text", "reference")


@dataclass(frozen=True)
class TestLine:
    """One line of a test list.

    Attributes:
        id: Id of the utterance.
        prompt: Audio file of the prompt.
        prompt_text: Transcript of the prompt; None where it is not available.
        text: Target text.
        reference: Recording of the target text by a person; None where there is none.
        speaker: Speaker of the prompt.
        language: espeak-ng language tag of the target text; None where it is not given.
        prompt_language: espeak-ng language tag of the prompt; None where it is not given.
    """

    # Not a test class of pytest.
    __test__ = False

    id: str
    prompt: Path
    prompt_text: str | None
    text: str
    reference: Path | None
    speaker: str
    language: str | None = None
    prompt_language: str | None = None


def read_test_list(path: Path) -> list[TestLine]:
    """Read a test list.

    Args:
        path: The list: .lst of LibriSpeech-PC or Seed-TTS-eval, or a tab-separated file that names its columns.

    Raises:
        UserError: A column, field or file is missing, or a column or id is unknown or repeated; names the line.
    """
    published = path.suffix == ".lst"
    lines: dict[str, TestLine] = {}
    for number, fields in _read_published(path) if published else _read_columns(path):
        line = _line(path, number, fields)
        if line.id in lines:
            raise UserError(f"{path}, line {number}: the id {line.id!r} is used twice; give each line its own")
        lines[line.id] = line
    if not lines:
        where = "" if published else " below its heading"
        raise UserError(f"{path}: has no line{where}; give one line per utterance")
    return list(lines.values())


def _read_rows(path: Path, delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the numbers and stripped fields of the lines that are not empty."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UserError(f"{path}: {reason}; give a tab-separated test list or a data directory") from error
    numbered = [(number, [field.strip() for field in row]) for number, row in enumerate(rows, 1)]
    return [(number, row) for number, row in numbered if any(row)]


def _read_columns(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the line numbers and the fields by column of a list that names its columns."""
    rows = _read_rows(path, "\t")
    heading = rows[0][1] if rows and rows[0][0] == 1 else []
    invalid = [name for name in heading if name not in COLUMNS or heading.count(name) > 1]
    if not {"prompt", "text"} <= set(heading) or invalid:
        raise UserError(
            f"{path}: the first line must name the columns, tab-separated: prompt and text, and any of "
            f"{', '.join(COLUMNS[2:])}, each once"
        )
    lines = []
    for number, row in rows[1:]:
        if len(row) != len(heading):
            raise UserError(f"{path}, line {number}: has {len(row)} fields, the first line names {len(heading)}")
        fields = dict(zip(heading, row, strict=True))
        lines.append((number, {"id": f"{number - 1:04d}", **{name: value for name, value in fields.items() if value}}))
    return lines


def _read_published(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the line numbers and the fields by column of a list of LibriSpeech-PC or Seed-TTS-eval."""
    rows = _read_rows(path, "\t")
    is_librispeech = bool(rows) and len(rows[0][1]) == len(LIBRISPEECH_PC)
    if not is_librispeech:
        rows = _read_rows(path, "|")
    for number, row in rows:
        if len(row) not in ((6,) if is_librispeech else (4, 5)):
            raise UserError(
                f"{path}, line {number}: a .lst must have the 6 tab-separated fields of LibriSpeech-PC, or the 4 or 5 "
                "fields of Seed-TTS-eval with `|` between them; rename a list that names its columns to .tsv"
            )
    if is_librispeech:
        return [(number, _librispeech_fields(dict(zip(LIBRISPEECH_PC, row, strict=True)))) for number, row in rows]
    return [(number, _seed_tts_fields(path, dict(zip(SEED_TTS, row, strict=False)))) for number, row in rows]


def _librispeech_fields(fields: dict[str, str]) -> dict[str, str]:
    """Replace the ids of a line of LibriSpeech-PC by audio files, `<speaker>/<chapter>/<id>.flac`."""

    def recording(key: str) -> str:
        return "/".join((*key.split("-")[:2], f"{key}.flac"))

    prompt, key = fields["prompt"], fields["id"]
    files = {"prompt": recording(prompt), "reference": recording(key), "speaker": prompt.partition("-")[0]}
    return {"id": key, "text": fields["text"], "prompt_text": fields["prompt_text"], **files}


def _seed_tts_fields(path: Path, fields: dict[str, str]) -> dict[str, str]:
    """Add the default reference to a line of Seed-TTS-eval."""
    default = f"wavs/{fields['id']}.wav"
    if "reference" not in fields and (path.parent / default).is_file():
        fields["reference"] = default
    return fields


def _line(path: Path, number: int, fields: dict[str, str]) -> TestLine:
    """Return the line of a test list from its fields by column."""
    key = fields["id"]
    if not fields.get("prompt") or not fields.get("text"):
        raise UserError(f"{path}, line {number}: prompt and text must not be empty")
    if problem := file_name_problem(key):
        raise UserError(f"{path}, line {number}: the id {key!r} {problem}, so it cannot name a file; rename it")
    files = {name: path.parent / fields[name] for name in ("prompt", "reference") if fields.get(name)}
    for name, file in files.items():
        if not file.is_file():
            raise UserError(f"{path}, line {number}: {name} {file} does not exist; paths are relative to the list")
    return TestLine(
        id=key,
        prompt=files["prompt"],
        prompt_text=fields.get("prompt_text") or None,
        text=fields["text"],
        reference=files.get("reference"),
        speaker=fields.get("speaker") or fields["prompt"],
        language=fields.get("language"),
        prompt_language=fields.get("prompt_language"),
    )

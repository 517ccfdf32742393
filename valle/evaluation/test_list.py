"""Test lists: what is to be said, in whose voice, and how a person says it.

A tab-separated file whose first line names its columns:

    prompt       recording that gives the voice
    text         what is to be said
    prompt_text  what the prompt says (optional)
    reference    recording of a person saying the text (optional)
    speaker      whose voice the prompt is (optional; each prompt is a speaker of its own without)
    id           name of the line (optional; its number, four digits, without)

Paths are seen from the list's folder. An optional field may be empty.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from valle.errors import UserError
from valle.files import file_name_problem

COLUMNS = ("prompt", "text", "prompt_text", "reference", "speaker", "id")


@dataclass(frozen=True)
class TestLine:
    """One line of a test list."""

    __test__ = False  # pytest takes what is called Test... for its own

    id: str
    prompt: Path
    prompt_text: str | None
    text: str
    reference: Path | None
    speaker: str


def read_test_list(path: Path) -> list[TestLine]:
    """Every line. Raises UserError, with the line's number, for what is missing, unknown or there twice."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UserError(f"{path}: {reason}; give a tab-separated test list or a data directory") from error
    heading = [name.strip() for name in rows[0]] if rows else []
    wrong = [name for name in heading if name not in COLUMNS or heading.count(name) > 1]
    if not {"prompt", "text"} <= set(heading) or wrong:
        raise UserError(
            f"{path}: the first line must name the columns, tab-separated: prompt and text, and any of "
            f"{', '.join(COLUMNS[2:])}, each once"
        )
    lines: dict[str, TestLine] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(field.strip() for field in row):
            continue
        if len(row) != len(heading):
            raise UserError(f"{path}, line {number}: has {len(row)} fields, the first line names {len(heading)}")
        line = _line(path, number, {name: field.strip() for name, field in zip(heading, row, strict=True)})
        if line.id in lines:
            raise UserError(f"{path}, line {number}: the id {line.id!r} was there before; give each line its own")
        lines[line.id] = line
    if not lines:
        raise UserError(f"{path}: holds no line below its heading; give one utterance a line")
    return list(lines.values())


def _line(path: Path, number: int, fields: dict[str, str]) -> TestLine:
    key = fields.get("id") or f"{number - 1:04d}"
    if not fields["prompt"] or not fields["text"]:
        raise UserError(f"{path}, line {number}: prompt and text must not be empty")
    if wrong := file_name_problem(key):
        raise UserError(f"{path}, line {number}: the id {key!r} {wrong}, so it cannot name a file; rename it")
    files = {name: path.parent / fields[name] for name in ("prompt", "reference") if fields.get(name)}
    for name, file in files.items():
        if not file.is_file():
            raise UserError(f"{path}, line {number}: {name} {file} is not there")
    return TestLine(
        id=key,
        prompt=files["prompt"],
        prompt_text=fields.get("prompt_text") or None,
        text=fields["text"],
        reference=files.get("reference"),
        speaker=fields.get("speaker") or fields["prompt"],
    )

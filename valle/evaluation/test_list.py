"""Test lists: target texts with their prompts and reference recordings.

A test list is a tab-separated file whose first line names its columns:

    prompt       audio file of the prompt
    text         target text
    prompt_text  transcript of the prompt (optional)
    reference    recording of the target text by a person (optional)
    speaker      speaker of the prompt (optional; default: each prompt is a speaker of its own)
    id           id of the line (optional; default: its number with four digits)

Paths are relative to the folder of the list. Optional fields may be empty.
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
    """One line of a test list.

    Attributes:
        id: Id of the utterance.
        prompt: Audio file of the prompt.
        prompt_text: Transcript of the prompt; None where it is not available.
        text: Target text.
        reference: Recording of the target text by a person; None where there is none.
        speaker: Speaker of the prompt.
    """

    # Not a test class of pytest.
    __test__ = False

    id: str
    prompt: Path
    prompt_text: str | None
    text: str
    reference: Path | None
    speaker: str


def read_test_list(path: Path) -> list[TestLine]:
    """Read a test list.

    Raises:
        UserError: A column, field or file is missing, or a column or id is unknown or repeated; names the line.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UserError(f"{path}: {reason}; give a tab-separated test list or a data directory") from error
    heading = [name.strip() for name in rows[0]] if rows else []
    invalid = [name for name in heading if name not in COLUMNS or heading.count(name) > 1]
    if not {"prompt", "text"} <= set(heading) or invalid:
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
            raise UserError(f"{path}, line {number}: the id {line.id!r} is used twice; give each line its own")
        lines[line.id] = line
    if not lines:
        raise UserError(f"{path}: has no line below its heading; give one line per utterance")
    return list(lines.values())


def _line(path: Path, number: int, fields: dict[str, str]) -> TestLine:
    """Return the line of a test list from its fields by column."""
    key = fields.get("id") or f"{number - 1:04d}"
    if not fields["prompt"] or not fields["text"]:
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
    )

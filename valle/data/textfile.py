"""Text files of utterances: one a line, with or without ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from valle.errors import UserError


@dataclass(frozen=True)
class Line:
    """An utterance of a text file.

    Attributes:
        number: of the line, from 1.
        id: the id that the line gives, else its number, four digits.
        text: what to synthesize.
    """

    number: int
    id: str
    text: str


def read_lines(path: Path, ids: bool = False) -> list[Line]:
    """Read the utterances of a UTF-8 text file; blank lines are left out.

    Args:
        path: the file. Every line is a text, unless every line has the form `id<TAB>text`.
        ids: whether every line is `id text`, with a tab or a space between.

    Raises:
        UserError: when the file cannot be read, holds no text, or its ids are missing, not distinct or no file names.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UserError(f"{path}: {reason}; give a text file with one utterance a line") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line]
    if not numbered:
        raise UserError(f"{path}: holds no text; give one utterance a line")
    if not ids and not all("\t" in line for _, line in numbered):
        return [Line(number, f"{number:04d}", line) for number, line in numbered]
    found: dict[str, Line] = {}
    for number, line in numbered:
        key, *rest = line.split("\t", 1) if "\t" in line else line.split(None, 1)
        text = rest[0].strip() if rest else ""
        key = key.strip()
        if not text:
            raise UserError(f"{path}:{number}: {key[:40]!r} has no text after it; write `id<TAB>text`")
        if key in found:
            raise UserError(f"{path}:{number}: the id {key!r} is on line {found[key].number} too; ids must differ")
        if "/" in key or "\\" in key or key.startswith("."):
            raise UserError(f"{path}:{number}: the id {key[:40]!r} is no file name; leave out slashes and leading dots")
        found[key] = Line(number, key, text)
    return list(found.values())

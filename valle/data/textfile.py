"""Text files of utterances: one per line, with or without ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from valle.errors import UserError


@dataclass(frozen=True)
class Line:
    """An utterance of a text file.

    Attributes:
        number: Line number, counted from 1.
        id: Id of the line; if it has none, its number with four digits.
        text: Text to synthesize.
    """

    number: int
    id: str
    text: str


def read_lines(path: Path, ids: bool = False) -> list[Line]:
    """Read the utterances of a text file. Blank lines are left out.

    Args:
        path: UTF-8 file. Every line is a text, unless every line has the form `id<TAB>text`.
        ids: Whether every line has the form `id text`, with a tab or a space between.

    Returns:
        The utterances in the order of the file.

    Raises:
        UserError: The file cannot be read or contains no text, or an id is missing, occurs twice or cannot be a file
            name.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UserError(f"{path}: {reason}; give a text file with one utterance per line") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line]
    if not numbered:
        raise UserError(f"{path}: contains no text; give one utterance per line")
    # A single line without a tab shows that the tabs of the others are part of the text.
    if not ids and not all("\t" in line for _, line in numbered):
        return [Line(number, f"{number:04d}", line) for number, line in numbered]
    result: dict[str, Line] = {}
    for number, content in numbered:
        line = _parse_line(path, number, content)
        if line.id in result:
            other = result[line.id].number
            raise UserError(f"{path}:{number}: the id {line.id!r} is on line {other} too; ids must differ")
        result[line.id] = line
    return list(result.values())


def _parse_line(path: Path, number: int, content: str) -> Line:
    """Parse a line with an id."""
    key, *rest = content.split("\t", 1) if "\t" in content else content.split(None, 1)
    key = key.strip()
    text = rest[0].strip() if rest else ""
    if not text:
        raise UserError(f"{path}:{number}: {key[:40]!r} has no text after it; write `id<TAB>text`")
    if "/" in key or "\\" in key or key.startswith("."):
        message = f"the id {key[:40]!r} cannot be a file name; leave out slashes and leading dots"
        raise UserError(f"{path}:{number}: {message}")
    return Line(number, key, text)

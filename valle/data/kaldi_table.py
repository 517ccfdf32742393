"""One file of a Kaldi data directory: lines of a key and a value."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from valle.errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What separates fields: the isspace() of the C locale, as in Kaldi's SplitStringToVector. Everything else that Unicode
# calls white space is part of a field.
SPACES = " \t\r\v\f"
_FIELD_END = re.compile(f"[{SPACES}]+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Problem:
    """Something wrong in a data directory.

    Attributes:
        path: File.
        line: Line number, or None for the whole file.
        message: What is wrong.
        warning: Whether the directory can be used all the same.
    """

    path: Path
    line: int | None
    message: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.path}{'' if self.line is None else f':{self.line}'}: {self.message}"


@dataclass(frozen=True)
class Row:
    """The value of a key and the number of its line."""

    value: str
    line: int

    def fields(self) -> list[str]:
        return _FIELD_END.split(self.value) if self.value else []


def number(text: str) -> float | None:
    """A finite decimal number, or None. Python's own float() also takes "nan", "inf" and "1_0"."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def decode_lines(path: Path, problems: list[Problem]) -> list[tuple[int, str]]:
    """Decode the lines of a UTF-8 file, without line ends and outer spaces. Blank lines are left out.

    A byte order mark, carriage returns, blank lines and lines that are not UTF-8 are added to `problems`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if data.startswith(BYTE_ORDER_MARK):
        problems.append(Problem(path, 1, "begins with a byte order mark, which would be part of the first key"))
        data = data.removeprefix(BYTE_ORDER_MARK)
    if data and not data.endswith(b"\n"):
        problems.append(Problem(path, data.count(b"\n") + 1, "the last line has no line end", warning=True))
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    found = []
    with_return = []
    for index, raw in enumerate(lines, 1):
        if b"\r" in raw:
            with_return.append(index)
        try:
            line = raw.decode("utf-8").strip(SPACES)
        except UnicodeDecodeError:
            problems.append(Problem(path, index, "is not UTF-8"))
            continue
        if line:
            found.append((index, line))
        else:
            problems.append(Problem(path, index, "is blank"))
    if with_return:
        problems.append(Problem(path, with_return[0], f"contains a carriage return{more_lines(with_return)}"))
    return found


def more_lines(lines: list[int]) -> str:
    """ " (and N more lines)" where a problem of a whole file is reported at its first line."""
    count = len(lines) - 1
    return f" (and {count} more {'line' if count == 1 else 'lines'})" if count else ""


class Table:
    """One file of a data directory.

    Attributes:
        rows: Key -> row, in the order of the file. Of a key that occurs twice, the first.
        problems: Everything wrong with the file itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        self.problems: list[Problem] = []
        previous = b""
        with_tab = []
        for line, content in decode_lines(path, self.problems):
            key, *rest = _FIELD_END.split(content, maxsplit=1)
            value = rest[0] if rest else ""
            if content[len(key) : len(key) + 1] not in ("", " "):
                with_tab.append(line)
            if key in self.rows:
                self.problem(line, f"{key!r} occurs a second time (first on line {self.rows[key].line})")
                continue
            if key.encode() < previous:
                self.problem(line, f"{key!r} is out of order; sort by the first field with LC_ALL=C")
            previous = max(previous, key.encode())
            if not value:
                self.problem(line, f"{key!r} has nothing after it")
            self.rows[key] = Row(value, line)
        if with_tab:
            self.problem(with_tab[0], f"has a tab after the key{more_lines(with_tab)}", warning=True)

    def problem(self, line: int | None, message: str, *, warning: bool = False) -> None:
        self.problems.append(Problem(self.path, line, message, warning))

    def compare_keys(self, expected: set[str], source: str) -> None:
        """Report each key that `source`, another file of the directory, lacks."""
        for key, row in self.rows.items():
            if key not in expected:
                self.problem(row.line, f"{key!r} has no line in {source}")

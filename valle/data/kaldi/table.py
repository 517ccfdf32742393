"""The files of a Kaldi data directory: lines that consist of a key and a value."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from valle.errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Characters that separate fields: isspace() of the C locale, as in Kaldi's SplitStringToVector. Every other character
# that Unicode calls white space is part of a field.
SPACES = " \t\r\v\f"
_FIELD_END = re.compile(f"[{SPACES}]+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Problem:
    """An error or a warning about a data directory.

    Attributes:
        path: File that the problem is in.
        line: Line number, counted from 1; None for the whole file.
        message: Description of the problem.
        warning: Whether the directory is usable despite the problem.
    """

    path: Path
    line: int | None
    message: str
    warning: bool = False

    def __str__(self) -> str:
        """Return the problem as a line: path, line number, message."""
        return f"{self.path}{'' if self.line is None else f':{self.line}'}: {self.message}"


@dataclass(frozen=True)
class Row:
    """The value of a key.

    Attributes:
        value: Everything after the key, without the surrounding spaces.
        line: Line number, counted from 1.
    """

    value: str
    line: int

    def fields(self) -> list[str]:
        """Split the value into its fields."""
        return _FIELD_END.split(self.value) if self.value else []


def parse_number(text: str) -> float | None:
    """Parse a finite decimal number; None if `text` is not one.

    Python's float() would also accept "nan", "inf" and "1_0", which Kaldi's programs do not read.
    """
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def decode_lines(path: Path, problems: list[Problem]) -> list[tuple[int, str]]:
    """Decode the lines of a UTF-8 file.

    Args:
        path: File.
        problems: Receives a problem for a byte order mark, for carriage returns, for blank lines, for lines that are
            not UTF-8, and for a last line that is not terminated.

    Returns:
        Number and content of every line that is not blank, without surrounding spaces.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if data.startswith(BYTE_ORDER_MARK):
        problems.append(Problem(path, 1, "begins with a byte order mark, which would be part of the first key"))
        data = data.removeprefix(BYTE_ORDER_MARK)
    if data and not data.endswith(b"\n"):
        problems.append(Problem(path, data.count(b"\n") + 1, "the last line has no line end", warning=True))
    raw_lines = data.removesuffix(b"\n").split(b"\n") if data else []
    lines = []
    lines_with_return = []
    for number, raw_line in enumerate(raw_lines, 1):
        if b"\r" in raw_line:
            lines_with_return.append(number)
        try:
            content = raw_line.decode("utf-8").strip(SPACES)
        except UnicodeDecodeError:
            problems.append(Problem(path, number, "is not UTF-8"))
            continue
        if content:
            lines.append((number, content))
        else:
            problems.append(Problem(path, number, "is blank"))
    # A file written on Windows has a carriage return on every line: report it once.
    if lines_with_return:
        message = f"contains a carriage return{count_other_lines(lines_with_return)}"
        problems.append(Problem(path, lines_with_return[0], message))
    return lines


def count_other_lines(lines: list[int]) -> str:
    """Format " (and N more lines)" for a problem of several lines that is reported at the first of them."""
    count = len(lines) - 1
    return f" (and {count} more {'line' if count == 1 else 'lines'})" if count else ""


class Table:
    """One file of a data directory.

    Args:
        path: File.

    Attributes:
        rows: The row of each key, in the order of the file. Of a key that occurs twice, the first row.
        problems: Problems of the file itself.

    Raises:
        UserError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        self.problems: list[Problem] = []
        previous_key = b""
        lines_with_tab = []
        for line, content in decode_lines(path, self.problems):
            key, *rest = _FIELD_END.split(content, maxsplit=1)
            value = rest[0] if rest else ""
            if content[len(key) : len(key) + 1] not in ("", " "):
                lines_with_tab.append(line)
            if key in self.rows:
                self.add_problem(line, f"{key!r} occurs a second time (first on line {self.rows[key].line})")
                continue
            # Kaldi's programs compare keys as bytes, as `LC_ALL=C sort` does.
            if key.encode() < previous_key:
                self.add_problem(line, f"{key!r} is out of order; sort by the first field with LC_ALL=C")
            previous_key = max(previous_key, key.encode())
            if not value:
                self.add_problem(line, f"{key!r} has no value")
            self.rows[key] = Row(value, line)
        if lines_with_tab:
            message = f"has a tab after the key{count_other_lines(lines_with_tab)}"
            self.add_problem(lines_with_tab[0], message, warning=True)

    def add_problem(self, line: int | None, message: str, *, warning: bool = False) -> None:
        """Record a problem of this file."""
        self.problems.append(Problem(self.path, line, message, warning))

    def compare_keys(self, expected: set[str], source: str) -> None:
        """Record every key of this file that is missing from another one.

        Args:
            expected: Keys of the other file.
            source: Name of the other file.
        """
        for key, row in self.rows.items():
            if key not in expected:
                self.add_problem(row.line, f"{key!r} has no line in {source}")


class Tables:
    """All files of a data directory that consist of keys and values, and the problems found in them.

    Args:
        directory: Data directory.
        required: Names of files that must be there.
        optional: Names of files that are read if they are there.

    Attributes:
        problems: Problems that do not belong to one table alone; those of a table are in the table.

    Raises:
        UserError: A file cannot be read.
    """

    def __init__(self, directory: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> None:
        self.directory = directory
        self.problems: list[Problem] = []
        for name in required:
            if not (directory / name).is_file():
                remedy = "; valle-prepare transcribe adds it" if name == "text" else ""
                self.add_problem(name, None, f"missing{remedy}")
        names = [name for name in (*required, *optional) if (directory / name).is_file()]
        self._tables = {name: Table(directory / name) for name in names}

    def __contains__(self, name: str) -> bool:
        """Return whether the directory has a file of that name."""
        return name in self._tables

    def __getitem__(self, name: str) -> Table:
        """Return the table of a file.

        Raises:
            KeyError: The file is missing.
        """
        return self._tables[name]

    def rows(self, name: str) -> dict[str, Row]:
        """The rows of a file by key; none if the file is missing."""
        return self._tables[name].rows if name in self._tables else {}

    def add_problem(self, name: str, line: int | None, message: str, *, warning: bool = False) -> None:
        """Record a problem of the file `name`."""
        self.problems.append(Problem(self.directory / name, line, message, warning))

    def all_problems(self) -> list[Problem]:
        """Every problem recorded so far: those between files first, then those of each file."""
        return self.problems + [problem for table in self._tables.values() for problem in table.problems]

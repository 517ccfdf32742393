"""Files: atomic writes, JSON lines, names, the cache directory, and weights with their provenance.

All modules share these functions, so that each file is complete or absent, and each failure is one line.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from valle.errors import UserError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Write a file atomically: it is complete or does not exist.

    Args:
        path: The file to write. Its folder is created where it is missing.

    Yields:
        A temporary path in the same folder, which is renamed to `path` at the end of the block, and removed if the
        block raises an exception.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically. Raises UserError where it cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_text(path: str | Path) -> str:
    """Read a UTF-8 text file without its byte order mark. Raises UserError where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


# Bytes. File systems allow 255, of which suffixes and temporary names need some.
MAX_NAME = 200
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")


def file_name_problem(name: str) -> str | None:
    """Return why a name, such as an utterance id, cannot be a file name in a given folder; None where it can."""
    if not name or name.startswith("."):
        return "is empty" if not name else "begins with '.'"
    unsafe = _UNSAFE.search(name)
    if unsafe:
        return f"contains {unsafe[0]!r}"
    return f"is longer than {MAX_NAME} bytes" if len(name.encode()) > MAX_NAME else None


def make_file_name(name: str) -> str:
    """Replace everything that `file_name_problem` reports by "_", and shorten the name."""
    name = re.sub(r"^\.+", "_", _UNSAFE.sub("_", name)) or "_"
    return name.encode()[:MAX_NAME].decode(errors="ignore")


def file_in(folder: Path, name: str, suffix: str) -> Path:
    """Return the path `folder/<name><suffix>`. Raises UserError where it would not be in the folder itself."""
    problem = file_name_problem(name)
    if problem:
        raise UserError(f"id {name!r}: {problem}, so it cannot name a file in {folder}; rename it")
    return folder / f"{name}{suffix}"


def append_line(path: str | Path, line: str) -> None:
    """Append a line to a text file in one write, so that a killed process can truncate the last line only.

    Args:
        path: The file. It and its folder are created where they are missing.
        line: The line, without its line break.

    Raises:
        UserError: The file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                # A truncated line remains a line of its own.
                if file.read() != b"\n":
                    file.write(b"\n")
            file.write(line.encode() + b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the JSON lines that `append_line` wrote, without truncated ones; none where the file does not exist."""
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        with suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records


def cache_directory() -> Path:
    """Return the cache directory of compiled code and error logs: `$XDG_CACHE_HOME/valle`, or `~/.cache/valle`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "valle"


def write_weights(path: Path, weights: dict[str, Any], provenance: dict[str, Any]) -> None:
    """Write weights as a safetensors file in half precision.

    Args:
        path: The file.
        weights: Tensors by name.
        provenance: Where the weights come from, stored as the file's metadata.
    """
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        halves = {name: weight.half().contiguous() for name, weight in weights.items()}
        save_file(halves, temporary, metadata={key: str(value) for key, value in provenance.items()})
        # The library makes it readable by its owner only.
        temporary.chmod(0o644)


def read_provenance(path: Path | None) -> dict[str, Any]:
    """Read where weights come from.

    Args:
        path: A JSON object; None: nothing is stored.

    Raises:
        UserError: The file cannot be read, or holds something else.
    """
    if path is None:
        return {}
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); give an object of names and texts") from error
    if not isinstance(provenance, dict):
        raise UserError(f"{path}: not a JSON object; give one of names and texts")
    return provenance

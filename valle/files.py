"""Files that are either whole or not there, and where files are kept for later."""

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
    """A temporary name beside `path`, renamed to `path` if the block ends well and removed if it does not.

    The folder is made when missing. Raises UserError when the disk is full or the folder cannot be written.
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
    """Write a UTF-8 text file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_text(path: str | Path) -> str:
    """The content of a UTF-8 file, without a byte order mark. Raises UserError when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


MAX_NAME = 200  # bytes; file systems take 255, and endings and temporary names need some
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")


def file_name_problem(name: str) -> str | None:
    """What keeps a name, of an utterance for example, from being a file's in any folder; None where nothing does."""
    if not name or name.startswith("."):
        return "is empty" if not name else "begins with '.'"
    unsafe = _UNSAFE.search(name)
    if unsafe:
        return f"contains {unsafe[0]!r}"
    return f"is longer than {MAX_NAME} bytes" if len(name.encode()) > MAX_NAME else None


def make_file_name(name: str) -> str:
    """The name with "_" for everything that `file_name_problem` reports."""
    name = re.sub(r"^\.+", "_", _UNSAFE.sub("_", name)) or "_"
    return name.encode()[:MAX_NAME].decode(errors="ignore")


def file_in(folder: Path, name: str, ending: str) -> Path:
    """The path `folder/<name><ending>`. Raises UserError where that would not lie in the folder itself."""
    wrong = file_name_problem(name)
    if wrong:
        raise UserError(f"id {name!r}: {wrong}, so it cannot name a file in {folder}; rename it")
    return folder / f"{name}{ending}"


def append_line(path: str | Path, line: str) -> None:
    """Add a line to a text file at once: a killed process leaves whole lines, but for the last. The folder is made
    when missing. Raises UserError when it cannot be written."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":
                    file.write(b"\n")  # what was cut off stays a line of its own
            file.write(line.encode() + b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def read_records(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file that `append_line` wrote; none if it is not there. Lines that were cut off are left
    out."""
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        with suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records


def cache_directory() -> Path:
    """Where compiled code is kept: `$XDG_CACHE_HOME/valle`, or `~/.cache/valle`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "valle"


def write_weights(path: Path, weights: dict[str, Any], provenance: dict[str, Any]) -> None:
    """Write tensors in half precision as safetensors, with where they come from as the file's metadata."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        halves = {name: weight.half().contiguous() for name, weight in weights.items()}
        save_file(halves, temporary, metadata={key: str(value) for key, value in provenance.items()})
        temporary.chmod(0o644)  # the library leaves it to its owner alone


def read_provenance(path: Path | None) -> dict[str, Any]:
    """What is to be said of where weights come from: a JSON object, or nothing. Raises UserError for another file."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); give an object of names and texts") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: not a JSON object; give one of names and texts")
    return found

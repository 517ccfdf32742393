"""Files are UTF-8 whatever the locale says, and commands print whatever the locale lacks."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import BIN, ROOT
from valle import audio

# No UTF-8 at all: neither by the locale nor by Python's own exceptions for the C locale.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
RUNS = {"run", "Popen", "check_output", "check_call", "call"}


def _lacks_encoding(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if "encoding" in keywords:
        return False
    if name in RUNS:
        return "text" in keywords or "universal_newlines" in keywords
    if name in ("read_text", "write_text"):
        # Methods of Path; our own functions of these names take the path first.
        return isinstance(call.func, ast.Attribute)
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if getattr(owner, "id", getattr(owner, "attr", "")) in ("av", "_av"):
        # Files of PyAV hold audio.
        return False
    if name in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile"):
        modes = [a.value for a in [*call.args, keywords.get("mode")] if isinstance(a, ast.Constant)]
        return not any(isinstance(mode, str) and len(mode) <= 3 and "b" in mode for mode in modes)
    return False


def _unnamed_encodings(source: str) -> list[int]:
    return [n.lineno for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and _lacks_encoding(n)]


def test_every_text_file_is_opened_with_a_named_encoding() -> None:
    """Ruff's PLW1514 finds what it knows to be a Path; this finds the rest, and the output of other programs."""
    files = [path for folder in ("valle", "egs", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 50
    found = [f"{path}:{line}" for path in files for line in _unnamed_encodings(path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    "source", ["open(p)", "p.open('a')", "p.read_text()", "p.write_text(x)", "subprocess.run(c, text=True)"]
)
def test_the_check_of_encodings_finds(source: str) -> None:
    assert _unnamed_encodings(source) == [1]


def ascii_command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(BIN / str(arguments[0])), *map(str, arguments[1:])],
        env=os.environ | ASCII | environment,
        capture_output=True,
        check=False,
    )


def test_commands_take_any_language_in_the_c_locale(tmp_path: Path) -> None:
    audio.write(tmp_path / "grüße.wav", np.full(16_000, 0.1, np.float32), 16_000)
    (tmp_path / "liste.txt").write_text("grüße.wav|jürgen|Schöne Grüße.\n", encoding="utf-8")
    output = tmp_path / "größe"
    listed = ascii_command("valle-prepare", "list", tmp_path / "liste.txt", output)
    assert (listed.returncode, listed.stderr) == (0, b"")
    assert listed.stdout.decode("utf-8") == f"{output}: 1 utterances\n"
    assert (output / "text").read_text(encoding="utf-8") == "jürgen-grüße Schöne Grüße.\n"
    valid = ascii_command("valle-prepare", "validate", output, "--language", "de")
    assert (valid.returncode, valid.stderr) == (0, b"")


def test_what_a_stream_cannot_encode_is_printed_as_escapes(tmp_path: Path) -> None:
    missing = ascii_command("valle-prepare", "validate", tmp_path / "größe", PYTHONIOENCODING="ascii:strict")
    assert missing.returncode == 2
    assert missing.stderr.count(b"\n") == 1
    assert b"gr\\xf6\\xdfe: no such data directory" in missing.stderr


def test_the_bundled_model_loads_in_the_c_locale() -> None:
    """Through Python, where no command sets UTF-8 mode."""
    code = (
        "from valle.checkpoint import find_checkpoint, model_directory, read_checkpoint\n"
        "import locale; assert locale.getpreferredencoding(False) == 'ANSI_X3.4-1968', locale.getpreferredencoding()\n"
        "read_checkpoint(find_checkpoint(model_directory('small'), 'nar'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | ASCII, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")

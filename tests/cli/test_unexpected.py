"""Reports of unexpected exceptions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("eval", "prepare", "synth", "tokenize", "train")


def run_failing_command(command: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that raises an unexpected exception, with the cache directory at `cache`."""
    script = (
        f"import sys\nfrom valle.cli import {command}\n"
        "def fail():\n    raise ZeroDivisionError('no such\\nluck')\n"
        f"{command}._main = fail\nsys.argv = ['/bin/valle-{command}', 'a b']\n{command}.main()\n"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("command", COMMANDS)
def test_unexpected_exception_is_one_line_that_names_the_file_with_its_traceback(command: str, tmp_path: Path) -> None:
    done = run_failing_command(command, tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    (log,) = (tmp_path / "valle" / "errors").iterdir()
    assert line.startswith(f"valle-{command}: unexpected ZeroDivisionError: no such luck; please report it")
    assert str(log) in line
    text = log.read_text(encoding="utf-8")
    assert text.startswith(f"/bin/valle-{command} 'a b'\nvalle ")
    assert "Traceback (most recent call last)" in text
    assert "ZeroDivisionError: no such\nluck" in text


def test_traceback_that_cannot_be_saved_is_printed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run_failing_command("prepare", tmp_path / "file")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "ZeroDivisionError" in done.stderr

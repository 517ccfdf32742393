"""What all recipes share: options and their help, relative paths, and steps with logs and progress."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import BIN, ROOT

EGS = ROOT / "egs"
RECIPES = sorted(path.parent.name for path in EGS.glob("*/run.sh"))
RECIPE = """#!/usr/bin/env bash
# A recipe of one step.
set -euo pipefail
cd "$(dirname "$0")"
stage=1
stop_stage=1
exp=exp        # folder of the run
words=none     # file of words
number=3
. ../utils/parse_options.sh
. ../utils/stages.sh
if stage_selected 1; then
  step 1-print python -c "
import sys, time
print('begun', sys.stdout.isatty(), flush=True)
time.sleep(float(sys.argv[1]))
print(open(sys.argv[2]).read())
sys.exit(int(sys.argv[3]))" "${PAUSE:-0}" "$words" "${CODE:-0}"
fi
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The run.sh of a recipe in a copy of egs/."""
    shutil.copytree(EGS / "utils", tmp_path / "egs" / "utils")
    path = tmp_path / "egs" / "small" / "run.sh"
    path.parent.mkdir()
    path.write_text(RECIPE, encoding="utf-8")
    return path


def bash(script: Path, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"} | variables
    return subprocess.run(
        ["bash", str(script), *arguments], cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False
    )


@pytest.mark.parametrize("name", RECIPES)
def test_help_lists_every_option_with_its_default(name: str, tmp_path: Path) -> None:
    done = bash(EGS / name / "run.sh", "--help", cwd=tmp_path)
    assert done.returncode == 0
    script = (EGS / name / "run.sh").read_text(encoding="utf-8").partition(". ../utils/parse_options.sh")[0]
    for option in re.findall(r"^([a-z][a-z0-9_]*)=", script, re.MULTILINE):
        assert re.search(rf"^  --{option.replace('_', '-')} .*\(default: .+\)$", done.stdout, re.MULTILINE), option


def test_an_unknown_option_is_refused_with_a_hint_to_the_help(recipe: Path, tmp_path: Path) -> None:
    done = bash(recipe, "--wrods", "x", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--help" in done.stderr


def test_relative_paths_are_relative_to_the_current_folder(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "words.txt").write_text("spoken words", encoding="utf-8")
    done = bash(recipe, "--words", "words.txt", "--exp", "made", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "spoken words" in (folder / "made" / "log" / "1-print.log").read_text(encoding="utf-8")
    assert re.search(r"1-print: done in \d+ s", done.stdout)


def test_a_long_step_reports_progress_and_logs_all_output(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "w").write_text("the end", encoding="utf-8")
    given = ["--words", "w", "--exp", "made"]
    done = bash(recipe, *given, cwd=tmp_path, PAUSE="2.5", step_seconds="1")
    assert re.findall(r"^1-print: running for (\d) s: begun False$", done.stdout, re.MULTILINE) == ["1", "2"]
    assert (tmp_path / "made" / "log" / "1-print.log").read_text(encoding="utf-8") == "begun False\nthe end\n"
    assert "running" not in bash(recipe, *given, cwd=tmp_path).stdout


def test_a_failed_step_ends_the_recipe_with_its_exit_code(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "w").write_text("the end", encoding="utf-8")
    done = bash(recipe, "--words", "w", "--exp", "made", cwd=tmp_path, CODE="7")
    assert done.returncode == 7
    assert "1-print: failed after" in done.stderr
    assert "the end" in done.stderr


def test_a_step_on_a_terminal_has_a_terminal(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "w").write_text("the end", encoding="utf-8")
    shown = []

    def read(descriptor: int) -> bytes:
        shown.append(os.read(descriptor, 4096))
        return shown[-1]

    before = os.environ.copy(), Path.cwd()
    try:
        os.environ["PATH"] = f"{BIN}:{os.environ['PATH']}"
        os.chdir(tmp_path)
        code = os.waitstatus_to_exitcode(pty.spawn(["bash", str(recipe), "--words", "w", "--exp", "made"], read))
    finally:
        os.environ.update(before[0])
        os.chdir(before[1])
    assert code == 0
    output = b"".join(shown).decode()
    assert "begun True" in output
    assert "the end" in output
    assert "begun True" in (tmp_path / "made" / "log" / "1-print.log").read_text(encoding="utf-8")

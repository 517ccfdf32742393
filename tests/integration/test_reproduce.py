"""The commands of docs/reproduce.md, run with a recorder in place of each, parse."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from valle.training.cli import train

COMMANDS = ("valle-prepare", "valle-tokenize", "valle-train", "valle-synth", "valle-eval")
# Appends its name and its arguments, each with a null byte after it, and another one.
RECORDER = """#!/bin/bash
printf '%s\\0' "${0##*/}" "$@" >> "$RECORD"
printf '\\0' >> "$RECORD"
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """The commands of the page as their processes get them, one of each kind: name, then arguments."""
    folder = tmp_path_factory.mktemp("reproduce")
    binaries = folder / "bin"
    binaries.mkdir()
    for name in (*COMMANDS, "python"):
        (binaries / name).write_text(RECORDER, encoding="utf-8")
        (binaries / name).chmod(0o755)
    for name in ("egs", "recipes"):
        (folder / name).symlink_to(ROOT / name)
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8"), re.DOTALL)
    # The loops over top-p repeat the same commands with other numbers.
    script = re.sub(r"\$\(seq .*?\); do", "0.5; do", "set -euo pipefail\n" + "".join(blocks))
    environment = os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}", "RECORD": str(folder / "record")}
    subprocess.run(["bash", "-c", script], cwd=folder, env=environment, check=True, capture_output=True)
    records = (folder / "record").read_text(encoding="utf-8").split("\0\0")
    commands = [record.split("\0") for record in records if record]
    return list({re.sub(r"\d+", "", " ".join(command)): command for command in commands}.values())


def help_of(module: str, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch) -> str:
    """What a command prints when `--help` follows its arguments, whose values are checked before."""
    monkeypatch.setattr(sys, "argv", [module, *arguments, "--help"])
    with contextlib.suppress(SystemExit):
        importlib.import_module(f"valle.cli.{module}").main()
    output = capsys.readouterr()
    assert not output.err, (arguments, output.err)
    return output.out


def test_arguments_of_the_commands_exist(recorded, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    assert {command[0] for command in recorded} == {*COMMANDS, "python"}
    for name, *arguments in recorded:
        if name == "python":
            assert (ROOT / arguments[0]).is_file()
        elif name != "valle-train":
            shown = help_of(name.removeprefix("valle-"), arguments, capsys, monkeypatch)
            for option in (argument for argument in arguments if argument.startswith("--")):
                assert re.search(rf"{option}\b", shown), (name, arguments, option)


def test_training_commands_are_valid_configurations(
    recorded, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    directories = set()
    for name, *arguments in recorded:
        if name == "valle-train":
            with contextlib.suppress(SystemExit):
                train([*arguments, "--print_config"])
            configuration = yaml.safe_load(capsys.readouterr().out)
            directories.add(configuration["trainer"]["default_root_dir"])
            assert int(configuration["trainer"]["devices"]) == 8
    assert {Path(directory).name for directory in directories} == {"ar", "nar"}

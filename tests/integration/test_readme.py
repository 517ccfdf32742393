"""What the README shows works word for word, and is understood."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import jiwer
import pytest

from tests.conftest import ROOT, command
from valle import audio
from valle.evaluation.recognizer import load_recognizer, words

README = (ROOT / "README.md").read_text(encoding="utf-8")
SPEAK = README[README.index("## Speak") : README.index("## Train")]
LINES = ["The old baker sold a loaf of bread.", "The dog ran under the bridge."]


@pytest.fixture(scope="module")
def folder(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README names."""
    path = tmp_path_factory.mktemp("readme")
    (path / "3s.wav").write_bytes(speech.read_bytes())
    (path / "lines.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def word_errors(path: Path, text: str) -> float:
    (transcript,) = load_recognizer().transcribe([audio.read(path, 16_000).samples])
    return jiwer.wer(words(text), words(transcript) or "-")


def test_its_python_runs_and_is_understood(folder: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", SPEAK, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", snippet], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["complete", "False", "False"]
    assert word_errors(folder / "hello.wav", "Hello there.") <= 0.5
    assert word_errors(folder / "streamed.wav", "Hello there.") <= 0.5


def test_its_commands_run_and_are_understood(folder: Path) -> None:
    shown = re.findall(r"^    (valle-synth .*)$", SPEAK, re.MULTILINE)
    ours = [line for line in shown if "--model egs" not in line]
    assert len(ours) == 3
    for line in ours:
        command(*shlex.split(line, comments=True), cwd=folder)
    assert word_errors(folder / "hello.wav", "Hello there.") <= 0.5
    assert word_errors(folder / "cost.wav", "It costs $20.50, Dr. Ng.") <= 0.5
    for number in range(1, len(LINES) + 1):
        assert audio.duration(folder / "out" / f"{number:04d}.wav") > 1.0

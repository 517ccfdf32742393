"""Run the README's Python and shell examples and check the words of the speech that they write."""

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
QUICK_START = README[README.index("## Install") : README.index("## Models")]
LINES = ["The old baker sold a loaf of bread.", "The dog ran under the bridge."]


@pytest.fixture
def folder(speech: Path, tmp_path: Path) -> Path:
    """A folder with the files that the README names."""
    (tmp_path / "3s.wav").write_bytes(speech.read_bytes())
    (tmp_path / "lines.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    (tmp_path / "book.txt").write_text("# One\n\nHello there.\n", encoding="utf-8")
    return tmp_path


def python_block(section: str) -> str:
    """The only Python block of a section."""
    (snippet,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return snippet


def run_python(snippet: str, folder: Path) -> str:
    """Run Python code in a process of its own and return its standard output."""
    done = subprocess.run([sys.executable, "-c", snippet], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def word_error_rate(path: Path, text: str) -> float:
    """WER of a file against its text."""
    (transcript,) = load_recognizer().transcribe([audio.read(path, 16_000).samples])
    return jiwer.wer(words(text), words(transcript) or "-")


def test_first_code_block_is_demo_and_test() -> None:
    block = re.findall(r"(?:^    .*\n)+", README, re.MULTILINE)[0]
    assert [line.split("#")[0].strip() for line in block.splitlines()] == ["make demo", "make test"]
    assert README.index(block) < README.index("```")


def test_quick_start_is_intelligible(folder: Path) -> None:
    (line,) = re.findall(r"^    (valle-synth .*)$", QUICK_START, re.MULTILINE)
    command(*shlex.split(line, comments=True), cwd=folder, fresh=True)
    run_python(python_block(QUICK_START), folder)
    assert word_error_rate(folder / "out.wav", "Hello there.") <= 0.5
    assert word_error_rate(folder / "hello.wav", "Hello there.") <= 0.5


def test_python_example_is_intelligible(folder: Path) -> None:
    output = run_python(python_block(SPEAK), folder)
    assert output.split() == ["complete", "False", "False"]
    assert word_error_rate(folder / "hello.wav", "Hello there.") <= 0.5
    assert word_error_rate(folder / "streamed.wav", "Hello there.") <= 0.5


def test_commands_are_intelligible(folder: Path) -> None:
    shown = re.findall(r"^    (valle-synth .*)$", SPEAK, re.MULTILINE)
    runnable = [line for line in shown if "--model egs" not in line]
    assert len(runnable) == 5
    for line in runnable:
        command(*shlex.split(line, comments=True), cwd=folder)
    assert word_error_rate(folder / "hello.wav", "Hello there.") <= 0.5
    assert word_error_rate(folder / "cost.wav", "It costs $20.50, Dr. Ng.") <= 0.5
    for number in range(1, len(LINES) + 1):
        assert audio.duration(folder / "out" / f"{number:04d}.wav") > 1.0


@pytest.mark.parametrize(
    ("row", "source"),
    [
        ("model `small`", "synthesized, 160 sentences"),
        ("resynthesis by the codec", "resynthesis by the codec"),
        ("recordings", "20 speakers: recordings"),
    ],
)
def test_scores_are_those_of_the_model_card(row: str, source: str) -> None:
    card = (ROOT / "valle" / "assets" / "models" / "small" / "README.md").read_text(encoding="utf-8")
    models = README[README.index("## Models") : README.index("## Speak")]
    shown = next(line for line in models.splitlines() if line.startswith(f"| {row}"))
    # The columns after the name: WER, SIM and DNSMOS.
    scores = re.findall(r"\d+\.\d+", " ".join(shown.split("|")[2:5]))
    measured = next(line for line in card.splitlines() if line.startswith(f"| {source} |"))
    assert scores
    assert set(scores) <= set(re.findall(r"\d+\.\d+", measured))

"""valle-synth with texts of any length."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
import soundfile

from tests.conftest import command

BOOK = """# The Title

This is a very short book.

Chapter 1. Down

Alice was tired of sitting by her sister. [pause 1s] The book had no pictures!

Chapter 2. Up

The end came soon, as ends do.
"""


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text(BOOK, encoding="utf-8")
    return path


def test_book_becomes_one_file_with_the_times_of_its_words(book: Path, tmp_path: Path) -> None:
    output = tmp_path / "book.wav"
    times = tmp_path / "words.json"
    done = command("valle-synth", book, "-o", output, "--timestamps", times, "--attempts", 1)
    assert "3 chapters" in done.stdout
    words = json.loads(times.read_text(encoding="utf-8"))
    # Marks are not spoken; headings are.
    assert " ".join(word["text"] for word in words) == (
        "The Title This is a very short book. Chapter 1. Down Alice was tired of sitting by her sister. "
        "The book had no pictures! Chapter 2. Up The end came soon, as ends do."
    )
    starts = [word["start"] for word in words]
    assert starts == sorted(starts)
    assert words[-1]["end"] <= soundfile.info(output).duration
    sister = next(word for word in words if word["text"] == "sister.")
    following = words[words.index(sister) + 1]
    assert following["start"] - sister["end"] >= 1.0
    assert not (tmp_path / "book.wav.parts").exists()


def test_chapters_are_files_or_marks(book: Path, tmp_path: Path) -> None:
    command("valle-synth", book, "--chapters", "--output-dir", tmp_path / "chapters", "--attempts", 1)
    names = sorted(path.name for path in (tmp_path / "chapters").iterdir())
    assert names == ["01-The Title.wav", "02-Chapter 1. Down.wav", "03-Chapter 2. Up.wav"]
    command("valle-synth", book, "-o", tmp_path / "book.m4b", "--attempts", 1)
    with av.open(str(tmp_path / "book.m4b")) as container:
        chapters = container.chapters()
    assert [chapter["metadata"]["title"] for chapter in chapters] == ["The Title", "Chapter 1. Down", "Chapter 2. Up"]
    durations = [soundfile.info(path).duration for path in sorted((tmp_path / "chapters").iterdir())]
    assert chapters[1]["start"] / 1000 == pytest.approx(durations[0], abs=0.05)


def test_standard_input_and_other_formats(tmp_path: Path) -> None:
    script = str(Path(sys.executable).with_name("valle-synth"))
    for suffix in (".flac", ".ogg", ".opus", ".mp3", ".m4a"):
        output = tmp_path / f"speech{suffix}"
        subprocess.run([script, "-", "-o", output, "--attempts", "1"], input="Hello there.", text=True, check=True)
        with av.open(str(output)) as container:
            seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
        assert 0.5 < seconds < 4


def test_killed_run_continues_and_gives_the_same_bytes(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    sentences = "The garden behind the house is full of yellow flowers. They walked along the river until dark.\n\n"
    text.write_text(sentences * 6, encoding="utf-8")
    whole = tmp_path / "whole.flac"
    options = ["--attempts", "1", "--pause-sentence", "0.2", "--seed", "7"]
    command("valle-synth", text, "-o", whole, *options)
    output = tmp_path / "killed.flac"
    parts = tmp_path / "killed.flac.parts"
    script = str(Path(sys.executable).with_name("valle-synth"))
    process = subprocess.Popen([script, str(text), "-o", str(output), *options], stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(parts.glob("*5.json")):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    saved = len(list(parts.glob("0*.json")))
    assert 0 < saved < 12
    assert not output.exists()
    done = command("valle-synth", text, "-o", output, "--seed", 8, *options[:-2], check=False)
    assert done.returncode == 2
    assert "holds parts of another text, voice, seed or model" in done.stderr
    command("valle-synth", text, "-o", output, *options)
    assert output.read_bytes() == whole.read_bytes()
    assert not parts.exists()


def test_speed_pauses_and_lexicon(tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("tomato\t/təˈmɑːtoʊ/\n", encoding="utf-8")
    text = "I ate a tomato. It was good."
    seconds = {}
    for name, options in {
        "plain": ["--pause-sentence", 0],
        "paused": ["--pause-sentence", 1.5],
        "fast": ["--pause-sentence", 0, "--speed", 2],
        "lexicon": ["--lexicon", lexicon],
    }.items():
        path = tmp_path / f"{name}.wav"
        command("valle-synth", "--text", text, "-o", path, "--attempts", 1, *options)
        seconds[name] = soundfile.info(path).duration
    assert seconds["paused"] == pytest.approx(seconds["plain"] + 1.5, abs=0.01)
    assert seconds["fast"] == pytest.approx(seconds["plain"] / 2, abs=0.01)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", [], "text.txt: text '': holds nothing to say"),
        ("A [pause] b.", [], "text.txt: line 1, column 3: [pause] is no pause"),
        ("<speak>a", [], "text.txt: SSML, line 1, column 9: no element found"),
        ("привет", [], "text.txt: text 'привет': the letter 'п' cannot be read"),
        ("Hello.", ["-o", "a.xyz"], "a.xyz: can only write .wav"),
        ("Hello.", ["--timestamps", "a.txt"], "a.txt: can only write timestamps as .json, .srt, .vtt"),
        ("Hello.", ["--chapters"], "--chapters goes with FILE and --output-dir"),
        ("Hello.", ["--num-candidates", "2"], "--num-candidates goes with --text"),
        ("Hello.", ["--speed", "3"], "speed 3.0 must be 0.5 to 2"),
        ("Hello.", ["--pause-sentence", "-1"], "pause_sentence -1.0 must be 0 to 60"),
        ("Hello.", ["--lexicon", "none.txt"], "none.txt: cannot be read"),
        ("Hello.", ["--voice", "nobody"], "there is no voice 'nobody'; give one of clara"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    tmp_path: Path, text: str, options: list[str], message: str
) -> None:
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    done = command("valle-synth", "text.txt", *options, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_lexicon_that_the_model_cannot_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "lexicon.txt").write_text("tomato\t/q@/\n", encoding="utf-8")
    done = command("valle-synth", "--text", "Hi.", "--lexicon", "lexicon.txt", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "lexicon.txt: tomato: [tomato](/q@/): '@' is no phone that the model has" in done.stderr

"""Command line of valle-synth."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import command
from valle import audio
from valle.data import kaldi
from valle.evaluation.test_set import choose_prompts

TEXT = "The baker sold a loaf."


def write_bad_prompt(kind: str, folder: Path) -> Path:
    """Write a prompt that cannot be used; "missing" writes none."""
    path = folder / f"{kind}.wav"
    if kind == "empty":
        path.touch()
    elif kind == "silent":
        audio.write(path, np.zeros(32_000, np.float32), 16_000)
    elif kind == "one-sample":
        audio.write(path, np.ones(1, np.float32), 16_000)
    elif kind == "not-audio":
        path.write_bytes(b"\x00\x01 this is no recording" * 100)
    elif kind == "eight-hours":
        with soundfile.SoundFile(path, "w", 8000, 1, "PCM_U8") as file:
            for _ in range(8):
                file.write(np.zeros(3600 * 8000, np.int16))
    return path


def assert_refused(done: subprocess.CompletedProcess[str], output: Path, named: str) -> None:
    """Check that a command printed one line with `named` and wrote nothing."""
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert named in done.stderr
    assert not output.exists()
    assert not list(output.parent.glob(".*partial*")) if output.parent.is_dir() else True


def test_same_seed_gives_the_same_file_in_another_process(run_directory: Path, speech: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        command(
            "valle-synth",
            "--model",
            run_directory,
            "--prompt",
            speech,
            "--text",
            TEXT,
            "--seed",
            seed,
            "-o",
            tmp_path / f"{name}.wav",
        )
    a, b, c = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_lines_of_a_text_file_and_candidates_are_numbered(run_directory: Path, speech: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{TEXT}\nThe dog ran.\n")
    command("valle-synth", "--model", run_directory, "--prompt", speech,
            "--prompt-text", "Hello there.", "--text-file", lines,
            "--output-dir", tmp_path / "out", "--num-candidates", "2")  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "0001-1.wav",
        "0001-2.wav",
        "0002-1.wav",
        "0002-2.wav",
    ]


def test_bundled_model_synthesizes_the_whole_text(corpus: Path, tmp_path: Path) -> None:
    utterance = kaldi.with_durations(kaldi.read(corpus / "test_seen"))[0]
    prompt = choose_prompts(kaldi.read(corpus / "test_seen"))[utterance.id]
    command("valle-synth", "--prompt", prompt.utterance.path, "--prompt-text", str(prompt.text),
            "--text", utterance.text, "-o", tmp_path / "out.wav", cwd=tmp_path)  # fmt: skip
    speech = audio.read(tmp_path / "out.wav")
    assert utterance.duration is not None
    assert 0.75 < speech.duration / utterance.duration < 1.35
    assert audio.loudness(speech.samples) > -35


def test_files_do_not_depend_on_the_batch_size_and_int8_gives_audio(
    run_directory: Path, speech: Path, tmp_path: Path
) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{TEXT}\nThe dog ran.\nThe cat sat on the mat.\n")
    runs = {"all": [], "few": ["--max-batch-tokens", "1"], "int8": ["--dtype", "int8"]}
    for name, options in runs.items():
        command("valle-synth", "--model", run_directory, "--prompt", speech, "--text-file", lines, "--output-dir",
                tmp_path / name, *options)  # fmt: skip
    for number in ("0001", "0002", "0003"):
        together, alone, small = (tmp_path / name / f"{number}.wav" for name in ("all", "few", "int8"))
        assert together.read_bytes() == alone.read_bytes()
        assert audio.read(small).duration > 0


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_compiled_steps_give_the_same_samples(run_directory: Path, speech: Path, tmp_path: Path) -> None:
    for name, options in {"plain": ["--no-compile"], "compiled": ["--compile"], "default": []}.items():
        command("valle-synth", "--prompt", speech, "--text", TEXT, "-o", tmp_path / f"{name}.wav", *options)
    assert (tmp_path / "plain.wav").read_bytes() == (tmp_path / "compiled.wav").read_bytes()
    assert (tmp_path / "default.wav").read_bytes() == (tmp_path / "compiled.wav").read_bytes()
    done = command(
        "valle-synth", "--model", run_directory, "--prompt", speech, "--text", TEXT, "--compile", check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "must divide by 64" in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [["--prompt"], ["--dtype", "int3"], ["--loud"], ["--ras-threshold", "7"], ["--protocol", "nearest"]],
)
def test_invalid_option_is_one_line(wrong: list[str]) -> None:
    done = command("valle-synth", "--prompt", "x.wav", "--text", "Hello.", *wrong, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert wrong[0].strip("-").replace("-", "_") in done.stderr.replace("-", "_")


@pytest.mark.parametrize("kind", ["missing", "empty", "silent", "one-sample", "not-audio", "eight-hours"])
def test_invalid_prompt_is_one_line_and_nothing_is_written(run_directory: Path, tmp_path: Path, kind: str) -> None:
    prompt, output = write_bad_prompt(kind, tmp_path), tmp_path / "out.wav"
    done = command(
        "valle-synth", "--model", run_directory, "--prompt", prompt, "--text", TEXT, "-o", output, check=False
    )
    assert_refused(done, output, prompt.name)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "nothing to say"),
        ("?!", "nothing to say"),
        ("привет", "en-us"),
    ],
)
def test_invalid_text_is_one_line_and_nothing_is_written(
    run_directory: Path, speech: Path, tmp_path: Path, text: str, named: str
) -> None:
    output = tmp_path / "out.wav"
    done = command(
        "valle-synth", "--model", run_directory, "--prompt", speech, "--text", text, "-o", output, check=False
    )
    assert_refused(done, output, named)


def test_unspeakable_text_is_named_with_its_line(run_directory: Path, speech: Path, tmp_path: Path) -> None:
    lines, output = tmp_path / "lines.txt", tmp_path / "out"
    arguments = [
        "valle-synth",
        "--model",
        run_directory,
        "--prompt",
        speech,
        "--text-file",
        lines,
        "--output-dir",
        output,
    ]
    lines.write_text("Hello there.\nпривет\n", encoding="utf-8")
    assert_refused(command(*arguments, check=False), output, "lines.txt:2")
    lines.write_text("Hello there 🙂.\n", encoding="utf-8")
    assert_refused(command(*arguments, "--strict-text", check=False), output, "lines.txt:1")
    assert "slightly smiling face" in command(*arguments).stderr
    assert (output / "0001.wav").is_file()


def test_truncated_checkpoint_is_one_line(run_directory: Path, speech: Path, tmp_path: Path) -> None:
    for kind in ("ar", "nar"):
        (tmp_path / f"{kind}.ckpt").write_bytes((run_directory / kind / "last.ckpt").read_bytes())
    checkpoint = (tmp_path / "ar.ckpt").read_bytes()
    (tmp_path / "ar.ckpt").write_bytes(checkpoint[: len(checkpoint) // 2])
    output = tmp_path / "out.wav"
    done = command("valle-synth", "--model", tmp_path, "--prompt", speech, "--text", TEXT, "-o", output, check=False)
    assert_refused(done, output, "ar.ckpt")


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from valle.cli.synth import main\n"
        "from valle.synthesis import TTS\n"
        "synthesize = TTS.synthesize_batch\n"
        "def fill_disk(*arguments):\n"
        "    speech = synthesize(*arguments); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); return speech\n"
        "TTS.synthesize_batch = fill_disk\n"
        "main()\n"
    )
    output = tmp_path / "out.wav"
    done = command("python", "-c", code, "--text", TEXT, "-o", output, check=False)
    assert_refused(done, output, "out.wav")

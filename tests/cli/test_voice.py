"""Command line of valle-voice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import command


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VALLE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def refused(*arguments: object, message: str) -> None:
    done = command("valle-voice", *arguments, check=False)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_saved_voice_gives_the_samples_of_its_recording(speech: Path, tmp_path: Path, home: Path) -> None:
    command("valle-voice", "add", "anna", speech, "--text", "The quick brown fox.", "--consent", "by espeak-ng")
    assert [path.name for path in (home / "voices").iterdir()] == ["anna.safetensors"]
    listed = command("valle-voice", "list").stdout
    assert "clara\tbundled, default" in listed
    assert "anna\t" in listed
    shown = command("valle-voice", "show", "anna").stdout
    assert "consent: by espeak-ng" in shown
    assert "text: The quick brown fox." in shown
    for name, options in (("a", ["--voice", "anna"]), ("b", ["--prompt", speech])):
        command("valle-synth", *options, "--text", "Hello there.", "-o", tmp_path / f"{name}.wav", "--attempts", 1)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    refused("add", "anna", speech, message="voice 'anna' is saved already")
    command("valle-voice", "add", "anna", speech, "--text", "Other words.", "--replace")
    assert "Other words." in command("valle-voice", "show", "anna").stdout
    command("valle-voice", "remove", "anna")
    refused("show", "anna", message="there is no voice 'anna'")


def test_missing_text_is_transcribed_and_logged(speech: Path) -> None:
    done = command("valle-voice", "add", "anna", speech)
    assert "transcribed as" in done.stderr
    assert "fox" in command("valle-voice", "show", "anna").stdout


def test_export_and_import_are_lossless(speech: Path, tmp_path: Path, home: Path) -> None:
    command("valle-voice", "add", "anna", speech, "--text", "The quick brown fox.")
    command("valle-voice", "export", "anna", tmp_path / "anna.safetensors")
    command("valle-voice", "import", tmp_path / "anna.safetensors", "--name", "copy")
    first, second = (load_file(home / "voices" / f"{name}.safetensors") for name in ("anna", "copy"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    refused("import", tmp_path / "anna.safetensors", message="voice 'anna' is saved already")


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "x" * 65, "a b", ""])
def test_names_cannot_leave_the_folder(speech: Path, tmp_path: Path, name: str) -> None:
    refused("add", name, speech, message="use 1 to 64 letters, digits, hyphens, underscores and points")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_bundled_voices_stay(speech: Path) -> None:
    refused("add", "clara", speech, message="voice 'clara' is bundled")
    refused("remove", "clara", message="voice 'clara' is bundled and stays")
    assert "licence: Apache 2.0" in command("valle-voice", "show", "clara").stdout


def test_hostile_files_are_one_line(speech: Path, tmp_path: Path, home: Path) -> None:
    command("valle-voice", "add", "anna", speech, "--text", "x")
    good = load_file(home / "voices" / "anna.safetensors")
    from safetensors import safe_open

    with safe_open(home / "voices" / "anna.safetensors", "pt") as file:
        metadata = file.metadata()
    description = json.loads(metadata["voice"])
    path = tmp_path / "bad.safetensors"

    def write(tensors: dict[str, torch.Tensor], **changes: object) -> None:
        save_file(tensors, path, {"format": metadata["format"], "voice": json.dumps({**description, **changes})})

    cases = {
        "codes beyond the codebook": lambda: write({**good, "codes.untranscribed": torch.full((5, 8), 5000).short()}),
        "codes of another shape": lambda: write({**good, "codes.untranscribed": torch.zeros(5, 3).short()}),
        "no recording": lambda: write({k: v for k, v in good.items() if k != "recording"}),
        "recording that is none": lambda: write({**good, "recording": torch.zeros(100, dtype=torch.uint8)}),
        "text that is none": lambda: write(good, text=5),
        "escape sequences": lambda: write(good, consent="\x1b[2Jgone\nclara\tbundled"),
        "codes that are no integers": lambda: write({**good, "codes.untranscribed": torch.zeros(5, 8)}),
        "an hour of codes": lambda: write({**good, "codes.untranscribed": torch.zeros(180_000, 8).short()}),
        "deep metadata": lambda: save_file(good, path, {"format": metadata["format"], "voice": "[" * 100_000}),
        "seconds beyond all numbers": lambda: save_file(
            good,
            path,
            {
                "format": metadata["format"],
                "voice": json.dumps({**description, "seconds": 0}).replace(": 0", ": 1" + "0" * 400),
            },
        ),
        "name that leaves the folder": lambda: write(good, name="../../evil"),
        "no metadata": lambda: save_file(good, path),
        "no safetensors": lambda: path.write_bytes(b"\xff" * 500),
        "pickle": lambda: torch.save(good, path),
        "empty": lambda: path.write_bytes(b""),
    }
    for name, make in cases.items():
        make()
        done = command("valle-voice", "import", path, check=False)
        assert done.returncode == 2, (name, done.stdout, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1, (name, done.stderr)
    assert sorted(p.name for p in (home / "voices").iterdir()) == ["anna.safetensors"]


def test_recordings_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    refused("add", "x", tmp_path / "text.wav", message="is a web page or text")
    refused("add", "x", tmp_path / "missing.wav", message="no such file")

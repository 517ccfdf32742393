"""Models in the layout of the Hugging Face Hub."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import valle
from tests.conftest import command
from valle.errors import UserError
from valle.export.hub import export_hub, push


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "model"
    command("valle-export", "hf", folder, "--model", "small")
    return folder


def test_exported_model_gives_the_same_samples(exported: Path) -> None:
    expected = valle.load("small").synthesize("Hello there.", seed=3).samples
    assert np.array_equal(valle.load(exported).synthesize("Hello there.", seed=3).samples, expected)
    names = sorted(str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file())
    assert names == [
        "README.md", "ar.json", "ar.safetensors", "codec/codec.json", "codec/codec.safetensors", "config.json",
        "nar.json", "nar.safetensors",
    ]  # fmt: skip


def test_card_and_config_say_what_the_model_is(exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    front = card.split("---")[1]
    for line in ("library_name: valle", "pipeline_tag: text-to-speech", "license: apache-2.0", "- en"):
        assert line in front
    config = json.loads((exported / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "valle"
    assert config["languages"] == ["en-us"]


def test_run_directory_is_exported_with_its_codec(run_directory: Path, speech: Path, tmp_path: Path) -> None:
    export_hub(run_directory, tmp_path / "model")
    for tts in (valle.load(tmp_path / "model"), valle.load(run_directory)):
        assert len(tts.synthesize("Hello.", tts.prompt(speech)).samples)


def test_model_of_the_cache_is_loaded_by_its_name(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "home" / "hub" / "models--me--small"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(exported)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    program = "import valle; print(len(valle.load('me/small').synthesize('Hello.').samples))"
    environment = {"HF_HOME": str(tmp_path / "home"), "PATH": "/usr/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) > 1000


def test_nothing_is_downloaded_without_being_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"'me/small': no such run directory, nor .* was downloaded \(--download\)"):
        valle.load("me/small")


def test_folder_that_holds_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = command("valle-export", "hf", tmp_path, check=False)
    assert done.returncode == 2
    assert "is not an empty folder; give a new one" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_push_needs_an_export_a_name_and_a_login(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(UserError, match=r"holds no config.json; write it with: valle-export hf"):
        push(tmp_path, "me/small")
    with pytest.raises(UserError, match="write it as ORGANIZATION/NAME"):
        push(exported, "small")
    done = command("valle-export", "push", exported, "me/small", check=False)
    assert done.returncode == 2
    assert "nobody is logged in at the Hub; run hf auth login, or set HF_TOKEN" in done.stderr

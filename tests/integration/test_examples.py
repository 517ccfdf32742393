"""Run the scripts and the notebook of examples/ with the bundled model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, command
from valle import audio

EXAMPLES = ROOT / "examples"


def test_speak_writes_the_text_in_the_default_voice(tmp_path: Path) -> None:
    done = command("python", EXAMPLES / "speak.py", "Hello there.", cwd=tmp_path)
    assert done.stdout.startswith("speech.wav: ")
    assert audio.duration(tmp_path / "speech.wav") > 0.4


def test_stream_writes_several_chunks(tmp_path: Path) -> None:
    done = command("python", EXAMPLES / "stream_to_file.py", cwd=tmp_path)
    assert len(done.stdout.splitlines()) > 1
    assert audio.duration(tmp_path / "streamed.wav") > 1.0


def test_own_voice_writes_a_file_per_seed(speech: Path, tmp_path: Path) -> None:
    done = command("python", EXAMPLES / "own_voice.py", speech, "Hello there.", cwd=tmp_path)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["own_voice-0.wav", "own_voice-1.wav"]
    first, second = (audio.read(tmp_path / f"own_voice-{seed}.wav", 16_000).samples for seed in range(2))
    assert first.shape != second.shape or (first != second).any()


def test_samples_are_those_of_the_docs(tmp_path: Path) -> None:
    command("python", EXAMPLES / "samples.py", "--output", tmp_path)
    published = sorted((ROOT / "docs" / "samples").iterdir())
    assert [path.name for path in published] == sorted(path.name for path in tmp_path.iterdir())
    assert sum(path.stat().st_size for path in published) < 1_000_000
    page = (ROOT / "docs" / "samples.md").read_text(encoding="utf-8")
    for path in published:
        assert f"](samples/{path.name})" in page
        # Other processors can sample other codes.
        assert 0.5 < audio.duration(tmp_path / path.name) / audio.duration(path) < 2


def test_notebook_runs(tmp_path: Path) -> None:
    notebook = json.loads((EXAMPLES / "first_steps.ipynb").read_text(encoding="utf-8"))
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    # A stand-in for the player of notebooks, so that the test needs no Jupyter.
    (tmp_path / "IPython").mkdir()
    (tmp_path / "IPython" / "__init__.py").write_text("", encoding="utf-8")
    player = "def Audio(samples, rate):\n    assert samples.ndim == 1 and len(samples) > 0 and rate > 0\n"
    (tmp_path / "IPython" / "display.py").write_text(player, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "frames per second" in done.stdout

"""The template recipe for one's own corpus."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.conftest import BIN, ROOT
from valle.data import kaldi


def test_template_recipe_goes_from_a_list_to_synthesized_speech(corpus: Path, tmp_path: Path) -> None:
    for folder in ("egs", "recipes"):
        ignored = shutil.ignore_patterns("data", "dump", "exp")
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=ignored)
    (tmp_path / "egs" / "TEMPLATE").rename(tmp_path / "egs" / "mine")
    lines = [f"{u.path}|{u.speaker}|{u.text}" for u in kaldi.read(corpus / "train")]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    script = ["bash", str(tmp_path / "egs" / "mine" / "run.sh"), "--list", "list.txt", "--stop-stage", "5"]
    done = subprocess.run(
        [*script, "--test-utterances", "1", "--train-options", "--trainer.max_steps 1"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "egs" / "mine" / "exp" / "test" / "wav").glob("*.wav"))) == 1

"""Tokenizing: resuming, and damaged or contradicting settings."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import BIN, command
from valle.data import kaldi
from valle.data.datamodule import TokensDataModule
from valle.data.tokens import TokensConfig, read_markers
from valle.errors import UserError


def test_resume_after_sigkill_completes_all_shards(corpus: Path, tmp_path: Path) -> None:
    arguments = [BIN / "valle-tokenize", corpus / "train", tmp_path / "out", "--codec", "mini", "--shard-size", "3"]
    process = subprocess.Popen([str(a) for a in arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "out").glob("shard.*.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard.*.json")}
    with pytest.raises(UserError, match="missing"):
        read_markers(tmp_path / "out")
    command(*arguments)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    names = {u.id for u in kaldi.read(corpus / "train")}
    data = TokensDataModule([str(tmp_path / "out")], [str(tmp_path / "out")])
    assert sorted(i for batch in data.val_dataloader() for i in batch.ids) == sorted(names)
    assert sum(marker["utterances"] for marker in read_markers(tmp_path / "out")) == len(names)
    assert not list((tmp_path / "out").glob(".*"))


def test_a_folder_of_other_settings_is_refused(corpus: Path, tokens: Path) -> None:
    done = command(
        "valle-tokenize", corpus / "train", tokens / "train", "--codec", "mini", "--shard-size", "7", check=False
    )
    assert done.returncode == 2
    assert "shard_size" in done.stderr


@pytest.mark.parametrize("content", ["{", "[]", '{"x": 1}', "\udcff"])
def test_damaged_settings_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=f"{path}: is (damaged|not UTF-8)"):
        TokensConfig.read(tmp_path)

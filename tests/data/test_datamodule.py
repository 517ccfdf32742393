"""Batches of tokens: their content, duration and buckets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import command, noise
from valle import audio
from valle.data import kaldi
from valle.data.datamodule import TokensDataModule
from valle.data.utterance import Utterance
from valle.errors import UserError


def test_batches_contain_the_start_of_each_phoneme(tokens: Path) -> None:
    module = TokensDataModule([str(tokens / "train")], [str(tokens / "train")])
    for batch in module.val_dataloader():
        assert batch.starts.shape == batch.phonemes.shape
        for starts, symbols, frames in zip(batch.starts, batch.phoneme_lengths, batch.code_lengths, strict=True):
            assert (starts[:symbols].diff() >= 0).all()
            assert starts[symbols - 1] <= frames
            assert len(starts[:symbols].unique()) > symbols // 2


def test_an_epoch_has_every_utterance_once_in_batches_of_limited_duration(tokens: Path) -> None:
    data = TokensDataModule([str(tokens / "train")], [str(tokens / "valid")], max_duration=20.0, num_buckets=2)
    batches = list(data.train_dataloader())
    ids = [i for batch in batches for i in batch.ids]
    marker = json.loads((tokens / "train" / "config.json").read_text())
    assert len(ids) == len(set(ids)) == marker["utterances"]
    for batch in batches:
        spread = int(batch.code_lengths.max() - batch.code_lengths.min())
        assert int(batch.code_lengths.sum()) <= 20 * 50 + spread
        assert batch.codes.dtype == torch.int64
        assert int(batch.code_lengths.max()) == batch.codes.shape[1]


def tokens_of_noise(folder: Path, count: int, usable: int) -> Path:
    """Tokens of `count` utterances, of which `usable` last half a second and the others 1.5 seconds."""
    utterances = []
    for index in range(count):
        path = folder / f"{index}.wav"
        audio.write(path, noise(0.5 if index < usable else 1.5), 16_000)
        utterances.append(Utterance(f"ann-{index}", path, "Some words.", "ann"))
    kaldi.write(folder / "data", utterances)
    command("valle-tokenize", folder / "data", folder / "tokens", "--codec", "mini")
    return folder / "tokens"


@pytest.mark.parametrize(("count", "usable"), [(1, 1), (3, 0), (3, 1)])
def test_too_few_training_utterances_are_refused(tmp_path: Path, count: int, usable: int) -> None:
    folder = str(tokens_of_noise(tmp_path, count, usable))
    module = TokensDataModule([folder], [folder], max_utterance=1.0)
    with pytest.raises(UserError, match=f"tokens: {usable} utterances to train on of at most 1 s"):
        module.train_dataloader()


def test_utterances_over_the_maximum_duration_do_not_count_as_buckets(tmp_path: Path) -> None:
    folder = str(tokens_of_noise(tmp_path, 5, 2))
    module = TokensDataModule([folder], [folder], max_utterance=1.0, num_workers=0)
    assert sorted(key for batch in module.train_dataloader() for key in batch.ids) == ["ann-0", "ann-1"]

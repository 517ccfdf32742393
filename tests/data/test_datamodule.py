"""Batches of tokens: their content, duration and buckets."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.conftest import command, noise
from valle import audio
from valle.data import kaldi
from valle.data.datamodule import TokensDataModule
from valle.data.tokens import count_by_duration
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


def tokens_of_noise(folder: Path, durations: Sequence[float], name: str = "tokens") -> Path:
    """Tokens of utterances of these durations in seconds, four per shard."""
    utterances = []
    for index, seconds in enumerate(durations):
        path = folder / f"{name}-{index}.wav"
        audio.write(path, noise(seconds), 16_000)
        utterances.append(Utterance(f"ann-{index}", path, "Some words.", "ann"))
    kaldi.write(folder / f"{name}-data", utterances)
    command("valle-tokenize", folder / f"{name}-data", folder / name, "--codec", "mini", "--shard-size", "4")
    return folder / name


@pytest.mark.parametrize(("count", "usable"), [(1, 1), (3, 0), (3, 1)])
def test_too_few_training_utterances_are_refused(tmp_path: Path, count: int, usable: int) -> None:
    folder = str(tokens_of_noise(tmp_path, [0.5] * usable + [1.5] * (count - usable)))
    module = TokensDataModule([folder], [folder], max_utterance=1.0)
    with pytest.raises(UserError, match=f"tokens: {usable} utterances to train on of at most 1 s"):
        module.train_dataloader()


@pytest.fixture(scope="module")
def noises(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens of nine utterances of 0.5 to 2.5 seconds in three shards."""
    return tokens_of_noise(tmp_path_factory.mktemp("noises"), [0.5, 1.5, 0.5, 1.0, 1.2, 2.5, 1.5, 1.0, 2.0])


def test_utterances_over_the_maximum_duration_are_left_out_of_batches(noises: Path) -> None:
    module = TokensDataModule([str(noises)], [str(noises)], max_utterance=1.0, num_workers=0)
    ids = sorted(key for batch in module.train_dataloader() for key in batch.ids)
    assert ids == ["ann-0", "ann-2", "ann-3", "ann-7"]


def without_durations(tokens: Path, folder: Path) -> Path:
    """A copy of tokens with markers as earlier versions wrote them."""
    shutil.copytree(tokens, folder)
    for path in folder.glob("shard.*.json"):
        marker = json.loads(path.read_text())
        del marker["by_second"]
        path.write_text(json.dumps(marker))
    return folder


@pytest.mark.parametrize(
    ("max_utterance", "trained", "seconds", "left_out", "longer"),
    [(1.0, 4, 3.0, 5, 8.7), (1.2, 5, 4.2, 4, 7.5), (2.0, 8, 9.2, 1, 2.5), (20.0, 9, 11.7, 0, 0.0)],
)
@pytest.mark.parametrize("version", ["present", "earlier"])
def test_log_has_the_speech_that_max_utterance_leaves_out(
    noises: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    version: str,
    max_utterance: float,
    trained: int,
    seconds: float,
    left_out: int,
    longer: float,
) -> None:
    tokens = str(noises if version == "present" else without_durations(noises, tmp_path / "earlier"))
    # A folder that occurs twice counts twice, in validation it does not count.
    module = TokensDataModule([tokens, tokens], [tokens], max_utterance=max_utterance, num_workers=0)
    with caplog.at_level(logging.INFO, "valle"):
        module.train_dataloader()
    (record,) = [record for record in caplog.records if record.name == "valle"]
    assert record.levelno == (logging.WARNING if left_out else logging.INFO)
    assert record.getMessage() == (
        f"training on {2 * trained} utterances ({2 * seconds / 3600:.2f} hours); max_utterance {max_utterance:g} s "
        f"leaves out {2 * left_out} utterances ({2 * longer / 3600:.2f} hours)"
    )
    within, outside = count_by_duration([Path(tokens)], max_utterance)
    assert (within.seconds, outside.seconds) == (pytest.approx(seconds), pytest.approx(longer))


def test_utterances_too_long_for_a_model_are_named(noises: Path, tmp_path: Path) -> None:
    for tokens in (noises, without_durations(noises, tmp_path / "earlier")):
        module = TokensDataModule([str(tokens)], [str(tokens)], max_utterance=2.0)
        assert module.longer_than(1.5) == ["ann-8", "ann-8"]
        assert module.longer_than(1.2) == ["ann-1", "ann-6", "ann-8"] * 2
        assert module.longer_than(2.0) == []
    (tmp_path / "earlier" / "cuts.000001.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match=r"cuts\.000001\.jsonl\.gz: is damaged"):
        module.longer_than(2.0)


def test_steps_of_split_shards_do_not_count_utterances_left_out(tmp_path: Path) -> None:
    tokens = str(tokens_of_noise(tmp_path, [0.5, 3.0] * 8))
    options = {"max_duration": 1.0, "max_utterance": 1.0, "buffer_size": 8, "num_workers": 0}
    module = TokensDataModule([tokens], [tokens], **options, split_shards=True)
    for rank in (0, 1):
        batches = list(module.cut_batches(module.train, shuffle=True, rank=rank, world_size=2))
        # Eight utterances of half a second are four batches of a second, of which each rank has half.
        assert len(batches) == 2

"""Crops of recordings that a codec trains on."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from valle import audio
from valle.data.codec_datamodule import CropConfig, Crops, CropsDataModule
from valle.data.utterance import Utterance
from valle.errors import UserError
from valle.text.phones import UNKNOWN


def test_crops_have_the_phones_of_their_frames(tmp_path: Path) -> None:
    """Each phone of the recording has its own level, so frames of one class must have one level at any speed."""
    rng = random.Random(0)
    names = ["", "aɪ", "s", "ɹ"]
    lengths = [rng.uniform(0.1, 0.4) for _ in range(60)]
    order = [rng.randrange(4) for _ in lengths]
    samples = np.concatenate([np.full(round(s * 16_000), 0.01 + 0.03 * k) for s, k in zip(lengths, order, strict=True)])
    starts = np.cumsum([0.0, *(round(s * 16_000) / 16_000 for s in lengths[:-1])])
    audio.write(tmp_path / "x.wav", samples.astype(np.float32), 16_000)
    phones = tuple((names[k], float(start)) for k, start in zip(order, starts, strict=True))
    config = CropConfig(sample_rate=16_000, frame_rate=50.0, seconds=1.5, augment=True)
    crops = Crops([Utterance("x", tmp_path / "x.wav", "", "", phones=phones)], config, 40)
    wrong = []
    for crop, classes in (crops[i] for i in range(40)):
        assert classes.shape == (75,)
        middle = crop.reshape(75, 320)[:, 140:180].mean(1).numpy()
        # Frames at the boundary of two phones may have another level.
        for name in set(classes.tolist()):
            of_class = middle[classes.numpy() == name]
            wrong.append(np.mean(np.abs(of_class - np.median(of_class)) > 0.1 * np.median(of_class)))
    assert np.mean(wrong) < 0.1
    unknown = Crops([Utterance("x", tmp_path / "x.wav", "", "")], replace(config, augment=False), 1)
    assert (unknown[0][1] == UNKNOWN).all()


def test_a_crop_depends_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    audio.write(tmp_path / "x.wav", samples, 16_000)
    utterances = [Utterance("x", tmp_path / "x.wav", "", "")]
    config = CropConfig(sample_rate=16_000, frame_rate=50.0, seconds=0.5, augment=True)
    crops, same = Crops(utterances, config, 8), Crops(utterances, config, 8)
    other_seed = Crops(utterances, replace(config, seed=1), 8)
    other_epoch = Crops(utterances, config, 8)
    other_epoch.epoch = 1
    assert len(crops) == 8
    for index in reversed(range(8)):
        assert crops[index][0].equal(same[index][0])
        assert not crops[index][0].equal(other_seed[index][0])
        assert not crops[index][0].equal(other_epoch[index][0])


def test_sources_are_data_directories_or_lists_of_files(data_directory: Path, tmp_path: Path) -> None:
    files = sorted((tmp_path / "wav").glob("*.wav"))
    (tmp_path / "files.txt").write_text("".join(f"{file}\n" for file in files[:2]), encoding="utf-8")
    sources = [str(data_directory), str(tmp_path / "files.txt")]
    module = CropsDataModule(train=sources, valid=sources[1:], batch_size=1, epoch_size=1)
    module.setup("fit")
    assert (len(module.train_crops.clips), len(module.valid_crops.clips)) == (len(files) + 2, 2)
    with pytest.raises(UserError, match="neither a data directory nor a list"):
        CropsDataModule(train=[str(tmp_path / "missing")], valid=[]).setup("fit")

"""Folders of preference pairs, and their batches.

A folder of pairs is a folder of tokens (`valle.data.tokens`) with a pair in place of each utterance: `codes` is the
first codebook of the chosen candidate, (time, 1), and `custom` has

    phonemes            text units, of a transcribed prompt too
    prefix              first codebook of the prompt; EOS tokens follow that of an untranscribed one
    rejected            first codebook of the rejected candidate
    rejected_truncated  whether it reached the length bound before EOS
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from valle.data.datamodule import TokensDataModule
from valle.data.loader import BatchDataset, BatchLoader
from valle.data.tokenizer import write_shard
from valle.data.tokens import TokensConfig
from valle.errors import UserError
from valle.files import write_text

SHARD_SIZE = 500


@dataclass(frozen=True)
class Pair:
    """Two candidates for the same text and prompt, of which the first one is better.

    Attributes:
        id: Id of the text.
        speaker: Speaker of the prompt.
        text: The text.
        phonemes: Text units, of a transcribed prompt too.
        prefix: First codebook of the prompt; EOS tokens follow that of an untranscribed one.
        chosen: First codebook of the better candidate, without EOS.
        rejected: First codebook of the worse one, without EOS.
        rejected_truncated: Whether the worse one reached the length bound before EOS.
    """

    id: str
    speaker: str
    text: str
    phonemes: list[str]
    prefix: list[int]
    chosen: list[int]
    rejected: list[int]
    rejected_truncated: bool


@dataclass
class PreferenceBatch:
    """Pairs: the sequences of the chosen candidates, then those of the rejected ones, padded on the right.

    Attributes:
        phonemes: (2 pairs, phoneme) int64 ids.
        phoneme_lengths: (2 pairs,) int64.
        codes: (2 pairs, time) int64, first codebook of prompt and candidate.
        code_lengths: (2 pairs,) int64, in frames, with the prompt.
        prefix_lengths: (2 pairs,) int64, in frames.
        truncated: (2 pairs,) bool, whether the candidate has no EOS.
        ids: Ids of the pairs.
    """

    phonemes: Tensor
    phoneme_lengths: Tensor
    codes: Tensor
    code_lengths: Tensor
    prefix_lengths: Tensor
    truncated: Tensor
    ids: list[str]


def write_pairs(output: Path, pairs: list[Pair], model: Mapping[str, Any]) -> None:
    """Write a folder of pairs.

    Args:
        output: The folder, which has no tokens yet.
        pairs: The pairs.
        model: Hyper-parameters of the model that sampled the candidates.
    """
    config = TokensConfig(
        codec=model["codec"],
        frame_rate=model["frame_rate"],
        num_codebooks=model["num_codebooks"],
        codebook_size=model["codebook_size"],
        language=model["language"],
        shard_size=SHARD_SIZE,
        utterances=len(pairs),
        fingerprint=hashlib.sha256(json.dumps([asdict(pair) for pair in pairs]).encode()).hexdigest()[:16],
    )
    write_text(output / "config.json", json.dumps(asdict(config), indent=2) + "\n")
    for shard in range(config.shards):
        write_shard(output, shard, _cuts(pairs[shard * SHARD_SIZE :][:SHARD_SIZE], config.frame_rate))


def _cuts(pairs: list[Pair], frame_rate: float) -> Iterator[Any]:
    """Lhotse cuts of pairs, with the duration of the longer candidate."""
    from lhotse import MonoCut, SupervisionSegment

    for pair in pairs:
        duration = max(len(pair.chosen), len(pair.rejected)) / frame_rate
        supervision = SupervisionSegment(pair.id, pair.id, 0.0, duration, text=pair.text, speaker=pair.speaker)
        custom = {
            "phonemes": pair.phonemes,
            "prefix": pair.prefix,
            "rejected": pair.rejected,
            "rejected_truncated": pair.rejected_truncated,
        }
        cut = MonoCut(pair.id, 0.0, duration, 0, supervisions=[supervision], custom=custom)
        yield cut.attach_tensor("codes", np.array(pair.chosen, dtype=np.int16)[:, None])


class PairDataset(BatchDataset):
    """The batches of pairs of an epoch."""

    def _batch(self, cuts: Any) -> PreferenceBatch:  # type: ignore[override]
        """Load the codes of pairs, and pad."""
        cuts = list(cuts)
        phonemes = [torch.tensor(self.vocabulary.encode(cut.custom["phonemes"])) for cut in cuts]
        prefixes = [torch.tensor(cut.custom["prefix"], dtype=torch.long) for cut in cuts]
        candidates = [torch.from_numpy(cut.load_custom("codes")).long()[:, 0] for cut in cuts]
        candidates += [torch.tensor(cut.custom["rejected"], dtype=torch.long) for cut in cuts]
        codes = [torch.cat(parts) for parts in zip(2 * prefixes, candidates, strict=True)]
        return PreferenceBatch(
            phonemes=pad_sequence(2 * phonemes, batch_first=True),
            phoneme_lengths=torch.tensor([len(row) for row in 2 * phonemes]),
            codes=pad_sequence(codes, batch_first=True),
            code_lengths=torch.tensor([len(row) for row in codes]),
            prefix_lengths=torch.tensor([len(row) for row in 2 * prefixes]),
            truncated=torch.tensor([False] * len(cuts) + [cut.custom["rejected_truncated"] for cut in cuts]),
            ids=[cut.id for cut in cuts],
        )


class PreferenceDataModule(TokensDataModule):
    """Batches of folders of preference pairs, as `valle-prepare preferences` writes them.

    Vocabulary and BPE tokenizer are those of the model that training starts from.

    Args:
        train: Folders of pairs for training.
        valid: Folders of pairs for validation.
        max_duration: Seconds of speech per batch, of the longer candidate of each pair, without padding.
        max_utterance: Seconds; pairs with a longer candidate are left out.
        num_buckets: See `TokensDataModule`.
        buffer_size: See `TokensDataModule`.
        seed: Seed of the order.
        num_workers: See `TokensDataModule`.

    Raises:
        UserError: An option is out of range, or a folder has no pairs.
    """

    def __init__(
        self,
        train: list[str],
        valid: list[str],
        max_duration: float = 60.0,
        max_utterance: float = 30.0,
        num_buckets: int = 10,
        buffer_size: int = 20_000,
        seed: int = 0,
        num_workers: int = 1,
    ) -> None:
        super().__init__(
            train=train,
            valid=valid,
            max_duration=max_duration,
            max_utterance=max_utterance,
            num_buckets=num_buckets,
            buffer_size=buffer_size,
            seed=seed,
            num_workers=num_workers,
        )
        for directory in (*self.train, *self.valid):
            if not _has_pairs(directory):
                raise UserError(f"{directory}: holds no preference pairs; make them with valle-prepare preferences")

    def train_dataloader(self) -> DataLoader:
        """Batches for training; the first epoch continues where a loaded state ended."""
        if self.trainer is None or self.trainer.is_global_zero:
            self._log_amounts()
        skip = self._resume_from[1] if self._resume_from else 0
        batches = PairDataset(self.cut_batches(self.train, shuffle=True), self.vocabulary, None, skip)
        return BatchLoader(batches, self._begin_epoch, self.num_workers)

    def val_dataloader(self) -> DataLoader:
        """Batches for validation, the same in every epoch."""
        return BatchLoader(
            PairDataset(self.cut_batches(self.valid, shuffle=False), self.vocabulary, None), lambda: 0, 0
        )

    def transfer_batch_to_device(  # type: ignore[override]
        self, batch: PreferenceBatch, device: torch.device, dataloader_idx: int
    ) -> PreferenceBatch:
        """Move the tensors of a batch to a device."""
        moved = {name: value.to(device) for name, value in vars(batch).items() if isinstance(value, Tensor)}
        return PreferenceBatch(**moved, ids=batch.ids)


def _has_pairs(directory: Path) -> bool:
    """Whether the first cut of a folder of tokens is a pair."""
    path = directory / "cuts.000000.jsonl.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return "rejected" in json.loads(next(lines)).get("custom", {})
    except (OSError, EOFError, ValueError, StopIteration):
        return False

"""Batches for training AR and NAR models: tokenized utterances, bucketed by duration."""

from __future__ import annotations

import logging
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from valle.data.loader import Batch, BatchDataset, BatchLoader, CutBatches
from valle.data.tokens import TokensConfig, count_by_duration, find_by_duration, read_markers, read_vocabulary
from valle.errors import UserError
from valle.text import PADDING, Vocabulary, bpe_symbols, read_bpe

logger = logging.getLogger("valle")
MAX_BIN_ESTIMATE = 10_000  # utterances from which the bounds of buckets are estimated, Lhotse's default


def _is_short(cut: Any, max_duration: float) -> bool:
    """Whether a cut lasts at most `max_duration` seconds. A named function, since workers must be able to pickle it."""
    return cut.duration <= max_duration


def _is_aligned(cut: Any) -> bool:
    """Whether a cut has phoneme times."""
    return "starts" in cut.custom


class TokensDataModule(L.LightningDataModule):
    """Batches of folders of tokens, as `valle-tokenize` writes them.

    The order of the data depends on the seed and the epoch alone, and an interrupted epoch continues with the batch
    after the last one trained on. Each rank has one worker process that reads shards sequentially and prepares batches.

    Args:
        train: Folders of tokens for training.
        valid: Folders of tokens for validation.
        max_duration: Seconds of speech per batch, without padding. A batch may exceed it by the difference in duration
            between its utterances.
        max_utterance: Seconds; longer utterances are left out. How many is logged when training starts.
        num_buckets: Buckets of similar duration. More buckets mean less padding, but need more utterances for batches
            to be random.
        buffer_size: Utterances that batches are sampled from at a time.
        seed: Seed of the order.
        bpe: File of text units made by `valle-prepare bpe`, used instead of phonemes.
        num_workers: 1, or 0 to prepare batches in the training process.
        split_shards: Whether each rank reads only its own shards, instead of reading all and taking its share of each.
            For corpora so large, or ranks so many, that reading all is too slow. The steps of an epoch are then
            computed from the duration of the corpus; a few utterances may occur twice in an epoch, or not at all.

    Attributes:
        aligned_only: Whether utterances without phoneme times are left out, as the model that is trained may need.
        languages: espeak-ng language tags of all folders, sorted; the index of a language is its id.

    Raises:
        UserError: An option is out of range, or a folder has no tokens or other tokens than the rest.
    """

    def __init__(
        self,
        train: list[str],
        valid: list[str],
        max_duration: float = 120.0,
        max_utterance: float = 20.0,
        num_buckets: int = 30,
        buffer_size: int = 20_000,
        seed: int = 0,
        bpe: str | None = None,
        num_workers: int = 1,
        split_shards: bool = False,
    ) -> None:
        super().__init__()
        if num_workers not in (0, 1):
            raise UserError(f"num_workers {num_workers}: one worker is fast enough; give 1, or 0 for none")
        if max_duration <= 0 or max_utterance <= 0:
            raise UserError("max_duration and max_utterance are seconds of speech; give more than 0")
        if not 0 <= seed < 2**64:
            raise UserError(f"--data.init_args.seed {seed}: give a number from 0 to 2^64 - 1")
        self.train = [Path(directory) for directory in train]
        self.valid = [Path(directory) for directory in valid]
        self.max_duration = max_duration
        self.max_utterance = max_utterance
        self.num_buckets = num_buckets
        self.buffer_size = buffer_size
        self.seed = seed
        self.num_workers = num_workers
        self.split_shards = split_shards
        self.aligned_only = False
        self.config = self._read_config()
        self.bpe = read_bpe(Path(bpe)) if bpe else None
        if self.bpe is None:
            self.vocabulary = read_vocabulary([*self.train, *self.valid])
        else:
            self.vocabulary = Vocabulary([PADDING, *bpe_symbols(self.bpe)])
        # Epoch and number of finished batches from which a loaded state continues.
        self._resume_from: tuple[int, int] | None = None
        self._epoch = 0
        # Batches of the whole run before the current epoch.
        self._batches_before_epoch = 0

    def _read_config(self) -> TokensConfig:
        """The configuration of the first folder; all must have the same codec, and may differ in language."""
        configs = [TokensConfig.read(directory) for directory in (*self.train, *self.valid)]
        codecs = ", ".join(sorted({config.codec for config in configs}))
        if "," in codecs:
            raise UserError(f"the folders of tokens differ in codec: {codecs}; tokenize them with the same one")
        self.languages = sorted({config.language for config in configs})
        return configs[0]

    def cut_batches(
        self, directories: list[Path], *, shuffle: bool, rank: int | None = None, world_size: int | None = None
    ) -> CutBatches:
        """Open folders of tokens.

        Args:
            directories: Folders of tokens.
            shuffle: Whether to shuffle and bucket the utterances, as for training.
            rank: Rank whose share is read; None for that of this process.
            world_size: Number of ranks; None for that of the process group.

        Returns:
            The batches of the rank. With `shuffle`, all ranks have the same number.

        Raises:
            UserError: Tokenizing is unfinished, or there are too few utterances or shards.
        """
        from lhotse import CutSet
        from lhotse.dataset import DynamicCutSampler

        if rank is None or world_size is None:
            is_distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
            rank = torch.distributed.get_rank() if is_distributed else 0
            world_size = torch.distributed.get_world_size() if is_distributed else 1
        shards = [(directory, shard) for directory in directories for shard in range(len(read_markers(directory)))]
        steps = None
        if shuffle and self.split_shards and world_size > 1:
            # Shards differ in duration, but all ranks need the same number of steps: a rank with more steps than the
            # others would wait for them without end when it sums gradients.
            within, _ = count_by_duration(directories, self.max_utterance)
            steps = int(within.seconds / (self.max_duration * world_size))
            shards = shards[rank::world_size]
            rank = 0
            world_size = 1
            if not shards or not steps:
                raise UserError(
                    "there are fewer shards, or batches, than ranks; give --data.init_args.split_shards false"
                )
        fields = {
            name: [str(directory / f"{name}.{index:06d}.{suffix}") for directory, index in shards]
            for name, suffix in (("cuts", "jsonl.gz"), ("codes", "tar"))
        }
        all_cuts = CutSet.from_shar(fields=fields, shuffle_shards=shuffle, stateful_shuffle=True, seed=self.seed)
        cuts = self._filtered(all_cuts)
        if shuffle:
            repeated = cuts.repeat(preserve_id=True) if steps is not None else cuts
            sampler = self._bucketing_sampler(repeated, fields["cuts"], rank, world_size)
        else:
            sampler = DynamicCutSampler(cuts, max_duration=self.max_duration, rank=rank, world_size=world_size)
        return CutBatches(sampler, all_cuts.data, steps)

    def _filtered(self, cuts: Any) -> Any:
        """The cuts that are trained on."""
        cuts = cuts.filter(partial(_is_short, max_duration=self.max_utterance))
        return cuts.filter(_is_aligned) if self.aligned_only else cuts

    def _bucketing_sampler(self, cuts: Any, files: list[str], rank: int, world_size: int) -> Any:
        """A sampler of batches of similar duration."""
        from lhotse.dataset import DynamicBucketingSampler

        return DynamicBucketingSampler(
            cuts,
            max_duration=self.max_duration,
            num_buckets=self._count_buckets(files),
            buffer_size=self.buffer_size,
            num_cuts_for_bins_estimate=min(MAX_BIN_ESTIMATE, self.buffer_size),
            shuffle=True,
            seed=self.seed,
            sync_buckets=True,
            rank=rank,
            world_size=world_size,
        )

    def _count_buckets(self, files: list[str]) -> int:
        """The number of buckets: `num_buckets`, but no more than there are utterances to train on."""
        from lhotse import CutSet

        # Opened anew: reading from the cuts that are trained on would change their order.
        cuts = self._filtered(CutSet.from_shar(fields={"cuts": files}))
        count = sum(1 for _ in islice(cuts, max(2, self.num_buckets)))
        if count < 2:
            raise UserError(
                f"{', '.join(map(str, self.train))}: {count} utterances to train on of at most "
                f"{self.max_utterance:g} s (--data.init_args.max_utterance); give at least 2"
            )
        return count

    def longer_than(self, seconds: float) -> list[str]:
        """Find the utterances for training and validation that a model with a maximum length cannot take.

        Args:
            seconds: Maximum length of the model.

        Returns:
            Ids of the utterances that last longer, but not longer than `max_utterance`.

        Raises:
            UserError: Tokenizing is unfinished, or a file is damaged.
        """
        return find_by_duration([*self.train, *self.valid], seconds, self.max_utterance)

    def _log_unaligned(self) -> None:
        """Log how many utterances are left out since they have no phoneme times.

        Raises:
            UserError: All are.
        """
        from lhotse import CutSet

        for directories in (self.train, self.valid):
            files = [
                str(directory / f"cuts.{index:06d}.jsonl.gz")
                for directory in directories
                for index in range(len(read_markers(directory)))
            ]
            aligned = [_is_aligned(cut) for cut in CutSet.from_shar(fields={"cuts": files})]
            names = ", ".join(map(str, directories))
            if not any(aligned):
                raise UserError(
                    f"{names}: no utterance has phoneme times; run valle-prepare align, then valle-tokenize"
                )
            if not all(aligned):
                missing = len(aligned) - sum(aligned)
                logger.warning(
                    "%s: %d of %d utterances have no phoneme times and are left out", names, missing, len(aligned)
                )

    def _log_amounts(self) -> None:
        """Log how much speech is trained on, and how much `max_utterance` leaves out."""
        within, longer = count_by_duration(self.train, self.max_utterance)
        logger.log(
            logging.WARNING if longer.utterances else logging.INFO,
            "training on %d utterances (%.2f hours); max_utterance %g s leaves out %d utterances (%.2f hours)",
            within.utterances,
            within.seconds / 3600,
            self.max_utterance,
            longer.utterances,
            longer.seconds / 3600,
        )

    def train_dataloader(self) -> DataLoader:
        """Batches for training; the first epoch continues where a loaded state ended."""
        if self.trainer is None or self.trainer.is_global_zero:
            self._log_amounts()
            if self.aligned_only:
                self._log_unaligned()
        skip = self._resume_from[1] if self._resume_from else 0
        return BatchLoader(self._batches(self.train, shuffle=True, skip=skip), self._begin_epoch, self.num_workers)

    def val_dataloader(self) -> DataLoader:
        """Batches for validation, the same in every epoch."""
        return BatchLoader(self._batches(self.valid, shuffle=False), lambda: 0, 0)

    def _batches(self, directories: list[Path], *, shuffle: bool, skip: int = 0) -> BatchDataset:
        languages = {str(d): self.languages.index(TokensConfig.read(d).language) for d in directories}
        return BatchDataset(self.cut_batches(directories, shuffle=shuffle), self.vocabulary, self.bpe, skip, languages)

    def _begin_epoch(self) -> int:
        """Note that an epoch of training begins; returns its number."""
        # When a run continues after the last batch of an epoch, Lightning's own counters are only corrected later.
        self._epoch, skipped = self._resume_from or (self.trainer.current_epoch if self.trainer else 0, 0)
        self._batches_before_epoch = self._batches_begun - skipped
        self._resume_from = None
        return self._epoch

    @property
    def _batches_begun(self) -> int:
        """Batches of the whole run that training has received."""
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.ready if self.trainer else 0

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the tensors of a batch to a device."""
        moved = {name: value.to(device) for name, value in vars(batch).items() if isinstance(value, Tensor)}
        return Batch(**moved, ids=batch.ids)

    def state_dict(self) -> dict[str, Any]:
        """The epoch and the number of its finished batches."""
        assert self.trainer is not None
        if self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return {"epoch": self._epoch + 1, "batches_done": 0}
        return {"epoch": self._epoch, "batches_done": self._batches_begun - self._batches_before_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the batches that a state has finished."""
        self._resume_from = (state_dict["epoch"], state_dict["batches_done"])

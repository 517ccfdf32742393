"""Padded batches of tokenized utterances, and the data loader that makes them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, IterableDataset

from valle.text import TextUnits, Vocabulary

# Start of a phoneme that is padding or whose start is not available: a frame after the end of every utterance.
NEVER = 2**31


@dataclass
class Batch:
    """Utterances padded on the right.

    Attributes:
        phonemes: (batch, phoneme) int64 ids of phonemes or other text units.
        phoneme_lengths: (batch,) int64.
        codes: (batch, time, codebook) int64.
        code_lengths: (batch,) int64, in frames.
        starts: (batch, phoneme) int64 frame at which each phoneme starts; `NEVER` if it is not available.
        ids: Ids of the utterances.
        prompts: (batch, time) int64, first codebook of an untranscribed prompt of the same speaker; None if no
            utterance of the batch has one.
        prompt_lengths: (batch,) int64, in frames; 0 for an utterance without such a prompt.
        languages: (batch,) int64 index of each utterance's language; None if it is not available.
    """

    phonemes: Tensor
    phoneme_lengths: Tensor
    codes: Tensor
    code_lengths: Tensor
    starts: Tensor
    ids: list[str]
    prompts: Tensor | None = None
    prompt_lengths: Tensor | None = None
    languages: Tensor | None = None


class CutBatches:
    """Sets of Lhotse cuts, one per batch; the same in every pass over the same epoch.

    Args:
        sampler: Lhotse sampler.
        shards: Lazy cuts that the sampler reads, whose epoch decides the order of the shards.
        steps: Batches per epoch; None for as many as the sampler has.
    """

    def __init__(self, sampler: Any, shards: Any, steps: int | None = None) -> None:
        self._sampler = sampler
        self._shards = shards
        self._steps = steps

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order of the next pass."""
        self._sampler.set_epoch(epoch)
        self._shards.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        """Yield the cuts of each batch of an epoch."""
        return islice(iter(self._sampler), self._steps)


class BatchDataset(IterableDataset[Batch]):
    """The batches of an epoch.

    Sampler, files and batches belong to the worker process; the training process only receives finished batches.

    Args:
        cut_batches: Cuts of each batch.
        vocabulary: Symbols of the text.
        bpe: Tokenizer of text units; None to use the phonemes.
        skip: Batches to leave out at the start, when an interrupted epoch continues.
        languages: Index of the language of each folder of tokens, by the folder's name; None: batches have none.
    """

    def __init__(
        self,
        cut_batches: CutBatches,
        vocabulary: Vocabulary,
        bpe: str | None,
        skip: int = 0,
        languages: Mapping[str, int] | None = None,
    ) -> None:
        self.cut_batches = cut_batches
        self.vocabulary = vocabulary
        self.bpe = bpe
        self.skip = skip
        self.languages = languages

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of an epoch after the first `skip`, with codes loaded and padded."""
        return map(self._batch, islice(self.cut_batches, self.skip, None))

    def _batch(self, cuts: Any) -> Batch:
        """Load the codes of cuts, and pad."""
        cuts = list(cuts)
        if self.bpe is None:
            symbols = [cut.custom["phonemes"] for cut in cuts]
            starts = [torch.tensor(cut.custom.get("starts", [NEVER])) for cut in cuts]
        else:
            symbols = TextUnits(bpe=self.bpe)([cut.custom["normalized"] for cut in cuts])
            starts = [torch.tensor([NEVER])] * len(cuts)
        phonemes = [torch.tensor(self.vocabulary.encode(row)) for row in symbols]
        codes = [torch.from_numpy(cut.load_custom("codes")).long() for cut in cuts]
        prompts = [torch.tensor(cut.custom.get("prompt", []), dtype=torch.long) for cut in cuts]
        has_prompts = any(len(prompt) for prompt in prompts)
        return Batch(
            phonemes=pad_sequence(phonemes, batch_first=True),
            phoneme_lengths=_lengths(phonemes),
            codes=pad_sequence(codes, batch_first=True),
            code_lengths=_lengths(codes),
            starts=pad_sequence(starts, batch_first=True, padding_value=NEVER),
            ids=[cut.id for cut in cuts],
            prompts=pad_sequence(prompts, batch_first=True) if has_prompts else None,
            prompt_lengths=_lengths(prompts) if has_prompts else None,
            languages=self._languages(cuts),
        )

    def _languages(self, cuts: list[Any]) -> Tensor | None:
        """(batch,) index of the language of each cut."""
        if self.languages is None:
            return None
        # Lhotse stores in each cut which file it comes from.
        return torch.tensor([self.languages[str(Path(cut.shard_origin).parent)] for cut in cuts])


def _lengths(sequences: list[Tensor]) -> Tensor:
    """(batch,) lengths of sequences."""
    return torch.tensor([len(sequence) for sequence in sequences])


def _ignore_sigterm(worker: int) -> None:
    """Ignore SIGTERM in a worker: it goes to the whole process group, and the training process stops its workers."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class BatchLoader(DataLoader[Batch]):
    """A data loader that sets the epoch, and with it the order of the data, whenever an epoch begins.

    Lightning sets the epoch of a sampler of the data loader, but this sampler lives in the worker process.

    Args:
        batches: Batches to load.
        begin_epoch: Called when an epoch begins; returns its number.
        num_workers: Worker processes, 0 or 1.
    """

    def __init__(self, batches: BatchDataset, begin_epoch: Callable[[], int], num_workers: int) -> None:
        super().__init__(batches, batch_size=None, num_workers=num_workers, worker_init_fn=_ignore_sigterm)
        self.batches = batches
        self.begin_epoch = begin_epoch

    def __iter__(self) -> Any:
        """Begin an epoch and return the iterator over its batches."""
        self.batches.cut_batches.set_epoch(self.begin_epoch())
        iterator = super().__iter__()
        # The worker has its copy by now. Only the interrupted epoch skips batches; the next one is whole.
        self.batches.skip = 0
        return iterator

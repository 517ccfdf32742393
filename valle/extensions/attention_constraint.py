"""Attention-constrained inference: the attention of a decode step to the text moves forward only (arXiv 2404.19723).

For models that were trained with guided attention, whose first head of every block but the first attends to the phoneme
that is spoken (`valle.extensions.guided_attention`); the paper finds such heads in a trained model. At each step these
heads see only the symbols around the present one, which advances to the one with the highest mean attention and never
goes back, against repeated and skipped words. EOS is forbidden before the text is passed. With one candidate of the
bundled model, WER falls from 8.6 to 6.0 % (benchmarks/switches.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from valle.models.ar import AR
from valle.models.kv_cache import KVCache
from valle.models.transformer import Block

# Symbols before and after the present one that the guided heads see. Spaces and stress marks are symbols of their own.
BEHIND = 3
AHEAD = 6
# Symbols before the end of the text from which on EOS is allowed.
END_MARGIN = 4


class Request(Protocol):
    """What a guide reads of a `valle.generation.request.GenerationRequest`."""

    phonemes: Tensor
    text_start: int

    def prefill(self, model: AR, cache: KVCache) -> Tensor:
        """Fill an empty cache of one row; return the logits of the first group."""
        ...

    def without_text(self) -> Request:
        """Return the same request with an empty text."""
        ...


class AttentionConstraint:
    """Runs decode steps whose guided heads see a window of the text: a `valle.generation.guide.StepGuide`.

    Args:
        model: The AR model, trained with guided attention.
        slots: Number of rows of the batch.

    Attributes:
        cache_dtype: Dtype of the `KVCache` that a step reads.
        position: (slots,) the present symbol of each row's text.
    """

    def __init__(self, model: AR, slots: int) -> None:
        weight = model.code_embedding.weight
        self.model = model
        self.transformer = model.transformer
        self.cache_dtype = weight.dtype
        self._text_lengths = torch.zeros(slots, dtype=torch.long, device=weight.device)
        self.position = torch.zeros(slots, dtype=torch.long, device=weight.device)
        self._attention: list[Tensor] = []

    def prefill(self, slots: list[int], request: Request, cache: KVCache) -> Tensor:
        """Fill the cache and begin a request in these slots, see `valle.generation.guide.StepGuide`."""
        self.add_rows(slots, len(request.phonemes), request.text_start)
        return request.prefill(self.model, cache)

    def must_end(self) -> Tensor:
        """Return that no row has to end, (slots,) bool."""
        return torch.zeros_like(self.position, dtype=torch.bool)

    def spoken(self, slot: int, steps: int, text_start: int) -> None:
        """Return None: the present symbol is that of the attention, which is ahead of what is spoken."""

    def add_rows(self, slots: list[int], text_length: int, text_start: int) -> None:
        """Begin a text in some rows.

        Args:
            slots: Indices of the rows.
            text_length: Symbols of prompt and target.
            text_start: First symbol of the target.
        """
        self._text_lengths[slots] = text_length
        self.position[slots] = text_start

    def select_rows(self, rows: Tensor) -> None:
        """Continue with these rows, (rows,) indices."""
        self._text_lengths = self._text_lengths[rows]
        self.position = self.position[rows]

    def may_end(self) -> Tensor:
        """Return which rows have passed their text, (slots,) bool."""
        return self.position >= self._text_lengths - END_MARGIN

    def __call__(self, x: Tensor, *, mask: Tensor | None, cache: KVCache) -> Tensor:
        """Run one decode step, see `valle.models.transformer.StepBackend`."""
        blocks = [block for block in self.transformer.blocks if isinstance(block, Block)][1:]
        kernels = [block.attend for block in blocks]
        lengths = (cache.lengths + 1).tolist()
        self._attention = []
        try:
            for block, kernel in zip(blocks, kernels, strict=True):
                block.attend = partial(self._attend, kernel, lengths)
            hidden = self.transformer(x, mask=mask, cache=cache)
        finally:
            for block, kernel in zip(blocks, kernels, strict=True):
                block.attend = kernel
        self._advance()
        return hidden

    def _attend(
        self,
        kernel: Callable[..., Tensor],
        lengths: list[int],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        dropout: float,
        is_causal: bool,
    ) -> Tensor:
        """Compute the attention of one block, and replace that of the first head; each row by itself."""
        mixed = kernel(query, key, value, mask, dropout, is_causal=is_causal).clone()
        attention = query.new_zeros(len(query), int(self._text_lengths.max()))
        texts = self._text_lengths.tolist()
        for row, (length, text, present) in enumerate(zip(lengths, texts, self.position.tolist(), strict=True)):
            # A slot without a row holds nothing.
            if length <= text:
                continue
            scores = (query[row, 0, 0] @ key[row, 0, :length].T).float() / math.sqrt(query.shape[-1])
            attention[row, :text] = scores[:text].softmax(-1)
            scores[: max(0, present - BEHIND)] = -torch.inf
            scores[min(text, present + AHEAD + 1) : text] = -torch.inf
            mixed[row, 0, 0] = scores.softmax(-1).to(value.dtype) @ value[row, 0, :length]
        self._attention.append(attention)
        return mixed

    def _advance(self) -> None:
        """Move each row's present symbol to the one ahead with the highest mean attention."""
        mean = torch.stack(self._attention).mean(0)
        symbols = torch.arange(mean.shape[1], device=mean.device)
        present = self.position[:, None]
        ahead = (symbols >= present) & (symbols <= present + AHEAD) & (symbols < self._text_lengths[:, None])
        following = mean.masked_fill(~ahead, -1).argmax(-1)
        self.position = torch.where(ahead.any(-1), following, self.position)

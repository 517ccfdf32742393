"""Guides of decode steps: extensions that follow the rows of a batch and run their steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from valle.generation.request import GenerationRequest
from valle.models.ar import AR
from valle.models.kv_cache import KVCache
from valle.models.transformer import StepBackend


class StepGuide(StepBackend, Protocol):
    """A `StepBackend` that follows the rows of a batch, as `valle.extensions.attention_constraint` does."""

    def prefill(self, slots: list[int], request: GenerationRequest, cache: KVCache) -> Tensor:
        """Begin a request in these slots, one for each candidate, and fill the empty cache with its text and prompt.

        Returns:
            Logits of the first group, (len(slots), G, codebook_size + 1), or (1, ...) for all of them.
        """
        ...

    def select_rows(self, rows: Tensor) -> None:
        """Continue with these slots, (rows,) indices."""

    def may_end(self) -> Tensor:
        """Return in which slots EOS may be sampled, (slots,) bool."""
        ...

    def must_end(self) -> Tensor:
        """Return in which slots EOS is to be sampled, (slots,) bool."""
        ...

    def spoken(self, slot: int, steps: int, text_start: int) -> Tensor | None:
        """Return the symbol of the target that each step of a slot spoke, (steps,); -1: none. None: not followed."""


# Makes the guide of a batch: of the model and the number of slots.
MakeGuide = Callable[[AR, int], StepGuide]

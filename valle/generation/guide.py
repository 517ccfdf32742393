"""Guides of decode steps: extensions that follow the rows of a batch and run their steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from valle.models.ar import AR
from valle.models.transformer import StepBackend


class StepGuide(StepBackend, Protocol):
    """A `StepBackend` that follows the rows of a batch, as `valle.extensions.attention_constraint` does."""

    def add_rows(self, slots: list[int], text_length: int, text_start: int) -> None:
        """Begin a text of `text_length` symbols in these slots; the target begins at `text_start`."""

    def select_rows(self, rows: Tensor) -> None:
        """Continue with these slots, (rows,) indices."""

    def may_end(self) -> Tensor:
        """Return in which slots EOS may be sampled, (slots,) bool."""


# Makes the guide of a batch: of the model and the number of slots.
MakeGuide = Callable[[AR, int], StepGuide]

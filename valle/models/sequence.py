"""Sequences of several parts: text, prompt and target of each row, padded on the right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Padded(NamedTuple):
    """Rows of different lengths, padded on the right.

    Attributes:
        values: (batch, time, ...).
        lengths: (batch,) length of each row.
    """

    values: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class SequenceLayout:
    """Where the parts of each row stand in the sequence that a transformer reads.

    The text begins at position 0.

    Attributes:
        text_lengths: (batch,) symbols of the text, without marks.
        target: (batch,) position whose output predicts the first code, or group of codes, of the target.
        lengths: (batch,) positions of the whole sequence.
        causal: Whether a position attends only to itself and what is before it.
    """

    text_lengths: Tensor
    target: Tensor
    lengths: Tensor
    causal: bool


def length_mask(lengths: Tensor, time: int) -> Tensor:
    """Return (batch, time) bool, True at positions inside of each row's length (batch,)."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def concat_padded(parts: list[Padded]) -> Padded:
    """Concatenate right-padded sequences row by row, so that all padding ends up on the right.

    Args:
        parts: Sequences (batch, time, dim) with the lengths of their rows.

    Returns:
        The sequence (batch, time, dim) and its lengths. What lies beyond a row's length is undefined.
    """
    part_lengths = torch.stack([part.lengths for part in parts])  # (part, batch)
    lengths = part_lengths.sum(0)
    time = sum(part.values.shape[1] for part in parts)
    position = torch.arange(time, device=lengths.device).expand(len(lengths), -1)
    index = torch.zeros_like(position)
    # Where a part begins in each row of the result, and in the plain concatenation with its padding.
    start = torch.zeros_like(lengths)
    offset = 0
    for part in parts:
        index = torch.where(position >= start[:, None], position - start[:, None] + offset, index)
        start = start + part.lengths
        offset += part.values.shape[1]
    joined = torch.cat([part.values for part in parts], dim=1)
    index = index.clamp(max=joined.shape[1] - 1)
    return Padded(joined.gather(1, index[..., None].expand(-1, -1, joined.shape[2])), lengths)


def select_positions(hidden: Tensor, start: Tensor, count: int) -> Tensor:
    """Select positions `start .. start + count - 1` of each row.

    Args:
        hidden: (batch, time, dim).
        start: (batch,).
        count: Number of positions; those beyond the end repeat the last one.

    Returns:
        (batch, count, dim).
    """
    index = start[:, None] + torch.arange(count, device=hidden.device)
    index = index.clamp(max=hidden.shape[1] - 1)
    return hidden.gather(1, index[..., None].expand(-1, -1, hidden.shape[2]))

"""The key/value cache of a transformer."""

from __future__ import annotations

import torch
from torch import Tensor

from valle.models.config import TransformerConfig


class KVCache:
    """Keys and values of all layers for a batch of rows, allocated once.

    Args:
        config: Sizes of the transformer.
        batch: Number of rows.
        max_length: Positions that a row can hold.
        like: Tensor of the dtype and device of keys and values.

    Attributes:
        keys: (layer, batch, head, position, head_dim).
        values: (layer, batch, head, position, head_dim).
        lengths: (batch,) positions that each row holds.
        max_position: Upper bound of `lengths`, without reading a value back from the device.
        ragged: Whether rows differ in length.
    """

    def __init__(self, config: TransformerConfig, batch: int, max_length: int, like: Tensor) -> None:
        shape = (config.layers, batch, config.heads, max_length, config.dim // config.heads)
        self.keys = like.new_zeros(shape)
        self.values = like.new_zeros(shape)
        self.lengths = torch.zeros(batch, dtype=torch.long, device=like.device)
        self.max_position = 0
        self.ragged = False

    @classmethod
    def from_tensors(cls, keys: Tensor, values: Tensor, lengths: Tensor) -> KVCache:
        """Make a cache of existing tensors, all of whose positions are read: a mask must hide the rest.

        Args:
            keys: (layer, batch, head, position, head_dim).
            values: As `keys`.
            lengths: (batch,) positions that each row holds.
        """
        cache = cls.__new__(cls)
        cache.keys = keys
        cache.values = values
        cache.lengths = lengths
        cache.max_position = keys.shape[3] - 1
        cache.ragged = True
        return cache

    @property
    def max_length(self) -> int:
        """Positions that a row can hold."""
        return self.keys.shape[3]

    def update(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values of one layer to each row.

        Args:
            layer: Index of the layer.
            keys: (batch, head, time, head_dim).
            values: (batch, head, time, head_dim).

        Returns:
            All keys and values of the layer, up to the longest row.
        """
        batch, _, time, _ = keys.shape
        end = self.max_position + time
        if not self.ragged:
            self.keys[layer, :, :, self.max_position : end] = keys
            self.values[layer, :, :, self.max_position : end] = values
        else:
            positions = self.lengths[:, None] + torch.arange(time, device=keys.device)  # (batch, time)
            rows = torch.arange(batch, device=keys.device)[:, None]
            self.keys[layer].transpose(1, 2)[rows, positions] = keys.transpose(1, 2)
            self.values[layer].transpose(1, 2)[rows, positions] = values.transpose(1, 2)
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, lengths: Tensor | int, longest: int) -> None:
        """Count what `update` appended to all layers.

        Args:
            lengths: Positions of each row, (batch,) or one number.
            longest: The largest of them.
        """
        if isinstance(lengths, Tensor):
            self.ragged = self.ragged or bool((lengths != longest).any())
        self.lengths = self.lengths + lengths
        self.max_position += longest

    def select_rows(self, rows: Tensor) -> None:
        """Continue with these rows, (rows,) indices which may repeat."""
        self.keys = self.keys[:, rows]
        self.values = self.values[:, rows]
        self.lengths = self.lengths[rows]
        self._measure()

    def copy_row(self, rows: list[int], other: KVCache) -> None:
        """Copy the only row of another cache to these rows."""
        length = other.max_position
        self.keys[:, rows, :, :length] = other.keys[:, :, :, :length].to(self.keys.dtype)
        self.values[:, rows, :, :length] = other.values[:, :, :, :length].to(self.values.dtype)
        self.lengths[rows] = length
        self._measure()

    def reset_rows(self, rows: list[int]) -> None:
        """Empty these rows."""
        self.lengths[rows] = 0
        self._measure()

    def set_lengths(self, lengths: Tensor) -> None:
        """Set the positions that each row holds, (batch,)."""
        self.lengths = lengths
        self._measure()

    def _measure(self) -> None:
        lengths = self.lengths.tolist()
        self.max_position = max(lengths)
        self.ragged = len(set(lengths)) > 1

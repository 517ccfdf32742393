"""Position embeddings: sinusoidal in VALL-E, learned in VALL-E 2."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn

MAX_POSITIONS = 4096  # entries of a learned table


@functools.lru_cache(maxsize=16)
def _frequencies(dim: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10_000.0) / dim))


def sinusoidal_positions(positions: Tensor, dim: int) -> Tensor:
    """Compute sine and cosine of each position (arXiv 1706.03762, section 3.5).

    Args:
        positions: (...) integers.
        dim: Width of the embedding.

    Returns:
        (..., dim) float32.
    """
    angles = positions[..., None].float() * _frequencies(dim, positions.device)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


class PositionalEmbedding(nn.Module):
    """Adds to each token the embedding of its position in its part of the sequence.

    VALL-E (section 4.2.1) has sine and cosine. Here they are multiplied by one learned scale, so that a token and its
    position begin with comparable size. VALL-E 2 (section 3.3.1) has a learned table of `MAX_POSITIONS` entries.

    Args:
        dim: Width of the embedding.
        learned: Whether positions are a learned table.
    """

    def __init__(self, dim: int, learned: bool) -> None:
        super().__init__()
        self.dim = dim
        self.max_positions = MAX_POSITIONS if learned else None
        self.table: nn.Embedding | None = None
        size = 0.02 * dim**0.5
        if learned:
            self.table = nn.Embedding(MAX_POSITIONS, dim)
            nn.init.normal_(self.table.weight, std=size)
        else:
            # Of shape (1,), as a scalar cannot be sharded among ranks.
            self.scale = nn.Parameter(torch.tensor([size]))

    def forward(self, x: Tensor, first: Tensor | int = 0) -> Tensor:
        """Add positions to tokens.

        Args:
            x: (batch, time, dim).
            first: Position of the first token: a number, or (batch,) one for each row.

        Returns:
            (batch, time, dim).

        Raises:
            ValueError: `x` is longer than the learned table.
        """
        if self.max_positions is not None and x.shape[1] > self.max_positions:
            raise ValueError(f"{x.shape[1]} positions; the model has learned {self.max_positions}")
        positions = torch.arange(x.shape[1], device=x.device) + torch.as_tensor(first, device=x.device).view(-1, 1)
        if self.table is not None:
            # Only padding lies beyond the table.
            return x + self.table(positions.clamp(max=MAX_POSITIONS - 1))
        return x + (self.scale * sinusoidal_positions(positions, self.dim)).to(x.dtype)

"""A convolutional block at the frame rate, shared by codecs and the latent regression of the NAR model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL = 7


class ConvNeXtBlock(nn.Module):
    """A residual block: depthwise convolution over time, then a two-layer network per frame (arXiv 2201.03545).

    Args:
        dim: Width of the input and output.
        hidden: Width between the two layers.
        scale: Initial factor of the block's output before it is added to the input.
    """

    def __init__(self, dim: int, hidden: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, KERNEL, padding=KERNEL // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)
        self.scale = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Transform x (batch, time, dim); mask (batch, time, 1) is 1 inside of each row, None for whole rows."""
        # Frames after the end of a row must not reach those before it.
        h = x if mask is None else x * mask
        h = self.depthwise(h.transpose(1, 2)).transpose(1, 2)
        return x + self.scale * self.contract(F.gelu(self.expand(self.norm(h))))

"""A convolutional block at the frame rate, of which codecs and the NAR model's expectation are made."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL = 7


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a two-layer network a frame (arXiv 2201.03545), residual."""

    def __init__(self, dim: int, hidden: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, KERNEL, padding=KERNEL // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)
        self.scale = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: (batch, time, dim), mask: (batch, time, 1) or None; returns x's shape."""
        h = x if mask is None else x * mask
        h = self.depthwise(h.transpose(1, 2)).transpose(1, 2)
        return x + self.scale * self.contract(F.gelu(self.expand(self.norm(h))))

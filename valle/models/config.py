"""Sizes of a transformer, and how a sequence is laid out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Layout = Literal["valle", "valle2"]  # layout of the sequence: as in VALL-E, or as in VALL-E 2


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a transformer. The defaults are the paper's (VALL-E, section 5.1).

    Attributes:
        layers: Number of blocks.
        heads: Attention heads of each block.
        dim: Width.
        ffn_dim: Width of the feed-forward networks.
        dropout: Dropout probability.
    """

    layers: int = 12
    heads: int = 16
    dim: int = 1024
    ffn_dim: int = 4096
    dropout: float = 0.1

"""The transformer that both models are made of: pre-norm blocks, fused attention, a preallocated key/value cache."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Layout = Literal["valle", "valle2"]  # how a sequence is put together: as in VALL-E, or as in VALL-E 2


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a transformer; the defaults are the paper's (VALL-E, section 5.1)."""

    layers: int = 12
    heads: int = 16
    dim: int = 1024
    ffn_dim: int = 4096
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} must be a multiple of 2 x heads ({2 * self.heads})")


@functools.lru_cache(maxsize=16)
def _frequencies(dim: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10_000.0) / dim))


def sinusoidal_positions(positions: Tensor, dim: int) -> Tensor:
    """Sine and cosine of each position (arXiv 1706.03762, section 3.5): (...) integers -> (..., dim) float32."""
    angles = positions[..., None].float() * _frequencies(dim, positions.device)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


MAX_POSITIONS = 4096  # of a learned table


class PositionalEmbedding(nn.Module):
    """Adds to each token where it stands in its part of the sequence.

    VALL-E (section 4.2.1) has sine and cosine; here they are scaled by one learned number, so that a token and its
    position begin with comparable size. VALL-E 2 (section 3.3.1) has a learned table, which ends somewhere.
    """

    def __init__(self, dim: int, learned: bool) -> None:
        super().__init__()
        self.dim, size = dim, 0.02 * dim**0.5
        self.most = MAX_POSITIONS if learned else None
        self.table: nn.Embedding | None = None
        if learned:
            self.table = nn.Embedding(MAX_POSITIONS, dim)
            nn.init.normal_(self.table.weight, std=size)
        else:
            self.scale = nn.Parameter(torch.tensor([size]))  # not a scalar: these cannot be parted among ranks

    def forward(self, x: Tensor, first: Tensor | int = 0) -> Tensor:
        """x (batch, time, dim), whose first token stands at `first`, a number or a row's own (batch,)."""
        if self.most is not None and x.shape[1] > self.most:
            raise ValueError(f"{x.shape[1]} positions; the model has learned {self.most}")
        positions = torch.arange(x.shape[1], device=x.device) + torch.as_tensor(first, device=x.device).view(-1, 1)
        if self.table is not None:
            return x + self.table(positions.clamp(max=MAX_POSITIONS - 1))  # what is clamped is padding
        return x + (self.scale * sinusoidal_positions(positions, self.dim)).to(x.dtype)


def length_mask(lengths: Tensor, time: int) -> Tensor:
    """(batch,) lengths -> (batch, time) bool, True where a position holds something."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def concat_padded(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Join right-padded sequences row by row, so that the padding of all of them ends up on the right.

    parts: pairs of (batch, time, dim) and the (batch,) lengths of its rows
    Returns the (batch, time, dim) whole and its (batch,) lengths; what lies past a row's length is not defined.
    """
    lengths = torch.stack([length for _, length in parts])  # (part, batch)
    total = lengths.sum(0)
    position = torch.arange(sum(x.shape[1] for x, _ in parts), device=total.device).expand(len(total), -1)
    index = torch.zeros_like(position)
    start, offset = torch.zeros_like(total), 0  # where a part begins in its row, and in the plain concatenation
    for x, length in parts:
        index = torch.where(position >= start[:, None], position - start[:, None] + offset, index)
        start, offset = start + length, offset + x.shape[1]
    whole = torch.cat([x for x, _ in parts], dim=1)
    index = index.clamp(max=whole.shape[1] - 1)
    return whole.gather(1, index[..., None].expand(-1, -1, whole.shape[2])), total


class KVCache:
    """Keys and values of all layers for a batch of rows, allocated once.

    Rows may be of different lengths: `lengths` (batch,) says how many positions of each are filled.
    """

    def __init__(self, config: TransformerConfig, batch: int, max_length: int, like: Tensor) -> None:
        shape = (config.layers, batch, config.heads, max_length, config.dim // config.heads)
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        self.lengths = torch.zeros(batch, dtype=torch.long, device=like.device)
        self.max_position = 0  # upper bound of `lengths`, known without asking the device
        self.ragged = False  # whether rows differ in length

    @classmethod
    def from_tensors(cls, keys: Tensor, values: Tensor, lengths: Tensor) -> KVCache:
        """A cache of (layer, batch, head, time, head_dim) tensors that are there, all of whose time is looked at: rows
        hold `lengths` (batch,) positions, and a mask must hide the rest."""
        cache = cls.__new__(cls)
        cache.keys, cache.values, cache.lengths = keys, values, lengths
        cache.max_position, cache.ragged = keys.shape[3] - 1, True
        return cache

    @property
    def max_length(self) -> int:
        return self.keys.shape[3]

    def update(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add (batch, heads, time, head_dim) after each row's end; returns all keys and values up to the longest."""
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

    def advance(self, lengths: Tensor | int, most: int) -> None:
        """Count what `write` added: `lengths` positions a row, `most` at the longest."""
        if isinstance(lengths, Tensor):
            self.ragged = self.ragged or bool((lengths != most).any())
        self.lengths = self.lengths + lengths
        self.max_position += most

    def select_rows(self, rows: Tensor) -> None:
        """Go on with these rows only ((rows,) indices); rows may repeat."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.lengths = self.lengths[rows]
        self._measure()

    def copy_row(self, rows: list[int], other: KVCache) -> None:
        """Let these rows hold what the one row of another cache holds."""
        length = other.max_position
        self.keys[:, rows, :, :length] = other.keys[:, :, :, :length].to(self.keys.dtype)
        self.values[:, rows, :, :length] = other.values[:, :, :, :length].to(self.values.dtype)
        self.lengths[rows] = length
        self._measure()

    def reset_rows(self, rows: list[int]) -> None:
        """Let these rows hold nothing."""
        self.lengths[rows] = 0
        self._measure()

    def _measure(self) -> None:
        lengths = self.lengths.tolist()
        self.max_position, self.ragged = max(lengths), len(set(lengths)) > 1


class AdaptiveLayerNorm(nn.Module):
    """`AdaLN(h, j) = a_j * LayerNorm(h) + b_j`, a_j and b_j linear in the stage embedding (VALL-E, section 4.2.2)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.modulation = nn.Linear(dim, 2 * dim)
        nn.init.normal_(self.modulation.weight, std=0.02)
        nn.init.zeros_(self.modulation.bias)
        with torch.no_grad():
            self.modulation.bias[:dim] = 1.0

    def forward(self, x: Tensor, stage: Tensor) -> Tensor:
        """x (batch, time, dim), stage embedding (batch, dim)."""
        scale, shift = self.modulation(stage)[:, None].chunk(2, dim=-1)
        return self.norm(x) * scale + shift


class Block(nn.Module):
    """Self-attention and a feed-forward network, each with a norm before and a residual around it."""

    def __init__(self, config: TransformerConfig, adaptive: bool) -> None:
        super().__init__()
        norm = AdaptiveLayerNorm if adaptive else nn.LayerNorm
        self.heads, self.dropout, self.adaptive = config.heads, config.dropout, adaptive
        self.attend: Callable[..., Tensor] = F.scaled_dot_product_attention
        self.attention_norm = norm(config.dim)
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)
        self.ffn_norm = norm(config.dim)
        self.ffn_in = nn.Linear(config.dim, config.ffn_dim)
        self.ffn_out = nn.Linear(config.ffn_dim, config.dim)
        for residual in (self.out, self.ffn_out):  # keep the variance of the residual stream (GPT-2)
            nn.init.normal_(residual.weight, std=0.02 / math.sqrt(2 * config.layers))

    def project_qkv(self, x: Tensor, stage: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x, each (batch, heads, time, head_dim)."""
        h = self.attention_norm(x, stage) if self.adaptive else self.attention_norm(x)
        query, key, value = rearrange(self.qkv(h), "b t (part h d) -> part b h t d", part=3, h=self.heads)
        return query, key, value

    def forward(
        self,
        x: Tensor,
        *,
        causal: bool,
        mask: Tensor | None,
        stage: Tensor | None,
        cache: KVCache | None,
        layer: int,
    ) -> Tensor:
        query, key, value = self.project_qkv(x, stage)
        if cache is not None:
            key, value = cache.update(layer, key, value)
        dropout = self.dropout if self.training else 0.0
        mixed = self.attend(query, key, value, mask, dropout, is_causal=causal)
        x = x + F.dropout(self.out(rearrange(mixed, "b h t d -> b t (h d)")), dropout)
        h = self.ffn_norm(x, stage) if self.adaptive else self.ffn_norm(x)
        return x + F.dropout(self.ffn_out(F.dropout(F.gelu(self.ffn_in(h)), dropout)), dropout)


class Transformer(nn.Module):
    """A stack of blocks and a final norm. `adaptive` gives every norm the NAR's stage."""

    def __init__(self, config: TransformerConfig, adaptive: bool = False) -> None:
        super().__init__()
        self.config, self.adaptive = config, adaptive
        self.checkpointing = (
            False  # in training, keep a block's input alone and compute the rest again for the gradient
        )
        self.blocks = nn.ModuleList(Block(config, adaptive) for _ in range(config.layers))
        self.norm = AdaptiveLayerNorm(config.dim) if adaptive else nn.LayerNorm(config.dim)

    def forward(
        self,
        x: Tensor,
        *,
        causal: bool = False,
        mask: Tensor | None = None,
        stage: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """x (batch, time, dim) -> hidden (batch, time, dim).

        causal: each position sees itself and what came before
        mask:   (batch, 1, 1 or query, key) bool, True where attention may look
        stage:  (batch, dim) stage embedding, for adaptive norms
        cache:  keys and values are read from it and added to it; the caller advances it
        """
        x = F.dropout(x, self.config.dropout, self.training)
        for layer, block in enumerate(self.blocks):
            run = (
                functools.partial(checkpoint, block, use_reentrant=False)
                if self.checkpointing and self.training
                else block
            )
            x = run(x, causal=causal, mask=mask, stage=stage, cache=cache, layer=layer)
        return self.norm(x, stage) if self.adaptive else self.norm(x)

    @torch.no_grad()
    def attention_map(self, x: Tensor, layer: int, *, causal: bool) -> Tensor:
        """Attention of one layer averaged over its heads, for pictures: (batch, time, time)."""
        blocks = [block for block in self.blocks if isinstance(block, Block)]
        for index, block in enumerate(blocks[:layer]):
            x = block(x, causal=causal, mask=None, stage=None, cache=None, layer=index)
        query, key, _ = blocks[layer].project_qkv(x, None)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if causal:
            scores = scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(), -torch.inf)
        return scores.softmax(-1).mean(1)

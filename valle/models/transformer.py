"""The transformer of both models: pre-norm blocks with fused attention."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from valle.models.config import TransformerConfig
from valle.models.kv_cache import KVCache


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

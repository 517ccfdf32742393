"""The transformer of both models: pre-norm blocks with fused attention."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from valle.models.config import TransformerConfig
from valle.models.kv_cache import KVCache


class StepBackend(Protocol):
    """Another way to compute a decode step of a causal transformer, such as compiled code (`valle.generation`).

    Attributes:
        cache_dtype: Dtype of the `KVCache` that a step reads and writes.
    """

    cache_dtype: torch.dtype

    def __call__(self, x: Tensor, *, mask: Tensor | None, cache: KVCache) -> Tensor:
        """Compute `Transformer.forward` for one position of each row.

        Args:
            x: (batch, 1, dim).
            mask: See `Transformer.forward`; each row attends to what its row of the cache holds.
            cache: Keys and values before x, to which those of x are appended; the caller advances it.

        Returns:
            (batch, 1, dim).
        """
        ...


class AdaptiveLayerNorm(nn.Module):
    """Adaptive layer norm: `AdaLN(h, j) = a_j * LayerNorm(h) + b_j` (VALL-E, section 4.2.2).

    a_j and b_j are linear in the embedding of stage j.

    Args:
        dim: Width.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.modulation = nn.Linear(dim, 2 * dim)
        nn.init.normal_(self.modulation.weight, std=0.02)
        nn.init.zeros_(self.modulation.bias)
        with torch.no_grad():
            self.modulation.bias[:dim] = 1.0

    def forward(self, x: Tensor, stage: Tensor) -> Tensor:
        """Normalize x, (batch, time, dim), with the stage embedding (batch, dim)."""
        scale, shift = self.modulation(stage)[:, None].chunk(2, dim=-1)
        return self.norm(x) * scale + shift


class Block(nn.Module):
    """Self-attention and a feed-forward network, each with a norm before it and a residual connection.

    Args:
        config: Sizes.
        adaptive: Whether the norms are adaptive.

    Attributes:
        attend: Scaled dot-product attention; inference can replace it by a kernel for its dtype.
    """

    def __init__(self, config: TransformerConfig, adaptive: bool) -> None:
        super().__init__()
        norm = AdaptiveLayerNorm if adaptive else nn.LayerNorm
        self.heads = config.heads
        self.dropout = config.dropout
        self.adaptive = adaptive
        self.attend: Callable[..., Tensor] = F.scaled_dot_product_attention
        self.attention_norm = norm(config.dim)
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)
        self.ffn_norm = norm(config.dim)
        self.ffn_in = nn.Linear(config.dim, config.ffn_dim)
        self.ffn_out = nn.Linear(config.ffn_dim, config.dim)
        # Smaller weights, so that the variance of the residual stream does not grow with the depth (GPT-2).
        for residual in (self.out, self.ffn_out):
            nn.init.normal_(residual.weight, std=0.02 / math.sqrt(2 * config.layers))

    def project_qkv(self, x: Tensor, stage: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Compute queries, keys and values of x (batch, time, dim), each (batch, heads, time, head_dim)."""
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
        """Run the block, see `Transformer.forward`; `layer` is its index in the cache."""
        query, key, value = self.project_qkv(x, stage)
        if cache is not None:
            key, value = cache.update(layer, key, value)
        dropout = self.dropout if self.training else 0.0
        mixed = self.attend(query, key, value, mask, dropout, is_causal=causal)
        x = x + F.dropout(self.out(rearrange(mixed, "b h t d -> b t (h d)")), dropout)
        h = self.ffn_norm(x, stage) if self.adaptive else self.ffn_norm(x)
        return x + F.dropout(self.ffn_out(F.dropout(F.gelu(self.ffn_in(h)), dropout)), dropout)


class Transformer(nn.Module):
    """A stack of blocks and a final norm.

    Args:
        config: Sizes.
        adaptive: Whether the norms are adaptive, as in the NAR model.

    Attributes:
        checkpointing: In training, store only the input of each block and recompute the rest for the gradient.

    Raises:
        ValueError: The width is not a multiple of twice the heads.
    """

    def __init__(self, config: TransformerConfig, adaptive: bool = False) -> None:
        super().__init__()
        if config.dim % (2 * config.heads):
            raise ValueError(f"dim {config.dim} must be a multiple of 2 x heads ({2 * config.heads})")
        self.config = config
        self.adaptive = adaptive
        self.checkpointing = False
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
        """Run all blocks.

        Args:
            x: (batch, time, dim).
            causal: Whether each position attends only to itself and what is before it.
            mask: (batch, 1, 1 or query, key) bool, True where attention is allowed.
            stage: (batch, dim) stage embedding, for adaptive norms.
            cache: Keys and values before x, to which those of x are appended; the caller advances it.

        Returns:
            (batch, time, dim).
        """
        x = F.dropout(x, self.config.dropout, self.training)
        for layer, block in enumerate(self.blocks):
            run: Callable[..., Tensor] = block
            if self.checkpointing and self.training:
                run = functools.partial(checkpoint, block, use_reentrant=False)
            x = run(x, causal=causal, mask=mask, stage=stage, cache=cache, layer=layer)
        return self.norm(x, stage) if self.adaptive else self.norm(x)

    @torch.no_grad()
    def attention_map(self, x: Tensor, layer: int, *, causal: bool) -> Tensor:
        """Compute the attention of one layer, averaged over its heads.

        Args:
            x: (batch, time, dim).
            layer: Index of the layer.
            causal: See `forward`.

        Returns:
            (batch, query, key).
        """
        blocks = [block for block in self.blocks if isinstance(block, Block)]
        for index, block in enumerate(blocks[:layer]):
            x = block(x, causal=causal, mask=None, stage=None, cache=None, layer=index)
        query, key, _ = blocks[layer].project_qkv(x, None)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if causal:
            scores = scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(), -torch.inf)
        return scores.softmax(-1).mean(1)

"""A guide for attention, so that small models find the text soon (as arXiv 1710.08969, section 4).

Where it is known when each phoneme is spoken, one head of every block but the first is drawn to the phoneme being
spoken; a diagonal stands for that in the paper cited. What the other heads do is learned as before.
"""

from __future__ import annotations

import math
from types import TracebackType

import torch
from einops import rearrange
from torch import Tensor, nn

from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.transformer import Block


class GuidedAttention:
    """Records queries and keys of the guided heads during a forward pass of `model`; nothing, unless it is `wanted`.

    >>> with GuidedAttention(model, wanted=True) as guide:
    ...     model.loss(...)
    >>> guide.loss(spoken, phoneme_lengths, first)
    """

    def __init__(self, model: AR | NAR, wanted: bool) -> None:
        blocks = [block for block in model.transformer.blocks if isinstance(block, Block)][1:]
        self.blocks = blocks if wanted else []  # what is recorded keeps memory that checkpointing would free
        self.heads = model.config.heads
        self.recorded: list[Tensor] = []  # a block each: (query or key, batch, time, head_dim)

    def __enter__(self) -> GuidedAttention:
        def record(_: nn.Module, inputs: object, qkv: Tensor) -> None:
            first_head = rearrange(qkv, "b t (part h d) -> h part b t d", part=3, h=self.heads)[0]
            self.recorded.append(first_head[:2])

        self.hooks = [block.qkv.register_forward_hook(record) for block in self.blocks]
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for hook in self.hooks:
            hook.remove()

    def loss(self, spoken: Tensor, phoneme_lengths: Tensor, first: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Mean over steps of -log of the attention to the phoneme spoken; its neighbours count half, theirs a quarter.

        spoken: (batch, steps) index of the phoneme spoken in each group of codes, -1 where it is not known
        phoneme_lengths: (batch,)
        first: (batch,) place in the sequence of the query that belongs to the first step
        lengths: (batch,) of the sequences, all of which each query sees; None: it sees what is not after it
        """
        rows, steps = (spoken >= 0).nonzero(as_tuple=True)
        queries = first[rows] + steps
        keys = torch.arange(self.recorded[0].shape[2], device=spoken.device)
        hidden = keys > queries[:, None] if lengths is None else keys >= lengths[rows, None]
        distance = (keys - spoken[rows, steps, None]).abs()
        weight = torch.where(keys < phoneme_lengths[rows, None], 0.5**distance * (distance < 3), 0.0)
        losses = []
        for query, key in self.recorded:
            scores = (query @ key.transpose(1, 2)).float() / math.sqrt(query.shape[-1])
            scores = scores[rows, queries].masked_fill(hidden, -torch.inf)
            losses.append(-((scores.softmax(-1) * weight).sum(-1) + 1e-5).log().mean())
        return torch.stack(losses).mean()


def spoken_phonemes(starts: Tensor, frames: Tensor, group_size: int) -> Tensor:
    """Which phoneme each group of codes speaks: (batch, groups) indices, -1 where it is not known.

    starts: (batch, time) first frame of each phoneme, rising; frames: (batch,), multiples of group_size
    """
    middle = torch.arange(0, int(frames.max()), group_size, device=starts.device) + group_size // 2
    index = torch.searchsorted(starts, middle.expand(len(starts), -1).contiguous(), right=True) - 1
    return index.masked_fill(middle >= frames[:, None], -1)

"""A guide for the AR model's attention, so that small models find the text soon (as arXiv 1710.08969, section 4).

Where it is known when each phoneme is spoken, one head of every block but the first is drawn to the phoneme being
spoken; a diagonal stands for that in the paper cited. What the other heads do is learned as before.
"""

from __future__ import annotations

import math
from types import TracebackType

import torch
from torch import Tensor

from valle.models.ar import AR
from valle.models.transformer import Block


class GuidedAttention:
    """Records what the guided blocks attend to during a forward pass of `model`.

    >>> with GuidedAttention(model) as guide:
    ...     model.loss(...)
    >>> guide.loss(spoken, phoneme_lengths, given)
    """

    def __init__(self, model: AR) -> None:
        self.marks = model.marks
        self.blocks = [block for block in model.transformer.blocks if isinstance(block, Block)][1:]
        self.inputs: list[Tensor] = []

    def __enter__(self) -> GuidedAttention:
        def record(_: Block, inputs: tuple[Tensor, ...]) -> None:
            self.inputs.append(inputs[0])

        self.hooks = [block.register_forward_pre_hook(record) for block in self.blocks]
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for hook in self.hooks:
            hook.remove()

    def loss(self, spoken: Tensor, phoneme_lengths: Tensor, given: int) -> Tensor:
        """Mean over steps of -log of the attention to the phoneme spoken; its neighbours count half, theirs a quarter.

        spoken: (batch, groups) index of the phoneme each group speaks, -1 where it is not known
        phoneme_lengths: (batch,)
        given: groups before them (a voice prompt and its end mark), which the text does not say
        """
        rows, steps = (spoken >= 0).nonzero(as_tuple=True)
        queries = phoneme_lengths[rows] + self.marks - 1 + given + steps  # the last mark predicts the first group
        keys = torch.arange(self.inputs[0].shape[1], device=spoken.device)
        distance = (keys - spoken[rows, steps, None]).abs()
        weight = torch.where(keys < phoneme_lengths[rows, None], 0.5**distance * (distance < 3), 0.0)
        losses = []
        for block, x in zip(self.blocks, self.inputs, strict=True):
            query, key, _ = block.queries_keys(x, None)
            scores = (query[:, 0] @ key[:, 0].transpose(1, 2)).float() / math.sqrt(query.shape[-1])
            scores = scores[rows, queries].masked_fill(keys > queries[:, None], -torch.inf)
            losses.append(-((scores.softmax(-1) * weight).sum(-1) + 1e-5).log().mean())
        return torch.stack(losses).mean()


def spoken_phonemes(starts: Tensor, frames: Tensor, group_size: int) -> Tensor:
    """Which phoneme each group of codes speaks: (batch, groups) indices, -1 where it is not known.

    starts: (batch, time) first frame of each phoneme, rising; frames: (batch,), multiples of group_size
    """
    middle = torch.arange(0, int(frames.max()), group_size, device=starts.device) + group_size // 2
    index = torch.searchsorted(starts, middle.expand(len(starts), -1).contiguous(), right=True) - 1
    return index.masked_fill(middle >= frames[:, None], -1)

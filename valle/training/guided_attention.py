"""A guide for the AR model's attention, so that small models find the text soon.

Speech reads its text from left to right at a nearly even pace. One head of every block but the first is drawn to read
so: it looks at the text near the diagonal (arXiv 1710.08969, section 4), and what it looks at is likely under some
monotonic alignment, found by the forward algorithm (arXiv 2108.10447, section 2.1). The other heads learn as before.
"""

from __future__ import annotations

import math
from types import TracebackType

import torch
import torch.nn.functional as F
from torch import Tensor

from valle.models.ar import AR
from valle.models.transformer import Block

BLANK = -1.0  # score of no phoneme in the forward algorithm, as in its paper
WIDTH = 0.08  # standard deviation of the diagonal's width, as a share of the text
MARGIN = 1.5  # and phonemes added to it, for short texts


class GuidedAttention:
    """Records what the guided blocks attend to during a forward pass of `model`.

    >>> with GuidedAttention(model) as guide:
    ...     model.loss(...)
    >>> guide.loss(phoneme_lengths, groups, given)
    """

    def __init__(self, model: AR) -> None:
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

    def loss(self, phoneme_lengths: Tensor, groups: Tensor, given: int) -> Tensor:
        """Mean over steps of -log of the attention near the diagonal, and of -log of all monotonic alignments.

        phoneme_lengths: (batch,) phonemes; groups: (batch,) groups of codes that the text says
        given: groups before them (a voice prompt and its end mark), which the text does not say
        """
        diagonal, counted = self._diagonal(phoneme_lengths, groups, given, self.inputs[0].shape[1])
        phonemes, steps = int(phoneme_lengths.max()), int(groups.max())
        own = phoneme_lengths[:, None] + given + torch.arange(steps, device=groups.device)
        own = own.clamp(max=counted.shape[1] - 1)[..., None].expand(-1, -1, counted.shape[1])
        future = torch.ones_like(diagonal[0], dtype=torch.bool).triu(1)
        labels = torch.arange(1, phonemes + 1, device=groups.device).expand(len(groups), -1)
        losses = []
        for block, x in zip(self.blocks, self.inputs, strict=True):
            query, key, _ = block.queries_keys(x, None)
            scores = (query[:, 0] @ key[:, 0].transpose(1, 2)).float() / math.sqrt(query.shape[-1])
            near = (scores.masked_fill(future, -torch.inf).softmax(-1) * diagonal).sum(-1)
            losses.append(-(near[counted] + 1e-5).log().mean())
            read = scores + (diagonal + 1e-5).log()  # (batch, query, key); the diagonal is the prior
            read = read.gather(1, own)[..., :phonemes]
            read = F.pad(read, (1, 0), value=BLANK).log_softmax(-1).transpose(0, 1)
            paths = F.ctc_loss(read, labels, groups, phoneme_lengths, reduction="none", zero_infinity=True)
            losses.append((paths / groups).mean())
        return torch.stack(losses).mean()

    @staticmethod
    def _diagonal(phonemes: Tensor, groups: Tensor, given: int, time: int) -> tuple[Tensor, Tensor]:
        """How near each key is to the place a query speaks, (batch, query, key) in 0..1, and which queries count."""
        position = torch.arange(time, device=phonemes.device)
        step = position - phonemes[:, None] - given  # the end of text, at index `phonemes`, predicts the first group
        counted = (step >= 0) & (step < groups[:, None])
        place = step / groups[:, None] * phonemes[:, None]
        distance = (position + 0.5 - place[..., None]) / (WIDTH * phonemes + MARGIN)[:, None, None]
        weight = torch.exp(-0.5 * distance.square())
        return weight * (position < phonemes[:, None])[:, None], counted

"""Classifier-free guidance of the AR and the NAR model towards the text.

J. Ho and T. Salimans, arXiv 2207.12598; for codec language models SSR-Speech (arXiv 2409.07556) and Koel-TTS (arXiv
2502.05236, which drops the prompt too). In training the text of a share of the utterances is dropped (`text_dropout`),
so that the model also learns to predict speech from the prompt alone. In synthesis each row has a twin without text,
and codes are sampled from u + s (c - u), where c are the logits with the text, u those without, and s is the scale. So
are those of each stage of the NAR model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from valle.extensions.attention_constraint import AttentionConstraint, Request
from valle.models.ar import AR
from valle.models.kv_cache import KVCache
from valle.models.nar import NAR, NARInputs
from valle.models.sequence import Padded, length_mask


def drop_text(lengths: Tensor, probability: float) -> Tensor:
    """Drop the whole text of some rows of a training batch.

    Args:
        lengths: (batch,) symbols of each text.
        probability: Probability of each row. With 0, no random number is sampled.

    Returns:
        (batch,) symbols that remain: all, or 0.
    """
    if not probability:
        return lengths
    return lengths * (torch.rand(lengths.shape, device=lengths.device) >= probability)


@contextmanager
def guided(nar: NAR, scale: float) -> Iterator[None]:
    """Guide the logits that a NAR model computes meanwhile.

    Args:
        nar: The model, trained with `text_dropout`.
        scale: s above; with 1, nothing is computed twice.
    """

    def combine(_: nn.Module, arguments: tuple[NARInputs, Tensor], conditional: Tensor) -> Tensor:
        inputs, stages = arguments
        no_text = Padded(inputs.text.values[:, :0], torch.zeros_like(inputs.text.lengths))
        unconditional = nar.forward(inputs._replace(text=no_text), stages)
        return unconditional + scale * (conditional - unconditional)

    hook = None if scale == 1 else nar.register_forward_hook(combine)
    try:
        yield
    finally:
        if hook is not None:
            hook.remove()


class Guidance:
    """Decode steps with a twin of each row that has no text: a `valle.generation.guide.StepGuide`.

    Logits are a linear function of the transformer's outputs, so these are combined in place of logits.

    Args:
        model: The AR model, trained with `text_dropout`.
        slots: Number of rows of the batch.
        scale: s above; 1 is no guidance.
        constraint: Runs the rows with text; None: the model's backend does.

    Attributes:
        cache_dtype: Dtype of the `KVCache` that a step reads.
    """

    def __init__(self, model: AR, slots: int, *, scale: float, constraint: AttentionConstraint | None = None) -> None:
        device = model.code_embedding.weight.device
        self.model = model
        self.scale = scale
        self.constraint = constraint
        backend = model.step_backend or model.transformer
        self._conditional = constraint or backend
        # CUDA graphs read the cache at a fixed address, and the twins have another one.
        self._unconditional = backend if device.type == "cpu" else model.transformer
        self._twin_dtype = model.cache_dtype if device.type == "cpu" else model.code_embedding.weight.dtype
        self.cache_dtype = model.cache_dtype if constraint is None else constraint.cache_dtype
        # Positions of each row that its twin does not have.
        self._text_lengths = torch.zeros(slots, dtype=torch.long, device=device)
        self._twins: KVCache | None = None
        # Prefilled since the last step, when the size of the cache is known.
        self._prefilled: list[tuple[list[int], KVCache]] = []

    def prefill(self, slots: list[int], request: Request, cache: KVCache) -> Tensor:
        """Fill the cache and that of the twins, see `valle.generation.guide.StepGuide`."""
        text_length = len(request.phonemes)
        if self.constraint is None:
            conditional = request.prefill(self.model, cache)
        else:
            conditional = self.constraint.prefill(slots, request, cache)
        twin = KVCache(self.model.config, 1, cache.max_length - text_length, like=cache.keys)
        unconditional = request.without_text().prefill(self.model, twin)
        self._text_lengths[slots] = text_length
        self._prefilled.append((slots, twin))
        return unconditional + self.scale * (conditional - unconditional)

    def __call__(self, x: Tensor, *, mask: Tensor | None, cache: KVCache) -> Tensor:
        """Run one decode step of all rows and twins, see `valle.models.transformer.StepBackend`."""
        twins = self._update_twins(cache)
        conditional = self._conditional(x, mask=mask, cache=cache)
        mask = length_mask(twins.lengths + 1, twins.max_position + 1)[:, None, None] if twins.ragged else None
        unconditional = self._unconditional(x, mask=mask, cache=twins)
        return unconditional + self.scale * (conditional - unconditional)

    def _update_twins(self, cache: KVCache) -> KVCache:
        """Return the cache of the twins, as long as that of the rows without their text."""
        if self._twins is None:
            like = cache.keys.new_empty(0, dtype=self._twin_dtype)
            self._twins = KVCache(self.model.config, len(cache.lengths), cache.max_length, like=like)
        twins = self._twins
        for slots, prefix in self._prefilled:
            twins.copy_row(slots, prefix)
        self._prefilled = []
        # A slot without a row is empty in the cache.
        twins.set_lengths((cache.lengths - self._text_lengths).clamp(min=0))
        return twins

    def select_rows(self, rows: Tensor) -> None:
        """Continue with these rows, (rows,) indices."""
        self._text_lengths = self._text_lengths[rows]
        if self._twins is not None:
            self._twins.select_rows(rows)
        if self.constraint is not None:
            self.constraint.select_rows(rows)

    def may_end(self) -> Tensor:
        """Return in which rows EOS may be sampled, (slots,) bool."""
        if self.constraint is not None:
            return self.constraint.may_end()
        return torch.ones_like(self._text_lengths, dtype=torch.bool)

    def must_end(self) -> Tensor:
        """Return in which rows EOS is to be sampled, (slots,) bool."""
        if self.constraint is not None:
            return self.constraint.must_end()
        return torch.zeros_like(self._text_lengths, dtype=torch.bool)

    def spoken(self, slot: int, steps: int, text_start: int) -> None:
        """Return None: which symbols are spoken is not known."""

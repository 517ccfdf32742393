"""Phoneme stream: the AR model predicts the phoneme spoken in each group of codes beside the codes (VALL-E R).

VALL-E R (arXiv 2406.07855, section 3.2) predicts the acoustic token and the phoneme aligned with it together:

    p(c_{:,1}, p^_{1:T} | x) = prod_t p(c_{t,1}, p^_t | c_{<t,1}, p^_{<t}, x)

Here the joint probability of a step is computed as p(p^_t | ...) p(c_{t,1} | p^_t, ...): the phoneme is sampled first,
and an embedding of it is added to the hidden state that the codes are predicted from. The input of a step is the sum of
the embeddings of codes and phoneme. Synthesis follows the text by these phonemes:
`valle.extensions.monotonic_alignment`.

The paper has single codes (G = 1). With groups, a phoneme is that of the middle of the group. Measured worth
(benchmarks/switches.py): the bundled model, fine-tuned with a phoneme stream on two hours of aligned speech, has a WER
of 5.7 % with one candidate, in place of 9.4 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from valle.extensions.monotonic_alignment import MonotonicAlignment
from valle.extensions.phoneme_path import symbol_roles
from valle.models.ar import AR
from valle.models.sampling import Sampling
from valle.models.sequence import Padded, concat_padded, select_positions


@dataclass(frozen=True)
class PhonemeStream:
    """The phonemes of a batch of code groups.

    Attributes:
        spoken: (batch, groups + 1) id of the phoneme of each group; after the last group, the last phoneme's.
        inputs: (batch, groups) id that is embedded with each group: `spoken`, or 0 (no phoneme) where it is withheld.
        targets: (batch, groups + 1) what is to be predicted: `spoken`, or -100 where it is not known and after the end.
    """

    spoken: Tensor
    inputs: Tensor
    targets: Tensor


class PhonemeStreamAR(AR):
    """An AR model that predicts phoneme and codes of each group.

    New embeddings and the new head are zero, so that the model computes what the AR model computes that training starts
    from.

    Args:
        vocabulary: Symbols of the text.
        code_rate: Codes of the first codebook per second.
        **sizes: See `AR`.
    """

    def __init__(self, *, vocabulary: Sequence[str], code_rate: float, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.code_rate = code_rate
        self.roles = symbol_roles(vocabulary)
        dim = self.config.dim
        self.stream_embedding = nn.Embedding(len(vocabulary), dim)
        self.stream_condition = nn.Embedding(len(vocabulary), dim)
        self.stream_head = nn.Linear(dim, len(vocabulary), bias=False)
        for layer in (self.stream_embedding, self.stream_condition, self.stream_head):
            nn.init.zeros_(layer.weight)

    def embed_stream(self, groups: Tensor, phonemes: Tensor) -> Tensor:
        """Add the embeddings of phonemes (batch, groups) to those of groups (batch, groups, dim)."""
        return groups + self.stream_embedding(phonemes) * self.config.dim**0.5

    def condition(self, hidden: Tensor, phonemes: Tensor) -> Tensor:
        """Add the embeddings of the phonemes (...) that codes are predicted for to hidden states (..., dim)."""
        return hidden + self.stream_condition(phonemes) * self.config.dim**0.5

    def make_guide(self, slots: int, sampling: Sampling) -> MonotonicAlignment:
        """Make the guide that follows the text, see `AR.make_guide`."""
        return MonotonicAlignment(self, slots, sampling)

    def hidden(
        self, phonemes: Tensor, phoneme_lengths: Tensor, codes: Tensor, code_lengths: Tensor, inputs: Tensor
    ) -> Tensor:
        """Compute the hidden states that predict each group and EOS, with teacher forcing.

        Args:
            phonemes: See `AR.forward`.
            phoneme_lengths: See `AR.forward`.
            codes: See `AR.forward`.
            code_lengths: See `AR.forward`.
            inputs: (batch, groups) see `PhonemeStream`.

        Returns:
            (batch, groups + 1, dim).
        """
        text = self.embed_phonemes(phonemes, phoneme_lengths)
        embedded = self.embed_stream(self.embed_groups(codes), inputs)
        sequence = concat_padded([text, Padded(embedded, code_lengths // self.group_size)]).values
        layout = self.sequence_layout(phoneme_lengths, code_lengths)
        hidden = self.transformer(sequence[:, : int(layout.lengths.max())], causal=True)
        return select_positions(hidden, layout.target, codes.shape[1] // self.group_size + 1)

    def forward(  # type: ignore[override]
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        codes: Tensor,
        code_lengths: Tensor,
        stream: PhonemeStream,
    ) -> tuple[Tensor, Tensor]:
        """Compute the logits of every group of codes and of its phoneme, with teacher forcing.

        Returns:
            (batch, groups + 1, G, codebook_size + 1) of the codes, as `AR.forward`, and (batch, groups + 1, vocabulary)
            of the phonemes.
        """
        hidden = self.hidden(phonemes, phoneme_lengths, codes, code_lengths, stream.inputs)
        return self.predict_group(self.condition(hidden, stream.spoken)), self.stream_head(hidden)

    def stream_loss(
        self, text: Padded, codes: Padded, ignored: Tensor | None, stream: PhonemeStream
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Compute the cross entropy of codes, EOS and phonemes.

        Args:
            text: (batch, time) text ids.
            codes: (batch, frames) first codebook.
            ignored: (batch, frames) bool, frames that are not to be predicted.
            stream: The phonemes.

        Returns:
            The losses by name, `loss` their sum, and the logits and targets of the codes.
        """
        logits, phoneme_logits = self(*text, *codes, stream)
        targets = self.targets(*codes, ignored)
        # A row without phoneme times is not trained on.
        targets = targets.masked_fill((stream.targets == -100).all(1)[:, None, None], -100)
        losses = {
            "codes": F.cross_entropy(logits.flatten(0, 2).float(), targets.flatten(), ignore_index=-100),
            "phonemes": F.cross_entropy(phoneme_logits.flatten(0, 1).float(), stream.targets.flatten()),
        }
        return {"loss": losses["codes"] + losses["phonemes"], **losses}, logits, targets

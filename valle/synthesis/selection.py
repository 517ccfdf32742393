"""Choose among several candidates of the AR model by the phones that they encode.

Only for codecs whose first codes stand for phones, and phonemes as text units. Not in the papers: their selection among
candidates (VALL-E 2, section 4.1.3) hears waveforms, by `valle-eval --select`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from valle.extensions.phone_alignment import Quality, pauses_cut, phones_of, quality, spliced
from valle.generation.engine import GenerationOutput


@dataclass(frozen=True)
class Selected:
    """The first codebook of one utterance.

    Attributes:
        codes: (time,) first codebook.
        truncated: the length bound was reached before EOS.
        quality: alignment with the text; None where codes stand for no phones.
    """

    codes: Tensor
    truncated: bool
    quality: Quality | None = None

    @property
    def failed(self) -> bool:
        """Whether more candidates should be sampled."""
        return self.truncated or (self.quality is not None and self.quality.verdict != "complete")


def select(
    candidates: list[GenerationOutput], symbols: list[str], phones: Tensor, frame_rate: float, prefix: Tensor
) -> Selected:
    """Join the parts of the candidates that encode the text best, and cut long pauses.

    Args:
        candidates: what the AR model generated for one text, each from another seed.
        symbols: text units of the target.
        phones: (codebook_size,) class of the phone that each first code stands for.
        frame_rate: frames per second.
        prefix: (time,) first codes of a prompt that the target's text begins with; empty for other prompts.
    """
    text = phones_of(symbols)
    codes = [torch.cat((prefix, candidate.codes)) for candidate in candidates]
    pieces = spliced([phones[row].numpy() for row in codes], text, frame_rate, len(prefix))
    joined = torch.cat([codes[index][start:end] for index, start, end in pieces])
    kept = joined[len(prefix) :]
    kept = kept[pauses_cut(phones[kept].numpy(), frame_rate)] if len(kept) else kept
    described = quality(phones[torch.cat((prefix, kept))].numpy(), text, frame_rate)
    return Selected(kept, candidates[pieces[-1][0]].truncated, described)

"""What the decoding engine is asked for, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from valle.models.ar import AR
from valle.models.kv_cache import KVCache
from valle.models.sampling import Sampling


@dataclass
class GenerationOutput:
    """Codes of one candidate.

    Attributes:
        codes: (time,) first codebook, without EOS.
        truncated: Whether the length bound was reached before EOS.
        ended: Whether nothing will follow; False for the outputs of `stream` but the last.
        spoken: (time,) index of the target's symbol that is spoken in each frame, -1 before the first; None where the
            model does not tell.
    """

    codes: Tensor
    truncated: bool
    ended: bool = True
    spoken: Tensor | None = None


@dataclass
class GenerationRequest:
    """A text to decode.

    Attributes:
        phonemes: (time,) text ids of prompt and target.
        prompt: (frames,) first codebook of the prompt; the group size divides its length.
        max_frames: Upper bound on new frames.
        seeds: One for each candidate.
        min_frames: EOS is not sampled before so many new frames, rounded up to whole groups; at least one group.
        text_start: Index of the target's first symbol in `phonemes`.
        durations: Frames before the target's first symbol and of each of its symbols, whose sum is `max_frames`, for
            models with a phoneme stream; None: the model decides.
        prompt_condition: (groups, dim) added to the embeddings of the prompt's groups; None: nothing.
        condition: (dim,) added to the embedding of each decoded group; None: nothing.
        sampling: How its codes are sampled; None: as the others of the batch.
    """

    phonemes: Tensor
    prompt: Tensor
    max_frames: int
    seeds: list[int]
    min_frames: int = 1
    text_start: int = 0
    durations: Sequence[float] | None = None
    prompt_condition: Tensor | None = None
    condition: Tensor | None = None
    sampling: Sampling | None = None

    def prefill(self, model: AR, cache: KVCache) -> Tensor:
        """Fill an empty cache of one row with text and prompt; return what `AR.prefill` returns."""
        device = model.code_embedding.weight.device
        phonemes, prompt = (ids[None].to(device) for ids in (self.phonemes, self.prompt))
        text_length, prompt_length = (torch.tensor([ids.shape[1]], device=device) for ids in (phonemes, prompt))
        return model.prefill(phonemes, text_length, prompt, prompt_length, cache, self.prompt_condition)

    def without_text(self) -> GenerationRequest:
        """Return the same request with an empty text."""
        return replace(self, phonemes=self.phonemes[:0])

    def max_steps(self, group_size: int) -> int:
        """Return the decode steps that a candidate may take."""
        return -(-max(1, self.max_frames) // group_size)

    def max_length(self, model: AR) -> int:
        """Return the positions in the cache that a candidate may take."""
        prompt = len(self.prompt) // model.group_size
        return len(self.phonemes) + model.num_marks + prompt + self.max_steps(model.group_size)

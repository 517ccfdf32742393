"""How a text is synthesized: one set of options for single texts, batches, streams and the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from valle.models.sampling import SPEECH_TOP_P, NARSampling, Sampling


@dataclass(frozen=True, kw_only=True)
class SynthesisOptions:
    """Options of `TTS.synthesize`, `TTS.synthesize_batch` and `TTS.stream`.

    Attributes:
        sampling: How the AR model's codes are sampled.
        nar_sampling: How the NAR model fills in the other codebooks.
        ar_prompt: Whether the AR model is conditioned on the prompt; False is an ablation of both papers (VALL-E, table
            5; VALL-E 2, table 3): its input is the target's text alone. The NAR model has the prompt in any case.
        attention_constraint: Whether the AR model's attention to the text moves forward only
            (`valle.extensions.attention_constraint`), for models trained with guided attention. Steps are then not
            compiled.
        speed: Divisor of the durations of all phonemes and pauses, for models with a phoneme stream
            (`valle.extensions.phoneme_stream`). What was decoded is decoded again with these durations, so that nothing
            can be streamed.
        guidance: Scale of classifier-free guidance of the AR model (`valle.extensions.guidance`), for models
            trained with `text_dropout`; 1: without it. Each step is computed twice.
        nar_guidance: The same for the logits of the NAR model.
        attempts: Candidates of the first codebook for each result, of which the best by their phones is selected
            (`valle.synthesis.selection`). None: `valle.synthesis.pipeline.ATTEMPTS` where codes stand for phones, the
            text is phonemes and sampling is random, else 1. With 1, nothing is selected or sampled again.
        candidates: Results of each text, each from its own seed.
        max_batch_tokens: Upper bound on rows times positions that are decoded at once, and so on memory. None:
            everything at once.
    """

    sampling: Sampling = field(default_factory=lambda: Sampling(top_p=SPEECH_TOP_P))
    nar_sampling: NARSampling = field(default_factory=NARSampling)
    ar_prompt: bool = True
    attention_constraint: bool = False
    guidance: float = 1.0
    nar_guidance: float = 1.0
    speed: float = 1.0
    attempts: int | None = None
    candidates: int = 1
    max_batch_tokens: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: A number is out of range.
        """
        if not 0.25 <= self.speed <= 4:
            raise ValueError(f"speed {self.speed} must be 0.25 to 4")
        for name in ("guidance", "nar_guidance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)} must be 0 or more")
        for name in ("attempts", "candidates", "max_batch_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value} must be at least 1")

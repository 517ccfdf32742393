"""How a text is synthesized: one set of options for single texts, batches, streams and the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from valle.models.sampling import SPEECH_TOP_P, NARSampling, Sampling
from valle.text.markup import MAX_PAUSE
from valle.time_stretch import MAX_SPEED, MIN_SPEED


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
        speed: Divisor of the duration of the speech, 0.5 to 2, without change of pitch (`valle.time_stretch`). Models
            with a phoneme stream (`valle.extensions.phoneme_stream`) decode again with the durations of all phonemes
            divided by it, except in a stream.
        pause_sentence: Seconds of silence after each sentence, each of which is then decoded by itself. None: the
            pauses of the model within a part of a text, 0.3 s between two parts.
        pause_paragraph: Seconds of silence after each paragraph; None: 0.8.
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
    pause_sentence: float | None = None
    pause_paragraph: float | None = None
    attempts: int | None = None
    candidates: int = 1
    max_batch_tokens: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: A number is out of range.
        """
        if not MIN_SPEED <= self.speed <= MAX_SPEED:
            raise ValueError(f"speed {self.speed} must be {MIN_SPEED:g} to {MAX_SPEED:g}")
        for name in ("pause_sentence", "pause_paragraph"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= MAX_PAUSE:
                raise ValueError(f"{name} {value} must be 0 to {MAX_PAUSE:g} s")
        for name in ("guidance", "nar_guidance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)} must be 0 or more")
        for name in ("attempts", "candidates", "max_batch_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value} must be at least 1")

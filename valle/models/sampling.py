"""Sample codes from logits: temperature, top-k, top-p, and VALL-E 2's repetition aware sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

RASReading = Literal["text", "formula"]
# Default of synthesis; with all of the distribution, small models make more word errors.
SPEECH_TOP_P = 0.7
# Logits divided by less are infinite, so that there is no distribution to sample from.
MIN_TEMPERATURE = 1e-3


@dataclass(frozen=True)
class Sampling:
    """How a code of the first codebook is sampled.

    Attributes:
        temperature: Divisor of the logits; 0 takes the most likely code.
        top_k: Sample from the k most likely codes; None: all.
        top_p: Nucleus sampling: from the most likely codes whose probabilities sum to top_p; 1: all, 0: the most likely
            one (VALL-E 2, section 4.1.3, has 0.0 to 0.8).
        repetition_aware: Whether codes are sampled by VALL-E 2, section 3.4.1, algorithm 1.
        ras_window: K, number of previous codes that are considered, those of the prompt too.
        ras_threshold: t_r, repetition ratio above which a code is sampled again.
        ras_reading: How the repetition ratio is computed, on which the paper is ambiguous. "text": the share of the
            code in the K codes before it. "formula": as the sum of algorithm 1 is printed, from k = 0 to K, which
            counts the sampled code itself too and is divided by K. With K = 10 and t_r = 0.1, "text" samples again from
            two earlier occurrences, "formula" from one.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    repetition_aware: bool = False
    ras_window: int = 10
    ras_threshold: float = 0.1
    ras_reading: RASReading = "text"

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: A value is out of range.
        """
        if self.temperature < 0 or 0 < self.temperature < MIN_TEMPERATURE:
            raise ValueError(f"temperature {self.temperature} must be 0 or at least {MIN_TEMPERATURE}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k {self.top_k} must be at least 1")
        if not 0 <= self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} must be 0 to 1")
        if self.ras_window < 1:
            raise ValueError(f"ras_window {self.ras_window} must be at least 1")
        if not 0 <= self.ras_threshold <= 1:
            raise ValueError(f"ras_threshold {self.ras_threshold} must be 0 to 1")
        if self.ras_reading not in get_args(RASReading):
            raise ValueError(f"ras_reading {self.ras_reading!r} must be {' or '.join(get_args(RASReading))}")

    @property
    def is_random(self) -> bool:
        """Whether codes depend on the seed."""
        return self.repetition_aware or (self.temperature > 0 and self.top_p > 0 and self.top_k != 1)


@dataclass(frozen=True)
class NARSampling:
    """How the codebooks after the first are filled in.

    Attributes:
        temperature: Divisor of the logits; 0 takes the most likely codes, as the papers (VALL-E, section 4.3). None:
            the model's own default, which is 0 for `NAR` and the predicted mean for a model with latent regression
            (`valle.extensions.latent_regression`).
        stages: Codebooks after the first, in rising order; fewer than 7 leave the last ones out.
        prompt_seconds: Longest acoustic prompt; None: the longest in training. VALL-E has 3 s.
        prompt_prefix: Whether the prompt, whatever its length, is the prefix of the target codes and not an acoustic
            condition with all codebooks: for a model that was trained without an acoustic prompt (an ablation of VALL-E
            2, table 3, "not explicitly split").
    """

    temperature: float | None = None
    stages: int = 7
    prompt_seconds: float | None = None
    prompt_prefix: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: A value is out of range.
        """
        if self.temperature is not None and (self.temperature < 0 or 0 < self.temperature < MIN_TEMPERATURE):
            raise ValueError(f"NAR temperature {self.temperature} must be 0 or at least {MIN_TEMPERATURE}")
        if not 0 <= self.stages <= 7:
            raise ValueError(f"NAR stages {self.stages} must be 0 to 7")
        if self.prompt_seconds is not None and self.prompt_seconds <= 0:
            raise ValueError(f"NAR prompt of {self.prompt_seconds} seconds must be longer than 0")
        if self.prompt_prefix and self.prompt_seconds is not None:
            raise ValueError("NAR prompt: a prefix is the whole prompt; leave its seconds out")


def filter_logits(logits: Tensor, top_k: int | None = None, top_p: float = 1.0) -> Tensor:
    """Set the logits of entries that are not sampled to -inf. The most likely entry always remains.

    Args:
        logits: (..., entries).
        top_k: See `Sampling`.
        top_p: See `Sampling`.

    Returns:
        (..., entries).
    """
    if top_k is not None and top_k < logits.shape[-1]:
        smallest = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p < 1.0:
        ordered = logits.sort(dim=-1, descending=True).values
        probabilities = ordered.softmax(-1)
        # Sum of the probabilities of all entries that are more likely.
        before = probabilities.cumsum(-1) - probabilities
        remains = before < top_p
        remains[..., 0] = True
        smallest = ordered.masked_fill(~remains, torch.inf).amin(-1, keepdim=True)
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    return logits


def sample_inverse_cdf(probabilities: Tensor, noise: Tensor) -> Tensor:
    """Sample by the inverse of the cumulative distribution function.

    Unlike `torch.multinomial`, the result of a row depends on its own noise only, so that it is the same in a batch as
    alone.

    Args:
        probabilities: (..., entries).
        noise: (...) uniform in [0, 1).

    Returns:
        (...) indices.
    """
    cumulative = probabilities.double().cumsum(-1)
    # Below 1, so that the last entry with a probability is the last that can be sampled.
    below_one = noise[..., None].double().clamp(max=1 - 2**-24)
    return torch.searchsorted(cumulative, below_one * cumulative[..., -1:], right=True)[..., 0]


def sample(logits: Tensor, history: Tensor, noise: Tensor, sampling: Sampling) -> Tensor:
    """Sample one code for each row. No value is read back to the host.

    Args:
        logits: (batch, entries).
        history: (batch, >= ras_window) previous codes, newest last; -1 where there is none yet.
        noise: (batch, 2) uniform in [0, 1), for the first sample and, with repetition aware sampling, the second.
        sampling: How codes are sampled.

    Returns:
        (batch,) indices.
    """
    logits = logits.float()
    if sampling.temperature == 0:
        codes = logits.argmax(-1)
    else:
        logits = logits / sampling.temperature
        codes = sample_inverse_cdf(filter_logits(logits, sampling.top_k, sampling.top_p).softmax(-1), noise[:, 0])
    if sampling.repetition_aware:
        # Algorithm 1: a code that is repeated too often is sampled again, from all codes. A temperature of 0 has no
        # distribution to sample from: the model's own is taken.
        window = history[:, -sampling.ras_window :]
        count = (window == codes[:, None]).sum(-1) + (sampling.ras_reading == "formula")
        ratio = count / sampling.ras_window
        codes = torch.where(ratio > sampling.ras_threshold, sample_inverse_cdf(logits.softmax(-1), noise[:, 1]), codes)
    return codes

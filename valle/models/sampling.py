"""Drawing codes from logits: temperature, top-k, top-p, and VALL-E 2's repetition aware sampling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SPEECH_TOP_P = 0.7  # nucleus when nothing else is said: small models err more with all of it (egs/bundled/README.md)


@dataclass(frozen=True)
class Sampling:
    """How a code is drawn.

    temperature:      divides the logits; 0 takes the most likely code
    top_k:            keep the k most likely codes; None: all
    top_p:            nucleus: keep the most likely codes until their probabilities reach top_p; 1.0: all
    repetition_aware: VALL-E 2, section 3.4.1, algorithm 1
    ras_window:       K, codes looked back at, of the prompt too
    ras_threshold:    t_r, largest share of the window that the drawn code may have
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    repetition_aware: bool = False
    ras_window: int = 10
    ras_threshold: float = 0.1

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature {self.temperature} must not be negative")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k {self.top_k} must be at least 1")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} must be above 0 and at most 1")
        if self.ras_window < 1:
            raise ValueError(f"ras_window {self.ras_window} must be at least 1")
        if not 0 <= self.ras_threshold <= 1:
            raise ValueError(f"ras_threshold {self.ras_threshold} must be 0 to 1")


@dataclass(frozen=True)
class NARSampling:
    """How the other codebooks are filled in.

    temperature:    divides the logits; 0, the papers' way, takes the most likely code (VALL-E, section 4.3). None:
                    codes that sum to what the model expects the latent to be, where it has an expectation, so that
                    where it is unsure speech has the middle of what is possible and not one guess; else as 0
    stages:         codebooks filled in after the first, always in rising order since each is predicted from those
                    below; fewer than 7 leave the last ones out, and speech sounds coarser
    prompt_seconds: longest acoustic prompt; None: as long as the longest in training. VALL-E has 3 s
    """

    temperature: float | None = None
    stages: int = 7
    prompt_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.temperature is not None and self.temperature < 0:
            raise ValueError(f"NAR temperature {self.temperature} must not be negative")
        if not 0 <= self.stages <= 7:
            raise ValueError(f"NAR stages {self.stages} must be 0 to 7")
        if self.prompt_seconds is not None and self.prompt_seconds <= 0:
            raise ValueError(f"NAR prompt of {self.prompt_seconds} seconds must be longer than 0")


def filter_logits(logits: Tensor, top_k: int | None = None, top_p: float = 1.0) -> Tensor:
    """Set what top-k and top-p leave out to -inf: (..., entries) -> same. The most likely entry always stays."""
    if top_k is not None and top_k < logits.shape[-1]:
        smallest = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p < 1.0:
        ordered = logits.sort(dim=-1, descending=True).values
        probabilities = ordered.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities  # of all that are more likely
        smallest = ordered.masked_fill(before >= top_p, torch.inf).amin(-1, keepdim=True)
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    return logits


def sample_inverse_cdf(probabilities: Tensor, noise: Tensor) -> Tensor:
    """Draw by the inverse of the distribution function: (..., entries) and uniform (...) -> (...) indices.

    Unlike `torch.multinomial` a row's draw depends on its own noise only, so a row in a batch draws as it would alone.
    """
    cumulative = probabilities.double().cumsum(-1)
    below_one = noise[..., None].double().clamp(max=1 - 2**-24)  # so that the last with a probability is found
    return torch.searchsorted(cumulative, below_one * cumulative[..., -1:], right=True)[..., 0]


def sample(logits: Tensor, history: Tensor, noise: Tensor, sampling: Sampling) -> Tensor:
    """Draw one code a row.

    logits:  (batch, entries)
    history: (batch, >= ras_window) the latest codes, newest last; -1 where there is none yet
    noise:   (batch, 2) uniform in [0, 1): the first draw and, with repetition aware sampling, the second

    Returns (batch,) indices. No value is read back to the host.
    """
    logits = logits.float()
    if sampling.temperature == 0:
        return logits.argmax(-1)
    if sampling.temperature != 1:
        logits = logits / sampling.temperature
    codes = sample_inverse_cdf(filter_logits(logits, sampling.top_k, sampling.top_p).softmax(-1), noise[:, 0])
    if sampling.repetition_aware:
        window = history[:, -sampling.ras_window :]
        ratio = (window == codes[:, None]).sum(-1) / sampling.ras_window
        codes = torch.where(ratio > sampling.ras_threshold, sample_inverse_cdf(logits.softmax(-1), noise[:, 1]), codes)
    return codes

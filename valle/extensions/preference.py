"""Preference tuning of the AR model: direct preference optimization (DPO, Rafailov et al., arXiv 2305.18290).

The model is tuned on pairs of candidates for the same text and prompt, ranked by WER and speaker similarity, as in
Koel-TTS (arXiv 2502.05236) and SpeechAlign (arXiv 2404.05600). The reference policy is the same model without its
adapters (`valle.models.lora`), so no second copy of the weights is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from valle.models.ar import AR
from valle.models.lora import without_adapters
from valle.models.sequence import Padded, length_mask


class LogProbs(NamedTuple):
    """Log-probabilities of candidates.

    Attributes:
        sums: (batch,) float32, log pi(y | x): the sum over all codes and EOS tokens of a candidate.
        counts: (batch,) number of these codes.
    """

    sums: Tensor
    counts: Tensor


def sequence_log_probs(model: AR, text: Padded, codes: Padded, prefix_lengths: Tensor, truncated: Tensor) -> LogProbs:
    """Compute log pi(y | x), where x is text and prompt and y the codes of a candidate and the EOS tokens after them.

    Args:
        model: The AR model.
        text: (batch, time) text ids.
        codes: (batch, time) first codebook of prompt and candidate.
        prefix_lengths: (batch,) frames of the prompt, which is not scored.
        truncated: (batch,) bool, whether the candidate reached the length bound, so that no EOS is scored.
    """
    logits = model(*text, *codes)
    frames = codes.values.shape[1]
    targets = model.targets(*codes, ignored=length_mask(prefix_lengths, frames))
    group = torch.arange(targets.shape[1], device=targets.device)
    is_end = group >= codes.lengths[:, None] // model.group_size
    targets = targets.masked_fill((is_end & truncated[:, None])[..., None], -100)
    losses = F.cross_entropy(logits.flatten(0, 2).float(), targets.flatten(), ignore_index=-100, reduction="none")
    return LogProbs(-losses.view(len(targets), -1).sum(1), (targets != -100).flatten(1).sum(1))


@torch.no_grad()
def reference_log_probs(model: AR, text: Padded, codes: Padded, prefix_lengths: Tensor, truncated: Tensor) -> Tensor:
    """Compute log ref(y | x), (batch,), with the adapters and dropout switched off; see `sequence_log_probs`."""
    was_training = model.training
    model.eval()
    with without_adapters(model):
        result = sequence_log_probs(model, text, codes, prefix_lengths, truncated).sums
    model.train(was_training)
    return result


def dpo_loss(log_ratios: Tensor, beta: float) -> Tensor:
    """Compute the loss of direct preference optimization (arXiv 2305.18290, equation 7).

        -log sigmoid(beta (log pi(y_w | x) / ref(y_w | x) - log pi(y_l | x) / ref(y_l | x)))

    Args:
        log_ratios: (2 pairs,) log pi(y | x) / ref(y | x), of all chosen candidates (w), then of all rejected ones (l).
        beta: How strongly the policy is held to the reference.

    Returns:
        A scalar, the mean over pairs.
    """
    chosen, rejected = log_ratios.chunk(2)
    return -F.logsigmoid(beta * (chosen - rejected)).mean()

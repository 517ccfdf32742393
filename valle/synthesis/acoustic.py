"""The NAR model's part of synthesis: from the first codebook to all codebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from valle.extensions.guidance import guided
from valle.models.nar import NAR, NARInputs
from valle.models.sampling import NARSampling
from valle.models.sequence import Padded
from valle.synthesis.prompt import Prompt

# Keeps the NAR model's seeds apart from those of the AR model. Generators use 32 bits of a seed.
NAR_SEED = 2**31


@dataclass(frozen=True)
class AcousticInput:
    """One utterance whose codebooks after the first are to be filled in.

    Attributes:
        text: (time,) ids of its text.
        prompt: (time, codebook) acoustic prompt.
        first: (time,) first codebook.
    """

    text: Tensor
    prompt: Tensor
    first: Tensor


def acoustic_input(prompt: Prompt, *, joint: Tensor, target: Tensor, first: Tensor, max_prompt: int) -> AcousticInput:
    """Choose the NAR model's text and acoustic prompt.

    A prompt of more than `max_prompt` frames is cut to its middle, which conditions on the voice alone; the text is
    then the target's.

    Args:
        prompt: The voice.
        joint: (time,) ids of the prompt's text and the target's.
        target: (time,) ids of the target's text.
        first: (time,) first codebook.
        max_prompt: Frames.
    """
    surplus = max(0, len(prompt.codes) - max_prompt)
    codes = prompt.codes[surplus // 2 :][:max_prompt]
    return AcousticInput(text=target if surplus else joint, prompt=codes, first=first)


def fill_in_codebooks(
    nar: NAR,
    inputs: Sequence[AcousticInput],
    seeds: Sequence[int],
    sampling: NARSampling,
    *,
    guidance: float = 1.0,
    skip: int = 0,
) -> list[Tensor]:
    """Predict the codebooks after the first.

    Args:
        nar: The model.
        inputs: Utterances.
        seeds: Of each utterance, used where `sampling` is random.
        sampling: How codes are chosen.
        guidance: Scale of classifier-free guidance, see `valle.extensions.guidance.guided`.
        skip: Frames before `first`, for a stream: a frame gets the same noise in whatever chunk it is decoded.

    Returns:
        (time, codebook) of each utterance.
    """
    device = nar.phoneme_embedding.weight.device
    noise = None
    if sampling.temperature:
        rows = []
        for item, seed in zip(inputs, seeds, strict=True):
            generator = torch.Generator().manual_seed(NAR_SEED + seed)
            rows.append(torch.rand(skip + len(item.first), 8, generator=generator)[skip:])
        noise = pad_sequence(rows, batch_first=True).to(device)
    with guided(nar, guidance):
        return _predict_all(nar, inputs, sampling, noise)


def _predict_all(
    nar: NAR, inputs: Sequence[AcousticInput], sampling: NARSampling, noise: Tensor | None
) -> list[Tensor]:
    if nar.phoneme_embedding.weight.device.type != "cpu":
        return _predict(nar, inputs, sampling, noise)
    # Utterance by utterance: with the shapes that it has alone, each gets the same codes in any batch, and a pass over
    # many positions is no faster in a batch.
    codes = []
    for index, item in enumerate(inputs):
        own = None if noise is None else noise[index : index + 1, : len(item.first)]
        codes += _predict(nar, [item], sampling, own)
    return codes


def _predict(nar: NAR, inputs: Sequence[AcousticInput], sampling: NARSampling, noise: Tensor | None) -> list[Tensor]:
    device = nar.phoneme_embedding.weight.device
    batch = NARInputs(
        text=_pad([item.text for item in inputs], device),
        prompt=_pad([item.prompt for item in inputs], device),
        codes=_pad([item.first[:, None] for item in inputs], device),
    )
    codes = nar.generate(batch, sampling, noise).cpu()
    return [row[: len(item.first)] for row, item in zip(codes, inputs, strict=True)]


def _pad(rows: list[Tensor], device: torch.device) -> Padded:
    lengths = torch.tensor([len(row) for row in rows])
    return Padded(pad_sequence(rows, batch_first=True).to(device), lengths.to(device))

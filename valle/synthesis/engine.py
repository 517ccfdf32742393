"""The decoding engine: one prefill, then a key/value-cached step a group of frames, for a batch of rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from valle.models.ar import AR
from valle.models.sampling import Sampling, sample
from valle.models.transformer import KVCache, length_mask

CHECK_EVERY = 16  # steps between two looks at which rows have ended: each look waits for the device


@dataclass
class Generated:
    """What the AR model said.

    codes:     (time,) first codebook, without the end mark
    truncated: the length bound was reached before the end mark
    """

    codes: Tensor
    truncated: bool


@torch.inference_mode()
def generate(
    model: AR,
    phonemes: list[Tensor],
    prompts: list[Tensor],
    max_frames: list[int],
    seeds: list[int],
    sampling: Sampling,
    candidates: int = 1,
) -> list[Generated]:
    """Continue each prompt with the first codebook of its text.

    phonemes:   (time,) ids a row, of the prompt's text and the target's
    prompts:    (frames,) first-codebook codes a row; frames divide by the model's group size
    max_frames: bound on new frames a row; a bound of T frames takes at most ceil(T / G) steps
    seeds:      of each row; a row draws the same codes whatever else is in the batch
    candidates: draws a row, from one prefill; they come next to each other in the result, draw `c` of a row
                with the seed of that row plus `c`
    """
    device, size = model.head.weight.device, model.group_size
    text, prompt = (pad_sequence(rows, batch_first=True).to(device) for rows in (phonemes, prompts))
    text_lengths, prompt_lengths = (torch.tensor([len(r) for r in rows], device=device) for rows in (phonemes, prompts))
    frames = torch.tensor(max_frames).repeat_interleave(candidates).clamp(min=1)
    bounds = -(-frames // size)  # in groups, on the host
    steps = int(bounds.max())
    room = text.shape[1] + 1 + prompt.shape[1] // size + steps
    cache = KVCache(model.config, len(phonemes), room, like=model.head.weight)
    logits = model.prefill(text, text_lengths, prompt, prompt_lengths, cache)

    rows = torch.arange(len(phonemes), device=device).repeat_interleave(candidates)
    cache.keep(rows)
    logits, position = logits[rows], (prompt_lengths // size)[rows]
    noise = _noise([seed + c for seed in seeds for c in range(candidates)], steps, size).to(device)
    history = _history(prompts, sampling.ras_window).to(device)[rows]
    ragged = len(set(zip(map(len, phonemes), map(len, prompts), strict=True))) > 1

    said = torch.full((len(rows), steps * size), model.end, device=device)
    alive = torch.arange(len(rows), device=device)  # rows of `said` that the cache still holds
    for step in range(steps):
        group = []
        for index in range(size):
            entries = logits[:, index]
            if step == 0 or index > 0:  # something is said, and the end mark fills whole groups
                entries = entries.clone()
                entries[:, model.end] = -torch.inf
            code = sample(entries, history, noise[alive, step, index], sampling)
            history = torch.cat((history[:, 1:], code[:, None]), dim=1)
            group.append(code)
        codes = torch.stack(group, dim=1)
        said[alive, step * size : (step + 1) * size] = codes
        if step + 1 == steps:
            break
        if (step + 1) % CHECK_EVERY == 0:
            ended = (said[alive, : (step + 1) * size] == model.end).any(1).cpu()
            going = (~ended & (bounds[alive.cpu()] > step + 1)).nonzero()[:, 0].to(device)
            if len(going) == 0:
                break
            if len(going) < len(alive):
                cache.keep(going)
                alive, codes, history, position = alive[going], codes[going], history[going], position[going]
        mask = length_mask(cache.lengths + 1, cache.filled + 1)[:, None, None] if ragged else None
        logits = model.step(codes, position, cache, mask)
        position = position + 1
    return [_finish(row, int(bound), model.end) for row, bound in zip(said.cpu(), frames, strict=True)]


def _finish(said: Tensor, bound: int, end: int) -> Generated:
    said = said[:bound]
    marks = (said == end).nonzero()
    return Generated(said[: int(marks[0])], False) if len(marks) else Generated(said, True)


def _noise(seeds: list[int], steps: int, size: int) -> Tensor:
    """Uniform numbers (row, step, size, 2), each row from its own generator on the CPU."""
    return torch.stack([torch.rand(steps, size, 2, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def _history(prompts: list[Tensor], window: int) -> Tensor:
    """The latest codes of each prompt, (row, window), -1 before its beginning."""
    return torch.stack([F.pad(p, (window, 0), value=-1)[-window:] for p in prompts])

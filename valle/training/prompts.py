"""Acoustic prompts of training examples, cut from padded batches of codes.

Training batches hold whole utterances. What serves as the prompt of each is chosen here, at every step anew.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class PromptedSequence(NamedTuple):
    """Utterances with an untranscribed prompt and EOS tokens in front.

    Attributes:
        codes: (batch, time) first codebook of prompt, EOS tokens and utterance.
        ignored: (batch, time) bool, True for frames that do not count in the loss.
        offsets: (batch,) frames in front of each utterance: its prompt and the EOS tokens.
    """

    codes: Tensor
    ignored: Tensor
    offsets: Tensor


class PromptSplit(NamedTuple):
    """Utterances split into acoustic prompt and target, each padded on the right.

    Attributes:
        prompt: (batch, prompt time, codebook).
        prompt_lengths: (batch,) frames.
        target: (batch, time, codebook).
        target_lengths: (batch,) frames.
        ignored: (batch, time) bool, True for target frames that do not count in the loss.
    """

    prompt: Tensor
    prompt_lengths: Tensor
    target: Tensor
    target_lengths: Tensor
    ignored: Tensor


def gather_frames(codes: Tensor, index: Tensor) -> Tensor:
    """Select frames of each row.

    Args:
        codes: (batch, time, codebook).
        index: (batch, n) frame indices; an index past the end selects the last frame.

    Returns:
        (batch, n, codebook).
    """
    index = index.clamp(max=codes.shape[1] - 1)
    return codes.gather(1, index[..., None].expand(-1, -1, codes.shape[2]))


def trim_to_whole_groups(codes: Tensor, lengths: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """Remove the first frames of each utterance, so that its length is a multiple of `group_size`.

    The first frames are usually silent (VALL-E 2, section 3.1).

    Args:
        codes: (batch, time, codebook).
        lengths: (batch,) frames.
        group_size: frames per group; 1 leaves everything as it is.

    Returns:
        The trimmed codes and their lengths.
    """
    removed = lengths % group_size
    time = torch.arange(int((lengths - removed).max()), device=codes.device)
    return gather_frames(codes, removed[:, None] + time), lengths - removed


def random_starts(room: Tensor) -> Tensor:
    """Sample an integer from 0 to `room`, both included, for each row."""
    return (torch.rand(room.shape, device=room.device) * (room + 1)).long()


def prepend_untranscribed_prompts(
    codes: Tensor,
    lengths: Tensor,
    prompts: Tensor | None,
    prompt_lengths: Tensor | None,
    *,
    group_size: int,
    max_frames: int,
    eos: int,
) -> PromptedSequence:
    """Put an untranscribed prompt and one group of EOS tokens in front of each utterance.

    A row with other speech of its speaker in `prompts` gets the last frames of it. Such a prompt may be far longer than
    the utterance, as it is when short texts are synthesized. Any other row gets a random segment of the utterance
    itself, of at most half its length; where the segment occurs in the utterance its frames are ignored, so that
    copying is not rewarded.

    Args:
        codes: (batch, time) first codebook.
        lengths: (batch,) frames, multiples of `group_size`.
        prompts: (batch, prompt time) first codebook of other speech of the same speakers, or None.
        prompt_lengths: (batch,) frames, 0 for a row without other speech, or None.
        group_size: frames per group.
        max_frames: maximum length of a prompt.
        eos: id of the EOS token.
    """
    if prompts is None or prompt_lengths is None:
        prompts = codes[:, :1]
        prompt_lengths = torch.zeros_like(lengths)
    has_prompt = prompt_lengths > 0
    sizes = torch.where(has_prompt, prompt_lengths, lengths // 2)
    sizes = sizes.clamp(max=max_frames) // group_size * group_size
    # The random numbers are sampled for all rows, so that they do not depend on which rows have other speech.
    starts = torch.where(has_prompt, prompt_lengths - sizes, random_starts(lengths - sizes))

    width = max(codes.shape[1], prompts.shape[1])
    source = torch.where(has_prompt[:, None], _pad_time(prompts, width), _pad_time(codes, width))
    offsets = sizes + group_size
    time = torch.arange(codes.shape[1] + int(offsets.max()), device=codes.device)
    prompt = source.gather(1, (starts[:, None] + time).clamp(max=source.shape[1] - 1))
    utterance = codes.gather(1, (time - offsets[:, None]).clamp(0, codes.shape[1] - 1))
    sequence = torch.where(time < sizes[:, None], prompt, eos)
    sequence = torch.where(time < offsets[:, None], sequence, utterance)

    # Frames of the utterance that its own prompt was copied from.
    position = time - offsets[:, None] - starts[:, None]
    copied = (position >= 0) & (position < sizes[:, None]) & ~has_prompt[:, None]
    return PromptedSequence(codes=sequence, ignored=(time < offsets[:, None]) | copied, offsets=offsets)


def split_prompt(codes: Tensor, lengths: Tensor, max_prompt_lengths: Tensor, prefix: bool) -> PromptSplit:
    """Take a prompt of at most half of each utterance.

    Args:
        codes: (batch, time, codebook).
        lengths: (batch,) frames.
        max_prompt_lengths: (batch,) frames; 0: no prompt, and the target is the whole utterance.
        prefix: True: the prompt is the utterance's first frames, and the target is what follows. False: the prompt is a
            copy of a random segment, and the target is the whole utterance with the segment's frames ignored, so that
            copying is not rewarded.
    """
    prompt_lengths = (lengths // 2).minimum(max_prompt_lengths)
    room = lengths - prompt_lengths
    starts = torch.zeros_like(room) if prefix else random_starts(room)
    time = torch.arange(codes.shape[1], device=room.device)
    prompt = gather_frames(codes, starts[:, None] + time[: int(prompt_lengths.max())])
    if prefix:
        target = gather_frames(codes, prompt_lengths[:, None] + time[: int(room.max())])
        ignored = torch.zeros(target.shape[:2], dtype=torch.bool, device=room.device)
        return PromptSplit(prompt, prompt_lengths, target, target_lengths=room, ignored=ignored)
    ignored = (time >= starts[:, None]) & (time < (starts + prompt_lengths)[:, None])
    return PromptSplit(prompt, prompt_lengths, target=codes, target_lengths=lengths, ignored=ignored)


def _pad_time(codes: Tensor, time: int) -> Tensor:
    """Pad (batch, time) codes with zeros on the right."""
    return F.pad(codes, (0, time - codes.shape[1]))

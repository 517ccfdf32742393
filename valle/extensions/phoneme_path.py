"""The phonemes of a text in the order in which they are spoken, for models with a phoneme stream (VALL-E R)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
import torch.nn.functional as F
from torch import Tensor

from valle.errors import UserError
from valle.text import PADDING
from valle.text.phonemizer import PUNCTUATION, STRESS

# Id in place of a phoneme where none is spoken yet, and in untranscribed prompts: that of padding.
NO_PHONEME = 0


class Role(IntEnum):
    """What a text symbol is in the stream."""

    SILENT = 0  # a stress mark or a space: never in the stream
    PAUSE = 1  # a punctuation mark: spoken as a pause, or left out
    PHONEME = 2  # spoken in at least one group


def symbol_roles(vocabulary: Sequence[str]) -> tuple[Role, ...]:
    """Return the role of each symbol of a vocabulary."""
    silent = {PADDING, " ", *STRESS}
    return tuple(
        Role.SILENT if symbol in silent else Role.PAUSE if symbol in PUNCTUATION else Role.PHONEME
        for symbol in vocabulary
    )


@dataclass(frozen=True)
class Path:
    """The order in which a text is spoken: its phonemes and pauses, after a first state without a phoneme.

    Attributes:
        symbols: (states,) index in the text of each state; -1 for the first.
        ids: (states,) id of each state.
        reach: (states,) the next phoneme after each state: a step moves no further. The last phoneme reaches the end.
        remaining: (states,) number of phonemes after each state.
    """

    symbols: Tensor
    ids: Tensor
    reach: Tensor
    remaining: Tensor

    @classmethod
    def of_text(cls, phonemes: Tensor, roles: Sequence[Role]) -> Path:
        """Make the path of a text, (time,) ids on the CPU."""
        role = torch.tensor(roles)[phonemes]
        symbols = (role != Role.SILENT).nonzero()[:, 0]
        is_phoneme = F.pad(role[symbols] == Role.PHONEME, (1, 0))
        remaining = is_phoneme.sum() - is_phoneme.cumsum(0)
        states = len(symbols) + 1
        reach = torch.full((states,), states - 1)
        for state in range(states - 2, -1, -1):
            reach[state] = state + 1 if is_phoneme[state + 1] else reach[state + 1]
        return cls(
            symbols=F.pad(symbols, (1, 0), value=-1),
            ids=F.pad(phonemes[symbols], (1, 0), value=NO_PHONEME),
            reach=reach,
            remaining=remaining,
        )


def phonemes_of_groups(
    phonemes: Tensor, starts: Tensor, frames: Tensor, group_size: int, roles: Sequence[Role]
) -> Tensor:
    """Return the phoneme of each group of codes, each phoneme of the text in at least one.

    A phoneme begins with the first group whose middle it has begun at. Where several begin in one group, the later ones
    are moved to the groups after it, as far as there are groups. A punctuation mark without a group has no pause.

    Args:
        phonemes: (batch, time) text ids.
        starts: (batch, time) first frame of each symbol, in rising order; after the end where it is not available.
        frames: (batch,) multiples of `group_size`.
        group_size: Frames of a group.
        roles: Of each id.

    Returns:
        (batch, groups + 1) ids; after the last group, the last phoneme's. -100 in rows without phoneme times, and in
        those that have fewer groups than phonemes.
    """
    groups = (frames // group_size).tolist()
    result = torch.full((len(phonemes), max(groups) + 1), -100)
    symbol_role = torch.tensor(roles, device="cpu")[phonemes.cpu()]
    # The first group whose middle is not before the start.
    first = (starts.cpu() - group_size // 2 + group_size - 1).div(group_size, rounding_mode="floor").clamp(min=0)
    for row, count in enumerate(groups):
        chosen = (symbol_role[row] != Role.SILENT).nonzero()[:, 0]
        begin = first[row, chosen]
        if not len(chosen) or bool((begin > count).any()):
            continue
        before = torch.cat((begin.new_full((1,), -1), begin[:-1]))
        after = torch.cat((begin[1:], begin.new_full((1,), count)))
        pause = symbol_role[row, chosen] == Role.PAUSE
        remaining = ~pause | ((before < begin) & (begin < after))
        ids = phonemes[row].cpu()[chosen[remaining]]
        order = torch.arange(len(ids))
        begin = order + (begin[remaining] - order).cummax(0).values
        begin = begin.minimum(count - len(ids) + order)
        if len(ids) == 0 or begin[0] < 0:
            continue
        index = torch.searchsorted(begin, torch.arange(count), right=True)
        with_none = torch.cat((ids.new_tensor([NO_PHONEME]), ids))
        result[row, :count] = with_none[index]
        result[row, count] = ids[-1]
        result[row, count + 1 :] = NO_PHONEME
    return result.to(phonemes.device)


def _rounded_ends(durations: Sequence[float], group_size: int) -> Tensor:
    """Return the ends of durations in frames, (len(durations),), rounded to whole groups."""
    return (torch.tensor(durations).cumsum(0) / group_size + 0.5).floor().long()


def rounded_frames(durations: Sequence[float], group_size: int) -> int:
    """Return the sum of durations in frames, rounded to whole groups."""
    return int(_rounded_ends(durations, group_size)[-1]) * group_size


def scaled_durations(
    spoken: Tensor, phonemes: Tensor, roles: Sequence[Role], factor: float, group_size: int
) -> list[float]:
    """Return the durations of speech, as `check_durations` takes them, multiplied by a factor.

    Args:
        spoken: (time,) index of the symbol in each frame, -1 before the first.
        phonemes: (symbols,) ids of the text.
        roles: Of each id.
        factor: The factor; phonemes have at least one group.
        group_size: Frames of a group.
    """
    frames = factor * torch.bincount(spoken + 1, minlength=len(phonemes) + 1)
    least = [0, *(group_size if roles[index] == Role.PHONEME else 0 for index in phonemes.tolist())]
    return [max(float(count), float(bound)) for count, bound in zip(frames, least, strict=True)]


def check_durations(durations: Sequence[int], phonemes: Tensor, roles: Sequence[Role], group_size: int) -> None:
    """Check durations that are given for a text.

    Args:
        durations: Frames before the first symbol, and of each symbol.
        phonemes: (time,) ids of the text.
        roles: Of each id.
        group_size: Frames of a group.

    Raises:
        UserError: They are not those of the text.
    """
    if len(durations) != len(phonemes) + 1:
        raise UserError(
            f"durations: {len(durations)} numbers for a text of {len(phonemes)} symbols; give the frames before the "
            "first symbol, then those of each symbol"
        )
    least = [0, *(group_size if roles[index] == Role.PHONEME else 0 for index in phonemes.tolist())]
    silent = [False, *(roles[index] == Role.SILENT for index in phonemes.tolist())]
    for position, frames in enumerate(durations):
        if frames < least[position] or (silent[position] and frames):
            needed = (
                "0 (stress marks and spaces have no duration)" if silent[position] else f"at least {least[position]}"
            )
            raise UserError(f"durations: {frames} frames in position {position}; give {needed}")


def states_of_durations(
    durations: Sequence[float], path: Path, text_start: int, before: int, group_size: int
) -> Tensor:
    """Return the state of each step for given durations.

    Args:
        durations: Frames before the first symbol of the target, and of each of its symbols.
        path: Path of the text.
        text_start: Index of the target's first symbol.
        before: State before the first symbol.
        group_size: Frames of a group.

    Returns:
        (steps,) states. Ends of symbols are rounded to whole groups.
    """
    ends = _rounded_ends(durations, group_size)
    states = torch.full((int(ends[-1]),), before)
    state_of = {int(symbol): state for state, symbol in enumerate(path.symbols.tolist())}
    for symbol in range(1, len(durations)):
        start, end = int(ends[symbol - 1]), int(ends[symbol])
        if end > start:
            states[start:end] = state_of[text_start + symbol - 1]
    return states

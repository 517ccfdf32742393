"""Split utterances into two sets, by speakers or at random."""

from __future__ import annotations

import random
from pathlib import Path

from valle.data.utterance import Utterance
from valle.errors import UserError
from valle.files import read_text


def split(utterances: list[Utterance], speakers: int, seed: int = 0) -> tuple[list[Utterance], list[Utterance]]:
    """Hold out randomly selected speakers.

    Args:
        utterances: Utterances to split.
        speakers: Number of speakers to hold out.
        seed: Seed of the selection.

    Returns:
        The utterances of the other speakers, and those of the held-out speakers.

    Raises:
        UserError: There are not enough speakers.
    """
    names = sorted({u.speaker for u in utterances})
    if not 0 < speakers < len(names):
        raise UserError(f"cannot hold out {speakers} of {len(names)} speakers; choose from 1 to all but 1")
    selected = set(random.Random(seed).sample(names, speakers))
    return _partition(utterances, {u.id for u in utterances if u.speaker in selected})


def split_listed(utterances: list[Utterance], speaker_list: Path) -> tuple[list[Utterance], list[Utterance]]:
    """Hold out the speakers that a file lists.

    Args:
        utterances: Utterances to split.
        speaker_list: UTF-8 file with one speaker per line.

    Returns:
        The utterances of the other speakers, and those of the held-out speakers.

    Raises:
        UserError: The file cannot be read, lists a speaker who has no utterance, or lists no speaker or all of them.
    """
    if not speaker_list.is_file():
        raise UserError(f"{speaker_list}: no such list of speakers; check the path")
    listed = set(read_text(speaker_list).split())
    if missing := sorted(listed - {u.speaker for u in utterances}):
        raise UserError(f"{speaker_list}: {missing[0]!r} is not a speaker of the data; remove it from the list")
    rest, held_out = _partition(utterances, {u.id for u in utterances if u.speaker in listed})
    if not rest or not held_out:
        raise UserError(f"{speaker_list}: must list some of the speakers, and not all")
    return rest, held_out


def split_utterances(utterances: list[Utterance], count: int, seed: int = 0) -> tuple[list[Utterance], list[Utterance]]:
    """Hold out randomly selected utterances of any speaker, as corpora of one speaker need it.

    Args:
        utterances: Utterances to split.
        count: Number of utterances to hold out.
        seed: Seed of the selection.

    Returns:
        The other utterances, and the held-out ones.

    Raises:
        UserError: There are not enough utterances.
    """
    if not 0 < count < len(utterances):
        raise UserError(f"cannot hold out {count} of {len(utterances)} utterances; choose from 1 to all but 1")
    return _partition(utterances, {u.id for u in random.Random(seed).sample(utterances, count)})


def _partition(utterances: list[Utterance], held_out: set[str]) -> tuple[list[Utterance], list[Utterance]]:
    """Split utterances by whether their id is held out."""
    rest = [u for u in utterances if u.id not in held_out]
    return rest, [u for u in utterances if u.id in held_out]

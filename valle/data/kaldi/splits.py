"""Split utterances into two sets, by speakers or at random, and sample random subsets."""

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


def sample_per_speaker(utterances: list[Utterance], count: int, seed: int = 0) -> list[Utterance]:
    """Sample the same number of utterances of every speaker, as test sets need it (VALL-E, section 5.3: VCTK).

    Args:
        utterances: Utterances to sample from.
        count: Number of utterances of each speaker.
        seed: Seed of the selection. The sample of a speaker does not depend on which other speakers there are.

    Returns:
        The sampled utterances, in the order of `utterances`.

    Raises:
        UserError: `count` is not positive, or a speaker has fewer utterances.
    """
    if count < 1:
        raise UserError(f"cannot sample {count} utterances of each speaker; choose at least 1")
    ids_of_speaker: dict[str, list[str]] = {}
    for u in utterances:
        ids_of_speaker.setdefault(u.speaker, []).append(u.id)
    sampled: set[str] = set()
    for speaker, ids in ids_of_speaker.items():
        if len(ids) < count:
            raise UserError(
                f"cannot sample {count} utterances of each speaker: {speaker!r} has {len(ids)}; choose fewer, or hold "
                "this speaker out with valle-prepare split --speaker-list"
            )
        sampled.update(random.Random(f"{seed} {speaker}").sample(sorted(ids), count))
    return [u for u in utterances if u.id in sampled]


def sample_hours(utterances: list[Utterance], hours: float, seed: int = 0) -> list[Utterance]:
    """Sample utterances of about a total duration, for ablations of the amount of training data.

    Utterances are taken in a random order until the next one would exceed `hours`. With the same seed, the sample of
    fewer hours is therefore part of the sample of more hours.

    Args:
        utterances: Utterances with durations.
        hours: Maximum total duration in hours.
        seed: Seed of the order.

    Returns:
        The sampled utterances, in the order of `utterances`.

    Raises:
        UserError: The utterances last less than `hours`, or every sample would be longer.
    """
    available = sum(u.duration or 0.0 for u in utterances) / 3600
    if not 0 < hours <= available:
        raise UserError(f"cannot sample {hours:g} of {available:.4g} hours; choose more than 0 and at most all of them")
    shuffled = sorted(utterances, key=lambda u: u.id)
    random.Random(seed).shuffle(shuffled)
    sampled: set[str] = set()
    remaining = hours * 3600
    for u in shuffled:
        remaining -= u.duration or 0.0
        # Rounding errors must not exclude the last utterance of a sample of all hours.
        if remaining < -1e-6:
            break
        sampled.add(u.id)
    if not sampled:
        raise UserError(f"cannot sample {hours:g} hours: the first utterance is longer; choose more hours")
    return [u for u in utterances if u.id in sampled]


def _partition(utterances: list[Utterance], held_out: set[str]) -> tuple[list[Utterance], list[Utterance]]:
    """Split utterances by whether their id is held out."""
    rest = [u for u in utterances if u.id not in held_out]
    return rest, [u for u in utterances if u.id in held_out]

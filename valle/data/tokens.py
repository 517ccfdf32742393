"""Folders of tokens in Lhotse Shar format: codes and phonemes of every utterance of a data directory, in shards.

The files of a folder::

    OUT/cuts.000000.jsonl.gz   Lhotse cuts: id, duration, speaker and text, and in `custom`
                                   normalized  normalized text
                                   phonemes    phoneme symbols
                                   starts      frame at which each phoneme starts, if the data directory has phones.ctm
                                   prompt      first codebook of the untranscribed prompt, if it has utt2prompt
    OUT/codes.000000.tar       (time, codebook) int16 codes
    OUT/shard.000000.json      marker of a finished shard: number of utterances, seconds, phoneme symbols, and numbers
                               of utterances and seconds by duration, rounded up to whole seconds
    OUT/config.json            what the tokens were made from: see `TokensConfig`

`valle.data.tokenizer` writes such a folder, `valle.data.datamodule` reads it.
"""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valle.errors import UserError
from valle.files import read_text
from valle.text import PADDING, Vocabulary


@dataclass(frozen=True)
class TokensConfig:
    """What a folder of tokens was made from. Tokenizing continues only with the same configuration.

    Attributes:
        codec: Name of the codec.
        frame_rate: Frames of codes per second.
        num_codebooks: Codebooks of the codec.
        codebook_size: Entries of each codebook.
        language: espeak-ng language tag of the texts.
        shard_size: Utterances per shard.
        utterances: Utterances of the data directory.
        fingerprint: Hash of the data directory's content.
    """

    codec: str
    frame_rate: float
    num_codebooks: int
    codebook_size: int
    language: str
    shard_size: int
    utterances: int
    fingerprint: str

    @classmethod
    def read(cls, directory: Path) -> TokensConfig:
        """Read the configuration of a folder of tokens.

        Raises:
            UserError: The folder contains no tokens, or its configuration is damaged.
        """
        path = directory / "config.json"
        if not path.is_file():
            raise UserError(f"{directory}: contains no tokens; make them with valle-tokenize")
        try:
            return cls(**_read_json(path))
        except TypeError as error:
            raise UserError(f"{path}: is damaged or of another version; remove it and tokenize again") from error

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.utterances // self.shard_size)


def marker_path(directory: Path, shard: int) -> Path:
    """The marker of a shard, which is written after everything else in the shard."""
    return directory / f"shard.{shard:06d}.json"


def read_markers(directory: Path) -> list[dict[str, Any]]:
    """Read the markers of all shards.

    Args:
        directory: Folder of tokens.

    Returns:
        The content of each marker: `utterances`, `seconds`, `symbols` and, except in folders of earlier versions,
        `by_second`, which maps each duration, rounded up to whole seconds, to a number of utterances and their seconds.

    Raises:
        UserError: Tokenizing is unfinished, or a marker is damaged.
    """
    config = TokensConfig.read(directory)
    missing = [shard for shard in range(config.shards) if not marker_path(directory, shard).is_file()]
    if missing:
        raise UserError(
            f"{directory}: {len(missing)} of {config.shards} shards are missing; run the same valle-tokenize again"
        )
    return [_read_json(marker_path(directory, shard)) for shard in range(config.shards)]


@dataclass(frozen=True)
class Amount:
    """An amount of speech.

    Attributes:
        utterances: Number of utterances.
        seconds: Their total duration.
    """

    utterances: int = 0
    seconds: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        """Return the sum of two amounts."""
        return Amount(self.utterances + other.utterances, self.seconds + other.seconds)


def count_by_duration(directories: list[Path], max_seconds: float) -> tuple[Amount, Amount]:
    """Count the utterances of folders of tokens by whether they last at most `max_seconds`.

    Args:
        directories: Folders of tokens.
        max_seconds: Maximum duration in seconds.

    Returns:
        The amounts of speech in utterances of at most, and of more than, `max_seconds`.

    Raises:
        UserError: Tokenizing of a folder is unfinished, or a file is damaged.
    """
    amounts = {True: Amount(), False: Amount()}
    for directory in directories:
        for shard, marker in enumerate(read_markers(directory)):
            groups = marker.get("by_second")
            # Only the group that contains a fractional limit can have utterances on both sides of it.
            if groups is None or (max_seconds != math.ceil(max_seconds) and str(math.ceil(max_seconds)) in groups):
                for seconds in _read_durations(directory, shard).values():
                    amounts[seconds <= max_seconds] += Amount(1, seconds)
                continue
            for second, (utterances, seconds) in groups.items():
                amounts[int(second) <= max_seconds] += Amount(utterances, seconds)
    return amounts[True], amounts[False]


def find_by_duration(directories: list[Path], min_seconds: float, max_seconds: float) -> list[str]:
    """Find utterances by their duration. Only the shards that can have one are read.

    Args:
        directories: Folders of tokens.
        min_seconds: Duration that the utterances exceed.
        max_seconds: Duration that they do not exceed.

    Returns:
        Ids of the utterances.

    Raises:
        UserError: Tokenizing of a folder is unfinished, or a file is damaged.
    """
    ids = []
    for directory in directories:
        for shard, marker in enumerate(read_markers(directory)):
            groups = marker.get("by_second")
            if groups is not None and max(map(int, groups), default=0) <= min_seconds:
                continue
            durations = _read_durations(directory, shard)
            ids += [key for key, seconds in durations.items() if min_seconds < seconds <= max_seconds]
    return ids


def _read_durations(directory: Path, shard: int) -> dict[str, float]:
    """The duration of each utterance of a shard in seconds, by id."""
    path = directory / f"cuts.{shard:06d}.jsonl.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return {cut["id"]: cut["duration"] for cut in map(json.loads, lines)}
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); remove {marker_path(directory, shard)} and tokenize again"
        ) from error


def read_vocabulary(directories: list[Path]) -> Vocabulary:
    """Collect every phoneme symbol of folders of tokens.

    Args:
        directories: Folders of tokens.

    Returns:
        The vocabulary: padding, then the symbols in sorted order.

    Raises:
        UserError: Tokenizing of a folder is unfinished, or a marker is damaged.
    """
    symbols = {s for directory in directories for marker in read_markers(directory) for s in marker["symbols"]}
    return Vocabulary([PADDING, *sorted(symbols)])


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a folder of tokens."""
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error}); remove it and tokenize again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is damaged (not a JSON object); remove it and tokenize again")
    return content

"""Folders of tokens in Lhotse Shar format: codes and phonemes of every utterance of a data directory, in shards.

The files of a folder::

    OUT/cuts.000000.jsonl.gz   Lhotse cuts: id, duration, speaker and text, and in `custom`
                                   normalized  normalized text
                                   phonemes    phoneme symbols
                                   starts      frame at which each phoneme starts, if the data directory has phones.ctm
                                   prompt      first codebook of the untranscribed prompt, if it has utt2prompt
    OUT/codes.000000.tar       (time, codebook) int16 codes
    OUT/shard.000000.json      marker of a finished shard: number of utterances, seconds, phoneme symbols
    OUT/config.json            what the tokens were made from: see `TokensConfig`

`valle.data.tokenizer` writes such a folder, `valle.data.datamodule` reads it.
"""

from __future__ import annotations

import json
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
        The content of each marker: `utterances`, `seconds` and `symbols`.

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

"""Codes of audio files as the AR model sampled them, which preference pairs are made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from valle.errors import UserError
from valle.files import read_text

SAMPLES = "samples.jsonl"  # a `Sample` per line


@dataclass(frozen=True)
class Sample:
    """The AR model's sequence of an audio file: a line of samples.jsonl.

    Attributes:
        file: Name of the audio file.
        phonemes: Text units, of a transcribed prompt too.
        prefix: First codebook of the prompt; EOS tokens follow that of an untranscribed one.
        codes: Sampled codes, without EOS.
        truncated: Whether the length bound was reached before EOS.
    """

    file: str
    phonemes: list[str]
    prefix: list[int]
    codes: list[int]
    truncated: bool


def read_samples(folder: Path) -> dict[str, Sample]:
    """Read the samples of a folder that `valle-synth --save-samples` wrote, by file name.

    Raises:
        UserError: There are none, or the file is damaged.
    """
    path = folder / SAMPLES
    if not path.is_file():
        raise UserError(f"{path}: does not exist; synthesize with --data --attempts 1 --save-samples")
    samples = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            sample = Sample(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}, line {number}: is damaged ({error}); remove the line") from error
        # Later lines are those of files that were synthesized again.
        samples[sample.file] = sample
    return samples

"""Read, validate and repair a data directory as a whole."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from valle import audio
from valle.data.kaldi.checker import OPTIONAL, REQUIRED, Report, check
from valle.data.kaldi.writer import write
from valle.data.utterance import Utterance
from valle.errors import UserError

# Folder in the data directory where `fix` saves the original files, as Kaldi's fix_data_dir.sh does.
BACKUP = ".backup"


def validate(directory: str | Path, *, allow_pipes: bool = False, language: str = "en-us") -> list[str]:
    """List every error of a data directory.

    Args:
        directory: Data directory.
        allow_pipes: Whether pipes in wav.scp are warnings instead of errors.
        language: espeak-ng language tag of the texts.

    Returns:
        One string per error with file, line and description; none if the directory is usable.

    Raises:
        UserError: The directory does not exist or cannot be read.
    """
    report = check(Path(directory), allow_pipes=allow_pipes, language=language)
    return [str(problem) for problem in report.errors]


def read(directory: str | Path, *, transcribed: bool = True) -> list[Utterance]:
    """Read the utterances of a data directory. The audio files are not opened.

    Args:
        directory: Data directory.
        transcribed: Whether every utterance must have a transcript; otherwise the text may be "".

    Returns:
        The utterances, sorted by id.

    Raises:
        UserError: The directory has an error or contains no utterances; the message names the first error.
    """
    report = check(Path(directory), contents=False, transcribed=transcribed)
    if report.errors:
        more = f" (and {len(report.errors) - 1} more)" if len(report.errors) > 1 else ""
        raise UserError(f"{report.errors[0]}{more}; see valle-prepare validate, and fix")
    if not report.utterances:
        raise UserError(f"{directory}: contains no utterances; check the path")
    return report.utterances


def fix(directory: str | Path, language: str = "en-us") -> tuple[int, Report]:
    """Repair a data directory and drop the utterances that are unusable.

    Sorts the files, normalizes spaces and line ends, renames ids that cannot be file names, truncates segments at the
    end of their recording, and takes durations from the audio. The original files are saved in the folder `.backup`.

    Args:
        directory: Data directory.
        language: espeak-ng language tag of the texts.

    Returns:
        The number of utterances that remain, and the problems before the repair.

    Raises:
        UserError: No utterance would remain, or a file cannot be read or written.
    """
    directory = Path(directory)
    report = check(directory, language=language)
    if not report.utterances:
        first = report.problems[0] if report.problems else "it is empty"
        raise UserError(f"{directory}: no utterance is usable; first error: {first}")
    names = [name for name in (*REQUIRED, *OPTIONAL, "phones.ctm") if (directory / name).is_file()]
    if report.problems:
        (directory / BACKUP).mkdir(exist_ok=True)
        for name in names:
            shutil.copyfile(directory / name, directory / BACKUP / name)
        write(directory, report.utterances)
    return len(report.utterances), report


def with_durations(utterances: list[Utterance]) -> list[Utterance]:
    """Fill in missing durations from the headers of the audio files.

    Args:
        utterances: Utterances with or without durations.

    Returns:
        The utterances, all with durations.

    Raises:
        UserError: An audio file cannot be read.
    """
    return [
        u if u.duration is not None else replace(u, duration=(u.end or audio.duration(u.path)) - u.start)
        for u in utterances
    ]

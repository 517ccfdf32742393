"""Utterances of LibriLight and Libriheavy, which are segments of the same long recordings of audiobooks.

LibriLight (Kahn et al. 2019, arXiv 1912.07875), the training data of VALL-E, has no transcripts; the files are::

    PART/SPEAKER/BOOK/CHAPTER.flac
    PART/SPEAKER/BOOK/CHAPTER.json    among others "speaker" and "voice_activity", a list of [start, end] in seconds

Libriheavy (Kang et al. 2023, arXiv 2309.08105), the training data of VALL-E 2, has these files, as its run.sh writes
them, with the recordings of LibriLight below `download/librilight`::

    libriheavy_cuts_PART.jsonl.gz     Lhotse cuts with the speaker and the text, with case and punctuation
"""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

from valle.data.utterance import Utterance
from valle.errors import UserError
from valle.files import read_text
from valle.optional import require

# Seconds. VALL-E trains on segments of 10 to 20 seconds (section 5.1).
MAX_SECONDS = 20.0
# Seconds. Speech around a longer pause is not joined.
MAX_PAUSE = 1.0
# Start of the paths of recordings in the manifests of Libriheavy.
LIBRIHEAVY_AUDIO = "download/librilight"
# Characters of an id that name book, chapter and segment; ids are file names, which must not be too long.
MAX_BOOK_NAME = 150
_MANIFEST = "libriheavy_cuts_{}.jsonl.gz"


def librilight_parts(directory: Path) -> list[str]:
    """Names of the parts of LibriLight in a folder: of "small", "medium", "large" and "duplicate" those that exist."""
    return sorted({path.parts[-4] for path in directory.glob("*/*/*/*.flac")})


def read_librilight(directory: Path, part: str) -> list[Utterance]:
    """Read a part of LibriLight.

    Neighbouring segments of speech are joined to utterances of at most `MAX_SECONDS`, pauses included; a longer segment
    is divided into equal parts.

    Args:
        directory: Folder of the unpacked corpus.
        part: Name of the part.

    Returns:
        The utterances, without texts.

    Raises:
        UserError: A recording has no JSON file, or one of another format.
    """
    utterances = []
    for recording in sorted((directory / part).glob("*/*/*.flac")):
        path = recording.with_suffix(".json")
        try:
            metadata = json.loads(read_text(path))
            speaker = str(metadata["speaker"])
            segments = [(float(start), float(end)) for start, end in metadata["voice_activity"]]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not the metadata of LibriLight ({error!r}); unpack the corpus again") from error
        name = _name(speaker, f"{recording.parent.name}/{recording.stem}")
        for number, (start, end) in enumerate(_join(segments)):
            utterance = Utterance(
                id=f"{name}_{number:04d}",
                path=recording,
                text="",
                speaker=speaker,
                start=start,
                end=end,
                duration=round(end - start, 3),
            )
            utterances.append(utterance)
    return utterances


def libriheavy_parts(directory: Path) -> list[str]:
    """Names of the parts of Libriheavy whose manifests are in a folder, such as "small" and "test_clean"."""
    prefix, suffix = _MANIFEST.split("{}")
    return sorted(path.name[len(prefix) : -len(suffix)] for path in directory.glob(_MANIFEST.format("*")))


def read_libriheavy(directory: Path, part: str) -> list[Utterance]:
    """Read a part of Libriheavy.

    Args:
        directory: Folder of the manifests, with the recordings at the paths of the manifests, relative to it.
        part: Name of the part.

    Returns:
        The utterances with a text, with case and punctuation.

    Raises:
        UserError: The manifest has another format, or names a recording that does not exist.
    """
    lhotse: Any = require("lhotse", "train")

    path = directory / _MANIFEST.format(part)
    recordings: dict[str, Path] = {}
    utterances = []
    try:
        for cut in lhotse.CutSet.from_jsonl_lazy(path):
            source = cut.recording.sources[0].source
            if source not in recordings:
                recordings[source] = _find_recording(directory, source)
            supervision = cut.supervisions[0]
            # The first text is from the book, the second one from a recognizer.
            text = ((supervision.custom or {}).get("texts") or [supervision.text or ""])[0]
            if not text.split():
                continue
            utterance = Utterance(
                id=_name(supervision.speaker, cut.id.split("/", 2)[-1]),
                path=recordings[source],
                text=" ".join(text.split()),
                speaker=supervision.speaker,
                start=cut.start,
                end=cut.end,
                duration=cut.duration,
            )
            utterances.append(utterance)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError, EOFError) as error:
        raise UserError(f"{path}: not a manifest of Libriheavy ({error!r}); download it again") from error
    return utterances


def _find_recording(directory: Path, source: str) -> Path:
    """The recording of a manifest."""
    path = directory / source
    if not path.is_file():
        raise UserError(
            f"{path}: no such recording; put LibriLight, or a link to it, at {directory / LIBRIHEAVY_AUDIO}"
        )
    return path


def _join(segments: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join neighbouring segments, and divide long ones, to at most `MAX_SECONDS`."""
    joined: list[tuple[float, float]] = []
    for start, end in segments:
        if joined and start - joined[-1][1] <= MAX_PAUSE and end - joined[-1][0] <= MAX_SECONDS:
            joined[-1] = (joined[-1][0], end)
            continue
        count = max(1, math.ceil((end - start) / MAX_SECONDS))
        times = [round(start + (end - start) * index / count, 3) for index in range(count + 1)]
        joined += itertools.pairwise(times)
    return joined


def _name(speaker: str, name: str) -> str:
    """An id that begins with the speaker. The end of a long name is what tells chapters apart."""
    name = re.sub(r"[^\w.-]+", "_", name.replace("/", "-"))
    return f"{speaker}-{name[-MAX_BOOK_NAME:]}"

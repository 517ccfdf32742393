"""Make data directories of published corpora, most with Lhotse's recipes, and of lists of recordings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from valle import audio
from valle.data import audiobooks, kaldi
from valle.data.utterance import Utterance
from valle.errors import UserError
from valle.files import read_text
from valle.optional import require

# LJSpeech has one speaker, whom its files do not name.
LJSPEECH_SPEAKER = "linda_johnson"
# Speaker of a list that names none.
DEFAULT_SPEAKER = "speaker"
# Seconds. A transcript that covers its recording except for less than this is that of the whole recording.
WHOLE_TOLERANCE = 0.02
_LIST_FORMAT = "a line FILE|TEXT or FILE|SPEAKER|TEXT per recording"


def prepare(corpus: str, directory: Path, output: Path, parts: list[str] | None = None) -> dict[str, int]:
    """Write a data directory `output/<part>` for each part of a corpus.

    Args:
        corpus: "libritts", "librispeech", "ljspeech", "vctk", "libriheavy" or "librilight".
        directory: Folder of the unpacked corpus.
        output: Folder for the data directories. Those of LibriLight have no transcripts.
        parts: Parts of the corpus; None for all. LJSpeech and VCTK have no parts.

    Returns:
        The number of utterances of each part.

    Raises:
        UserError: The folder does not contain the corpus, or not all of its parts.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such folder; give the folder of the unpacked {corpus}")
    counts = {}
    for part, utterances in _parts(corpus, directory, parts):
        if not utterances:
            raise UserError(f"{directory}: part {part!r} contains no usable recordings; unpack the corpus again")
        kaldi.write(output / part, utterances)
        counts[part] = len(utterances)
    return counts


def prepare_list(path: Path, output: Path) -> int:
    """Write a data directory of listed recordings.

    Args:
        path: UTF-8 file with a line `FILE|TEXT` or `FILE|SPEAKER|TEXT` per recording, with files relative to the folder
            of the list.
        output: Data directory to write.

    Returns:
        The number of utterances.

    Raises:
        UserError: The list cannot be read or is empty; or names the first line that is unusable.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such list; give a file with {_LIST_FORMAT}")
    utterances: dict[str, Utterance] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        utterance = _parse_line(path, number, line)
        if utterance.id in utterances:
            name = line.partition("|")[0].strip()
            raise UserError(f"{path}:{number}: {name} occurs twice for {utterance.speaker}; remove one of the lines")
        utterances[utterance.id] = utterance
    if not utterances:
        raise UserError(f"{path}: is empty; write {_LIST_FORMAT}")
    kaldi.write(output, list(utterances.values()))
    return len(utterances)


def _parse_line(path: Path, number: int, line: str) -> Utterance:
    """The recording of a line of a list."""
    fields = [" ".join(field.split()) for field in line.split("|")]
    if len(fields) not in (2, 3) or not all(fields):
        raise UserError(f"{path}:{number}: expected FILE|TEXT or FILE|SPEAKER|TEXT, none of them empty")
    name = fields[0]
    speaker = fields[1] if len(fields) == 3 else DEFAULT_SPEAKER
    recording = path.parent / name
    if not recording.is_file():
        raise UserError(f"{path}:{number}: {recording} does not exist; check the path")
    # Ids and speakers are single words in a data directory, and ids are file names.
    speaker = re.sub(r"[^\w-]+", "_", speaker)
    stem = re.sub(r"[^\w-]+", "_", str(Path(name).with_suffix("")))
    return Utterance(
        id=f"{speaker}-{stem}",
        path=recording,
        text=fields[-1],
        speaker=speaker,
        duration=audio.duration(recording),
    )


def _parts(corpus: str, directory: Path, parts: list[str] | None) -> Iterator[tuple[str, list[Utterance]]]:
    """The utterances of each part of a corpus, one part at a time: those of audiobooks have millions."""
    if corpus == "libriheavy":
        for part in _choose(parts, audiobooks.libriheavy_parts(directory), directory, "libriheavy_cuts_PART.jsonl.gz"):
            yield part, audiobooks.read_libriheavy(directory, part)
    elif corpus == "librilight":
        for part in _choose(parts, audiobooks.librilight_parts(directory), directory, "PART/SPEAKER/BOOK/*.flac"):
            yield part, audiobooks.read_librilight(directory, part)
    else:
        try:
            manifests = _manifests(corpus, directory, parts)
        except (AssertionError, FileNotFoundError, ValueError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{directory}: not {corpus} as it is distributed ({reason})") from error
        for part, manifest in manifests.items():
            yield part, _utterances(manifest["recordings"], manifest["supervisions"])


def _choose(parts: list[str] | None, available: list[str], directory: Path, files: str) -> list[str]:
    """The parts to prepare: `parts`, or all that are available; `files` is the pattern of the corpus's files."""
    if parts and (missing := sorted(set(parts) - set(available))):
        raise UserError(f"{directory}: has no part {missing[0]!r}; it has {', '.join(available) or 'none'}")
    if not available:
        raise UserError(f"{directory}: contains no {files}; give the folder of the unpacked corpus")
    return parts or available


def _manifests(corpus: str, directory: Path, parts: list[str] | None) -> dict[str, dict[str, Any]]:
    """Lhotse's recordings and supervisions of each part of a corpus."""
    recipes: Any = require("lhotse.recipes", "train")

    if corpus in ("libritts", "librispeech"):
        pattern = {"libritts": "*/*/*/*.wav", "librispeech": "*/*/*/*.flac"}[corpus]
        available = sorted({path.parts[-4] for path in directory.glob(pattern)})
        chosen = _choose(parts, available, directory, pattern.replace("*/*/*", "PART/SPEAKER/CHAPTER"))
        prepare_parts = recipes.prepare_libritts if corpus == "libritts" else recipes.prepare_librispeech
        return prepare_parts(directory, dataset_parts=chosen)
    if parts:
        raise UserError(f"--parts: {corpus} has no parts; leave it out")
    if corpus == "ljspeech":
        return {"all": recipes.prepare_ljspeech(directory)}
    # The folder is called so since VCTK 0.92; before, it was wav48.
    trimmed = directory / "wav48_silence_trimmed"
    return {"all": recipes.prepare_vctk(directory, use_edinburgh_vctk_url=trimmed.is_dir())}


def _utterances(recordings: Any, supervisions: Any) -> list[Utterance]:
    """The utterances of Lhotse's recordings and supervisions."""
    recording_of_id = {recording.id: recording for recording in recordings}
    utterances = []
    for supervision in supervisions:
        recording = recording_of_id[supervision.recording_id]
        is_whole = supervision.start == 0 and abs(supervision.duration - recording.duration) < WHOLE_TOLERANCE
        text = (supervision.custom or {}).get("normalized_text") or supervision.text
        utterance = Utterance(
            id=supervision.id,
            path=Path(recording.sources[0].source),
            text=" ".join(text.split()),
            speaker=supervision.speaker or LJSPEECH_SPEAKER,
            start=supervision.start,
            end=None if is_whole else supervision.end,
            duration=supervision.duration,
        )
        utterances.append(utterance)
    return utterances

"""Corpora to Kaldi data directories: known ones, found and read by Lhotse's recipes, and one's own from a list."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from valle import audio
from valle.data import kaldi
from valle.errors import UserError
from valle.files import read_text

LJSPEECH_SPEAKER = "linda_johnson"  # its files name no speaker: there is one


def _manifests(corpus: str, directory: Path, parts: list[str] | None) -> dict[str, dict[str, Any]]:
    """Lhotse's manifests by part of the corpus."""
    from lhotse import recipes

    if corpus in ("libritts", "librispeech"):
        marker = {"libritts": "*/*/*/*.wav", "librispeech": "*/*/*/*.flac"}[corpus]
        found = sorted({path.parts[-4] for path in directory.glob(marker)})
        if parts and (missing := sorted(set(parts) - set(found))):
            raise UserError(f"{directory}: holds no part {missing[0]!r}; it has {', '.join(found) or 'none'}")
        if not found:
            raise UserError(f"{directory}: not {corpus}; expected PART/SPEAKER/CHAPTER/ folders with recordings")
        prepare = recipes.prepare_libritts if corpus == "libritts" else recipes.prepare_librispeech
        return prepare(directory, dataset_parts=parts or found)
    if parts:
        raise UserError(f"--parts: {corpus} has no parts")
    if corpus == "ljspeech":
        return {"all": recipes.prepare_ljspeech(directory)}
    trimmed = directory / "wav48_silence_trimmed"  # VCTK 0.92; before it was wav48/
    return {"all": recipes.prepare_vctk(directory, use_edinburgh_vctk_url=trimmed.is_dir())}


def prepare(corpus: str, directory: Path, output: Path, parts: list[str] | None = None) -> dict[str, int]:
    """Write `output/<part>/` for each part of a corpus; returns the number of utterances by part.

    Raises UserError when the folder is not such a corpus.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such folder; give where {corpus} was unpacked")
    try:
        manifests = _manifests(corpus, directory, parts)
    except (AssertionError, FileNotFoundError, ValueError, IndexError) as error:
        raise UserError(f"{directory}: not {corpus} as it is distributed ({str(error).splitlines()[0]})") from error
    counts = {}
    for part, found in manifests.items():
        utterances = _utterances(found["recordings"], found["supervisions"])
        if not utterances:
            raise UserError(f"{directory}: part {part!r} holds no transcribed recordings")
        kaldi.write(output / part, utterances)
        counts[part] = len(utterances)
    return counts


def _utterances(recordings: Any, supervisions: Any) -> list[kaldi.Utterance]:
    by_id = {recording.id: recording for recording in recordings}
    found = []
    for line in supervisions:
        recording = by_id[line.recording_id]
        whole = line.start == 0 and abs(line.duration - recording.duration) < 0.02
        found.append(
            kaldi.Utterance(
                line.id,
                Path(recording.sources[0].source),
                " ".join(((line.custom or {}).get("normalized_text") or line.text).split()),
                line.speaker or LJSPEECH_SPEAKER,
                start=line.start,
                end=None if whole else line.end,
                duration=line.duration,
            )
        )
    return found


def prepare_list(path: Path, output: Path) -> int:
    """A list with a line `FILE|TEXT` or `FILE|SPEAKER|TEXT` a recording -> a data directory; returns its utterances.

    Files are seen from the list's folder. Raises UserError that names the first line that cannot be used.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such list; it has a line FILE|TEXT or FILE|SPEAKER|TEXT a recording")
    found: dict[str, kaldi.Utterance] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        fields = [" ".join(field.split()) for field in line.split("|")]
        if len(fields) not in (2, 3) or not all(fields):
            raise UserError(f"{path}:{number}: expected FILE|TEXT or FILE|SPEAKER|TEXT")
        name, speaker, text = fields[0], fields[1] if len(fields) == 3 else "speaker", fields[-1]
        recording = path.parent / name
        if not recording.is_file():
            raise UserError(f"{path}:{number}: {recording} is not there")
        speaker, stem = (re.sub(r"[^\w-]+", "_", part) for part in (speaker, str(Path(name).with_suffix(""))))
        key = f"{speaker}-{stem}"
        if key in found:
            raise UserError(f"{path}:{number}: {name} is there twice for {speaker}")
        found[key] = kaldi.Utterance(key, recording, text, speaker, duration=audio.duration(recording))
    if not found:
        raise UserError(f"{path}: is empty; it has a line FILE|TEXT or FILE|SPEAKER|TEXT a recording")
    kaldi.write(output, list(found.values()))
    return len(found)

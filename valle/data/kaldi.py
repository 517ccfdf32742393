"""Kaldi data directories: read, write, validate, fix, split.

    wav.scp    <utterance or recording> <path>
    text       <utterance> <words>
    utt2spk    <utterance> <speaker>
    spk2utt    <speaker> <utterance> ...
    segments   <utterance> <recording> <start> <end>    (optional; seconds; end -1: the end of the recording)
    utt2dur    <utterance> <duration>                   (optional; seconds)
    phones.ctm <utterance> 1 <start> <duration> <phone> (optional; seconds; `sil` for a pause)
    utt2prompt <utterance> <start> <end> <path>         (optional; seconds; an untranscribed prompt, see `Utterance`)

Every file is UTF-8, sorted by its first field in the C locale and, but for phones.ctm, names a key once. Other files of
Kaldi's may be there: they are compared with these by `validate` and never changed.
"""

from __future__ import annotations

import random
import re
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from valle import audio
from valle.data.kaldi_check import OPTIONAL, REQUIRED, Report, check
from valle.data.utterance import MAX_DURATION, Stretch, Utterance
from valle.errors import UserError
from valle.files import file_name_problem, read_text, write_text

__all__ = [
    "MAX_DURATION",
    "Report",
    "Stretch",
    "Utterance",
    "check",
    "fix",
    "read",
    "split",
    "split_listed",
    "split_utterances",
    "validate",
    "with_durations",
    "write",
]

BACKUP = ".backup"  # folder of what `fix` changed, as Kaldi's fix_data_dir.sh keeps it
_LINE_BREAKING = re.compile(r"[\n\r\v\f]")


def validate(directory: str | Path, *, allow_pipes: bool = False, language: str = "en-us") -> list[str]:
    """Every error of a data directory as `file:line: what is wrong`; an empty list means that it can be used."""
    return [str(p) for p in check(Path(directory), allow_pipes=allow_pipes, language=language).errors]


def read(directory: str | Path) -> list[Utterance]:
    """Read the utterances of a data directory. Raises UserError that names the first error of its files."""
    report = check(Path(directory), contents=False)
    if report.errors:
        more = f" (and {len(report.errors) - 1} more)" if len(report.errors) > 1 else ""
        raise UserError(f"{report.errors[0]}{more}; see valle-prepare validate, and fix")
    if not report.utterances:
        raise UserError(f"{directory}: holds no utterances")
    return report.utterances


def write(directory: str | Path, utterances: list[Utterance]) -> None:
    """Write a data directory. What is read back is equal, where paths are absolute.

    segments is written where an utterance is part of a recording, utt2dur where all durations are available, phones.ctm
    where an utterance is aligned, and utt2prompt where one has a prompt; those of before are removed where not.

    Raises UserError for an utterance that the files cannot hold, such as one whose id contains a space.
    """
    directory = Path(directory)
    utterances = sorted(utterances, key=lambda u: u.id.encode())
    seen: set[str] = set()
    for u in utterances:
        _check_writable(u, seen)
    tables: dict[str, list[str]] = {"text": [f"{u.id} {u.text}" for u in utterances]}
    tables["utt2spk"] = [f"{u.id} {u.speaker}" for u in utterances]
    by_speaker = defaultdict(list)
    for u in utterances:
        by_speaker[u.speaker].append(u.id)
    tables["spk2utt"] = [f"{s} {' '.join(by_speaker[s])}" for s in sorted(by_speaker, key=str.encode)]
    if any(u.end is not None or u.start or u.recording for u in utterances):
        names = _recording_names(utterances)
        ends = [u.end if u.end is not None else audio.duration(u.path) for u in utterances]
        tables["segments"] = [
            f"{u.id} {names[u.path]} {_seconds(u.start)} {_seconds(end)}"
            for u, end in zip(utterances, ends, strict=True)
        ]
        tables["wav.scp"] = sorted((f"{name} {path.absolute()}" for path, name in names.items()), key=str.encode)
    else:
        tables["wav.scp"] = [f"{u.id} {u.path.absolute()}" for u in utterances]
    if all(u.duration is not None for u in utterances):
        tables["utt2dur"] = [f"{u.id} {_seconds(u.duration or 0.0)}" for u in utterances]
    if any(u.phones for u in utterances):
        tables["phones.ctm"] = [line for u in utterances for line in _ctm(u)]
    prompts = [(u.id, u.prompt) for u in utterances if u.prompt is not None]
    if prompts:
        tables["utt2prompt"] = [
            f"{key} {_seconds(p.start)} {_seconds(p.end)} {p.path.absolute()}" for key, p in prompts
        ]
    for name, lines in tables.items():
        write_text(directory / name, "".join(f"{line}\n" for line in lines))
    for name in (*OPTIONAL, "phones.ctm"):
        if name not in tables:
            (directory / name).unlink(missing_ok=True)


def _check_writable(u: Utterance, seen: set[str]) -> None:
    """Raise UserError for an utterance that the files cannot hold; `seen` collects the ids."""
    if wrong := file_name_problem(u.id):
        raise UserError(f"utterance {u.id!r}: its id {wrong}; rename it")
    if u.id in seen:
        raise UserError(f"utterance {u.id!r}: occurs twice; give each its own id")
    seen.add(u.id)
    for name, value in (("id", u.id), ("speaker", u.speaker), ("recording", u.recording or "-")):
        if value.split() != [value]:
            raise UserError(f"utterance {u.id!r}: its {name} {value!r} is not one word; rename it")
    for name, value in (("text", u.text), ("path", str(u.path))):
        if not value or value != value.strip(" \t") or _LINE_BREAKING.search(value):
            raise UserError(f"utterance {u.id!r}: its {name} {value!r} is not one line; take out what surrounds it")
    for _, start in u.phones or ():
        if not start >= 0:
            raise UserError(f"utterance {u.id!r}: a phone begins at {start} s; align it again")


def _recording_names(utterances: list[Utterance]) -> dict[Path, str]:
    """The name of each recording in wav.scp: the one it had, or its file's, made distinct."""
    names = {u.path: u.recording for u in utterances if u.recording}
    taken = set(names.values())
    for path in sorted({u.path for u in utterances} - names.keys()):
        stem = re.sub(r"\s+", "_", path.stem)
        name = stem
        count = 1
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(name)
        names[path] = name
    return names


def _seconds(value: float) -> str:
    """The shortest decimal that reads back as the same number."""
    return repr(float(value))


def _ctm(u: Utterance) -> list[str]:
    """The lines of phones.ctm. Their durations are for other programs: we read the starts."""
    phones = u.phones or ()
    starts = [start for _, start in phones]
    ends = [*starts[1:], u.duration or starts[-1]] if phones else []
    return [
        f"{u.id} 1 {_seconds(start)} {max(0.0, end - start):.3f} {phone or 'sil'}"
        for (phone, start), end in zip(phones, ends, strict=True)
    ]


def fix(directory: str | Path, language: str = "en-us") -> tuple[int, Report]:
    """Repair a data directory and drop the utterances that cannot be used.

    The files are sorted, spaces and line ends made plain, ids made fit to name files, segments cut at the end of their
    recording, and durations taken from the audio. The files of before are kept in the folder `.backup`.

    Args:
        directory: Data directory.
        language: espeak-ng's tag of the language that the texts must be speakable in.

    Returns:
        How many utterances remain, and what was wrong.

    Raises:
        UserError: Nothing would remain.
    """
    directory = Path(directory)
    report = check(directory, language=language)
    if not report.utterances:
        first = report.problems[0] if report.problems else "it is empty"
        raise UserError(f"{directory}: nothing would be left; first error: {first}")
    names = [name for name in (*REQUIRED, *OPTIONAL, "phones.ctm") if (directory / name).is_file()]
    if report.problems:
        (directory / BACKUP).mkdir(exist_ok=True)
        for name in names:
            shutil.copyfile(directory / name, directory / BACKUP / name)
        write(directory, report.utterances)
    return len(report.utterances), report


def split(utterances: list[Utterance], speakers: int, seed: int = 0) -> tuple[list[Utterance], list[Utterance]]:
    """Part off `speakers` randomly chosen speakers: (the rest, theirs). No speaker is on both sides."""
    names = sorted({u.speaker for u in utterances})
    if not 0 < speakers < len(names):
        raise UserError(f"cannot hold out {speakers} of {len(names)} speakers; choose from 1 to all but 1")
    chosen = set(random.Random(seed).sample(names, speakers))
    return [u for u in utterances if u.speaker not in chosen], [u for u in utterances if u.speaker in chosen]


def split_listed(utterances: list[Utterance], speaker_list: Path) -> tuple[list[Utterance], list[Utterance]]:
    """Part the speakers off that a file names, one a line. Raises UserError for one who says nothing here."""
    if not speaker_list.is_file():
        raise UserError(f"{speaker_list}: no such list of speakers")
    listed = set(read_text(speaker_list).split())
    if unknown := sorted(listed - {u.speaker for u in utterances}):
        raise UserError(f"{speaker_list}: {unknown[0]!r} is no speaker of the data; take it out of the list")
    rest, held_out = [u for u in utterances if u.speaker not in listed], [u for u in utterances if u.speaker in listed]
    if not rest or not held_out:
        raise UserError(f"{speaker_list}: must name some of the speakers, and not all")
    return rest, held_out


def split_utterances(utterances: list[Utterance], count: int, seed: int = 0) -> tuple[list[Utterance], list[Utterance]]:
    """Part off `count` randomly chosen utterances: (the rest, these). For corpora of one speaker."""
    if not 0 < count < len(utterances):
        raise UserError(f"cannot hold out {count} of {len(utterances)} utterances; choose from 1 to all but 1")
    chosen = {u.id for u in random.Random(seed).sample(utterances, count)}
    return [u for u in utterances if u.id not in chosen], [u for u in utterances if u.id in chosen]


def with_durations(utterances: list[Utterance]) -> list[Utterance]:
    """Fill in the durations that are missing, from the sound files' headers."""
    return [
        u if u.duration is not None else replace(u, duration=(u.end or audio.duration(u.path)) - u.start)
        for u in utterances
    ]

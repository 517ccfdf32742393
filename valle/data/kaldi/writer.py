"""Write utterances as a data directory."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from valle import audio
from valle.data.kaldi.annotations import SILENCE
from valle.data.kaldi.checker import OPTIONAL
from valle.data.utterance import Utterance
from valle.errors import UserError
from valle.files import file_name_problem, write_text

_LINE_BREAK = re.compile(r"[\n\r\v\f]")


def write(directory: str | Path, utterances: list[Utterance]) -> None:
    """Write a data directory. `read` returns equal utterances if their paths are absolute.

    segments is written if an utterance is a part of a recording, utt2dur if every duration is available, phones.ctm if
    an utterance is aligned, and utt2prompt if an utterance has a prompt. Otherwise an existing file of that name is
    removed, because it would contradict the others. Without any transcript, neither is text written, which
    valle-prepare transcribe adds.

    Args:
        directory: Data directory, created if it does not exist.
        utterances: Utterances in any order.

    Raises:
        UserError: An utterance cannot be represented, for example because its id contains a space, or a file cannot be
            written.
    """
    directory = Path(directory)
    utterances = sorted(utterances, key=lambda u: u.id.encode())
    seen: set[str] = set()
    transcribed = not utterances or any(u.text for u in utterances)
    for utterance in utterances:
        _check_representable(utterance, seen, transcribed=transcribed)
    tables = _tables(utterances)
    if not transcribed:
        del tables["text"]
    for name, lines in tables.items():
        write_text(directory / name, "".join(f"{line}\n" for line in lines))
    for name in (*OPTIONAL, "phones.ctm", "text"):
        if name not in tables:
            (directory / name).unlink(missing_ok=True)


def _check_representable(utterance: Utterance, seen: set[str], *, transcribed: bool) -> None:
    """Raise UserError for an utterance that the files cannot represent; `seen` collects the ids."""
    name = f"utterance {utterance.id!r}"
    if problem := file_name_problem(utterance.id):
        raise UserError(f"{name}: its id {problem}; rename it")
    if utterance.id in seen:
        raise UserError(f"{name}: occurs twice; ids must differ")
    seen.add(utterance.id)
    keys = (("id", utterance.id), ("speaker", utterance.speaker), ("recording", utterance.recording or "-"))
    for field, value in keys:
        if value.split() != [value]:
            raise UserError(f"{name}: its {field} {value!r} is not one word; rename it")
    lines = [("text", utterance.text)] if transcribed else []
    for field, value in (*lines, ("path", str(utterance.path))):
        if not value or value != value.strip(" \t") or _LINE_BREAK.search(value):
            raise UserError(f"{name}: its {field} {value!r} is not one line; remove line breaks and surrounding spaces")
    for _, start in utterance.phones or ():
        if not start >= 0:
            raise UserError(f"{name}: a phone begins at {start} s; align it again")


def _tables(utterances: list[Utterance]) -> dict[str, list[str]]:
    """The lines of every file of a data directory."""
    tables = {
        "text": [f"{u.id} {u.text}" for u in utterances],
        "utt2spk": [f"{u.id} {u.speaker}" for u in utterances],
        "spk2utt": _spk2utt(utterances),
    }
    if any(u.end is not None or u.start or u.recording for u in utterances):
        names = _recording_names(utterances)
        tables["segments"] = _segments(utterances, names)
        tables["wav.scp"] = sorted((f"{name} {path.absolute()}" for path, name in names.items()), key=str.encode)
    else:
        tables["wav.scp"] = [f"{u.id} {u.path.absolute()}" for u in utterances]
    if all(u.duration is not None for u in utterances):
        tables["utt2dur"] = [f"{u.id} {_format_seconds(u.duration or 0.0)}" for u in utterances]
    if any(u.phones for u in utterances):
        tables["phones.ctm"] = [line for u in utterances for line in _ctm(u)]
    prompts = [(u.id, u.prompt) for u in utterances if u.prompt is not None]
    if prompts:
        tables["utt2prompt"] = [
            f"{key} {_format_seconds(prompt.start)} {_format_seconds(prompt.end)} {prompt.path.absolute()}"
            for key, prompt in prompts
        ]
    return tables


def _spk2utt(utterances: list[Utterance]) -> list[str]:
    """The lines of spk2utt."""
    ids = defaultdict(list)
    for u in utterances:
        ids[u.speaker].append(u.id)
    return [f"{speaker} {' '.join(ids[speaker])}" for speaker in sorted(ids, key=str.encode)]


def _segments(utterances: list[Utterance], recording_names: dict[Path, str]) -> list[str]:
    """The lines of segments."""
    lines = []
    for u in utterances:
        end = audio.duration(u.path) if u.end is None else u.end
        lines.append(f"{u.id} {recording_names[u.path]} {_format_seconds(u.start)} {_format_seconds(end)}")
    return lines


def _recording_names(utterances: list[Utterance]) -> dict[Path, str]:
    """The name of each audio file in wav.scp: its earlier name, or its stem with a number if that is taken."""
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


def _format_seconds(value: float) -> str:
    """The shortest decimal that parses to the same number, so that nothing is lost in writing."""
    return repr(float(value))


def _ctm(utterance: Utterance) -> list[str]:
    """The lines of phones.ctm. The durations are for other programs: `read` uses the starts alone."""
    phones = utterance.phones or ()
    starts = [start for _, start in phones]
    ends = [*starts[1:], utterance.duration or starts[-1]] if phones else []
    return [
        f"{utterance.id} 1 {_format_seconds(start)} {max(0.0, end - start):.3f} {phone or SILENCE}"
        for (phone, start), end in zip(phones, ends, strict=True)
    ]

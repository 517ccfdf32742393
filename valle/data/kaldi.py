"""Kaldi data directories: read, validate, fix, write, split by speaker.

    wav.scp    <utterance or recording> <path>
    text       <utterance> <words>
    utt2spk    <utterance> <speaker>
    spk2utt    <speaker> <utterance> ...
    segments   <utterance> <recording> <start> <end>    (optional; seconds)
    utt2dur    <utterance> <duration>                   (optional; seconds)
    phones.ctm <utterance> 1 <start> <duration> <phone> (optional; seconds; `sil` for a pause)
    utt2prompt <utterance> <start> <end> <path>         (optional; seconds; an untranscribed prompt, see `Utterance`)

Every file is sorted by its first field in the C locale and, but for phones.ctm, names a key once.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from valle import audio
from valle.errors import UserError
from valle.files import write_text

REQUIRED = ("wav.scp", "text", "utt2spk", "spk2utt")


@dataclass(frozen=True)
class Stretch:
    """A part of a sound file, from `start` to `end` in seconds."""

    path: Path
    start: float
    end: float


@dataclass(frozen=True)
class Utterance:
    """One line of speech.

    path:  sound file
    start, end: seconds in it; end None means to its end
    duration: seconds
    phones: each phone and the second of the utterance at which it begins, "" for a pause; None where not known
    prompt: other speech of the same speaker, an untranscribed prompt to train with; None where there is none
    """

    id: str
    path: Path
    text: str
    speaker: str
    start: float = 0.0
    end: float | None = None
    duration: float | None = None
    phones: tuple[tuple[str, float], ...] | None = None
    prompt: Stretch | None = None


class _Table:
    """One file of a data directory: key -> (rest of the line, line number), and the faults met while reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, tuple[str, int]] = {}
        self.faults: list[str] = []
        previous = b""
        for number, raw in enumerate(path.read_bytes().split(b"\n"), 1):
            if not raw.strip():
                if raw:
                    self.fault(number, "is blank")
                continue
            try:
                key, _, rest = raw.decode("utf-8").strip().partition(" ")
            except UnicodeDecodeError:
                self.fault(number, "is not UTF-8")
                continue
            if key in self.rows:
                self.fault(number, f"{key!r} stands a second time (first on line {self.rows[key][1]})")
                continue
            if key.encode() < previous:
                self.fault(number, f"{key!r} is out of order; sort by the first field with LC_ALL=C")
            previous = max(previous, key.encode())
            if not rest.strip():
                self.fault(number, f"{key!r} has nothing after it")
            self.rows[key] = (rest.strip(), number)

    def fault(self, line: int, what: str) -> None:
        self.faults.append(f"{self.path}:{line}: {what}")


class _Scan:
    """All files of a data directory, the utterances that are sound, and every fault."""

    def __init__(self, directory: Path, allow_pipes: bool, check_audio: bool) -> None:
        if not directory.is_dir():
            raise UserError(f"{directory}: no such data directory")
        self.directory, self.allow_pipes, self.check_audio = directory, allow_pipes, check_audio
        self.faults = [f"{directory / name}: missing" for name in REQUIRED if not (directory / name).is_file()]
        names = (*REQUIRED, "segments", "utt2dur", "utt2prompt")
        self.tables = {name: _Table(directory / name) for name in names if (directory / name).is_file()}
        for table in self.tables.values():
            self.faults += table.faults
        self.utterances = (
            [] if self.faults and not {"wav.scp", "text", "utt2spk"} <= self.tables.keys() else self._collect()
        )
        if "spk2utt" in self.tables:
            self._check_speakers()
        if (directory / "phones.ctm").is_file():
            phones = self._phones()
            self.utterances = [replace(u, phones=phones.get(u.id)) for u in self.utterances]
        if "utt2prompt" in self.tables:
            prompts = self._prompts()
            self.utterances = [replace(u, prompt=prompts.get(u.id)) for u in self.utterances]

    def _phones(self) -> dict[str, tuple[tuple[str, float], ...]]:
        found: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for number, line in enumerate((self.directory / "phones.ctm").read_text(encoding="utf-8").splitlines(), 1):
            try:
                key, _, start, _, phone = line.split()
                found[key].append(("" if phone == "sil" else phone, float(start)))
            except ValueError:
                self._fault("phones.ctm", number, "is not `<utterance> 1 <start> <duration> <phone>`")
        return {key: tuple(phones) for key, phones in found.items()}

    def _prompts(self) -> dict[str, Stretch]:
        found = {}
        for key, (rest, line) in self.tables["utt2prompt"].rows.items():
            try:
                start, end, path = rest.split(maxsplit=2)
                stretch = Stretch(Path(path), float(start), float(end))
                if not 0 <= stretch.start < stretch.end < float("inf"):
                    raise ValueError
            except ValueError:
                self._fault(
                    "utt2prompt", line, f"{key!r}: {rest!r} is not `<start> <end> <path>` with 0 <= start < end"
                )
                continue
            if not stretch.path.is_absolute():
                stretch = replace(stretch, path=self.directory / stretch.path)
            if not stretch.path.is_file():
                self._fault("utt2prompt", line, f"{key!r}: no such file {stretch.path}")
                continue
            found[key] = stretch
        return found

    def _fault(self, name: str, line: int, what: str) -> None:
        self.faults.append(f"{self.directory / name}:{line}: {what}")

    def _stretch(self, key: str) -> tuple[str, float, float | None] | None:
        """Recording, start and end of an utterance; None and a fault when its segment is wrong."""
        if "segments" not in self.tables:
            return key, 0.0, None
        if key not in self.tables["segments"].rows:
            return None
        rest, line = self.tables["segments"].rows[key]
        try:
            recording, start, end = rest.split()
            if not 0 <= float(start) < float(end):
                raise ValueError
        except ValueError:
            self._fault("segments", line, f"{key!r}: {rest!r} is not `<recording> <start> <end>` with 0 <= start < end")
            return None
        return recording, float(start), float(end)

    def _sound(self, recording: str) -> Path | None:
        rest, line = self.tables["wav.scp"].rows[recording]
        if rest.endswith("|"):
            if not self.allow_pipes:
                self._fault("wav.scp", line, f"{recording!r} is a pipe; a command is not run unless pipes are allowed")
                return None
            raise UserError(f"{self.directory / 'wav.scp'}:{line}: run the pipe once and list the file it makes")
        path = Path(rest)
        path = path if path.is_absolute() or path.exists() else self.directory / path
        if self.check_audio:
            try:
                audio.duration(path)
            except UserError as error:
                self._fault("wav.scp", line, str(error))
                return None
        return path

    def _collect(self) -> list[Utterance]:
        wav, text, utt2spk = (self.tables[name].rows for name in ("wav.scp", "text", "utt2spk"))
        sounds = {recording: self._sound(recording) for recording in wav}
        durations = self.tables["utt2dur"].rows if "utt2dur" in self.tables else {}
        found = []
        for key, (words, line) in text.items():
            if key not in utt2spk:
                self._fault("text", line, f"{key!r} has no line in utt2spk")
                continue
            stretch = self._stretch(key)
            if stretch is None:
                if key not in self.tables["segments"].rows:
                    self._fault("text", line, f"{key!r} has no line in segments")
                continue
            recording, start, end = stretch
            if recording not in wav:
                self._fault("text", line, f"{key!r}: recording {recording!r} has no line in wav.scp")
                continue
            path = sounds[recording]
            if path is None or not words:
                continue
            found.append(Utterance(key, path, words, utt2spk[key][0], start, end, self._duration(key, durations)))
        for key, (_, line) in utt2spk.items():
            if key not in text:
                self._fault("utt2spk", line, f"{key!r} has no line in text")
        return found

    def _duration(self, key: str, durations: dict[str, tuple[str, int]]) -> float | None:
        if key not in durations:
            return None
        rest, line = durations[key]
        try:
            seconds = float(rest)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < float("inf"):
            self._fault("utt2dur", line, f"{key!r}: {rest!r} is not a number of seconds")
            return None
        return seconds

    def _check_speakers(self) -> None:
        speakers = (
            {key: speaker for key, (speaker, _) in self.tables["utt2spk"].rows.items()}
            if ("utt2spk" in self.tables)
            else {}
        )
        listed: set[str] = set()
        for speaker, (rest, line) in self.tables["spk2utt"].rows.items():
            for key in rest.split():
                listed.add(key)
                if speakers.get(key) != speaker:
                    self._fault("spk2utt", line, f"{key!r} is not an utterance of {speaker!r} in utt2spk")
        for key in speakers.keys() - listed:
            self._fault("utt2spk", self.tables["utt2spk"].rows[key][1], f"{key!r} is missing from spk2utt")


def validate(directory: str | Path, *, allow_pipes: bool = False, check_audio: bool = True) -> list[str]:
    """Every fault of a data directory as `file:line: what is wrong`; an empty list means it is sound."""
    return _Scan(Path(directory), allow_pipes, check_audio).faults


def read(directory: str | Path) -> list[Utterance]:
    """The utterances of a sound data directory. Raises UserError that names the first fault."""
    scan = _Scan(Path(directory), allow_pipes=False, check_audio=False)
    if scan.faults:
        more = f" (and {len(scan.faults) - 1} more; see valle-prepare validate)" if len(scan.faults) > 1 else ""
        raise UserError(f"{scan.faults[0]}{more}")
    if not scan.utterances:
        raise UserError(f"{directory}: holds no utterances")
    return scan.utterances


def write(directory: str | Path, utterances: list[Utterance]) -> None:
    """Write a data directory, sorted; `segments` where an utterance has an end, `utt2dur` where durations are known."""
    directory = Path(directory)
    utterances = sorted(utterances, key=lambda u: u.id.encode())
    tables: dict[str, list[str]] = {"text": [f"{u.id} {u.text}" for u in utterances]}
    tables["utt2spk"] = [f"{u.id} {u.speaker}" for u in utterances]
    by_speaker = defaultdict(list)
    for u in utterances:
        by_speaker[u.speaker].append(u.id)
    tables["spk2utt"] = [f"{s} {' '.join(by_speaker[s])}" for s in sorted(by_speaker, key=str.encode)]
    if any(u.end is not None for u in utterances):
        recordings = {u.path: u.path.stem for u in utterances}
        if len(set(recordings.values())) < len(recordings):  # such as SPEAKER/0001.wav of several speakers
            recordings = {path: f"{path.parent.name}-{path.stem}" for path in recordings}
        if len(set(recordings.values())) < len(recordings):
            raise UserError(f"{directory}: two recordings have the same file name; segments need distinct names")
        tables["segments"] = [
            f"{u.id} {recordings[u.path]} {u.start:g} {u.end if u.end is not None else audio.duration(u.path):g}"
            for u in utterances
        ]
        scp = [f"{name} {path.resolve()}" for path, name in recordings.items()]
        tables["wav.scp"] = sorted(scp, key=str.encode)
    else:
        tables["wav.scp"] = [f"{u.id} {u.path.resolve()}" for u in utterances]
    if all(u.duration is not None for u in utterances):
        tables["utt2dur"] = [f"{u.id} {u.duration:.3f}" for u in utterances]
    if any(u.phones for u in utterances):
        tables["phones.ctm"] = [line for u in utterances for line in _ctm(u)]
    prompts = [(u.id, u.prompt) for u in utterances if u.prompt is not None]
    if prompts:
        tables["utt2prompt"] = [f"{key} {p.start:.3f} {p.end:.3f} {p.path.resolve()}" for key, p in prompts]
    for name, lines in tables.items():
        write_text(directory / name, "".join(f"{line}\n" for line in lines))


def _ctm(u: Utterance) -> list[str]:
    phones = u.phones or ()
    starts = [start for _, start in phones]
    ends = [*starts[1:], u.duration or starts[-1]] if phones else []
    return [
        f"{u.id} 1 {start:.3f} {max(0.0, end - start):.3f} {phone or 'sil'}"
        for (phone, start), end in zip(phones, ends, strict=True)
    ]


def fix(directory: str | Path) -> tuple[int, list[str]]:
    """Sort the files and drop what is not sound. Returns how many utterances stay, and the faults that were there."""
    scan = _Scan(Path(directory), allow_pipes=False, check_audio=True)
    if not scan.utterances:
        raise UserError(f"{directory}: nothing would be left; first fault: {(scan.faults or ['it is empty'])[0]}")
    if scan.faults:
        (Path(directory) / "phones.ctm").unlink(missing_ok=True)
        write(directory, scan.utterances)
        if "utt2dur" in scan.tables and any(u.duration is None for u in scan.utterances):
            (Path(directory) / "utt2dur").unlink()
    return len(scan.utterances), scan.faults


def split(utterances: list[Utterance], speakers: int, seed: int = 0) -> tuple[list[Utterance], list[Utterance]]:
    """Part off `speakers` randomly chosen speakers: (the rest, theirs). No speaker is on both sides."""
    names = sorted({u.speaker for u in utterances})
    if not 0 < speakers < len(names):
        raise UserError(f"cannot part {speakers} speakers off a directory of {len(names)}")
    chosen = set(random.Random(seed).sample(names, speakers))
    return [u for u in utterances if u.speaker not in chosen], [u for u in utterances if u.speaker in chosen]


def split_listed(utterances: list[Utterance], speaker_list: Path) -> tuple[list[Utterance], list[Utterance]]:
    """Part the speakers off that a file names, one a line. Raises UserError for one who says nothing here."""
    if not speaker_list.is_file():
        raise UserError(f"{speaker_list}: no such list of speakers")
    listed = set(speaker_list.read_text(encoding="utf-8").split())
    if unknown := sorted(listed - {u.speaker for u in utterances}):
        raise UserError(f"{speaker_list}: {unknown[0]!r} is no speaker of the data; take it out of the list")
    rest, held_out = [u for u in utterances if u.speaker not in listed], [u for u in utterances if u.speaker in listed]
    if not rest or not held_out:
        raise UserError(f"{speaker_list}: must name some of the speakers, and not all")
    return rest, held_out


def split_utterances(utterances: list[Utterance], count: int, seed: int = 0) -> tuple[list[Utterance], list[Utterance]]:
    """Part off `count` randomly chosen utterances: (the rest, these). For corpora of one speaker."""
    if not 0 < count < len(utterances):
        raise UserError(f"cannot part {count} utterances off a directory of {len(utterances)}")
    chosen = {u.id for u in random.Random(seed).sample(utterances, count)}
    return [u for u in utterances if u.id not in chosen], [u for u in utterances if u.id in chosen]


def with_durations(utterances: list[Utterance]) -> list[Utterance]:
    """Fill in the durations that are missing, from the sound files' headers."""
    return [
        u if u.duration is not None else replace(u, duration=(u.end or audio.duration(u.path)) - u.start)
        for u in utterances
    ]

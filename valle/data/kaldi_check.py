"""Check a Kaldi data directory by the rules of Kaldi's utils/validate_data_dir.sh and by what our commands accept."""

from __future__ import annotations

import os
import re
import shlex
import warnings
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from valle import audio
from valle.data.kaldi_table import Problem, Row, Table, decode_lines, more_lines, number
from valle.data.utterance import MAX_DURATION, Stretch, Utterance
from valle.errors import UserError
from valle.files import file_name_problem, make_file_name

REQUIRED = ("wav.scp", "text", "utt2spk", "spk2utt")
OPTIONAL = ("segments", "utt2dur", "utt2prompt")
# Files of Kaldi's that we do not read, by what their keys are. Their lines are compared, with a warning.
OF_UTTERANCES = ("feats.scp", "vad.scp", "utt2lang", "utt2uniq", "utt2num_frames", "utt2warp")
OF_SPEAKERS = ("cmvn.scp", "spk2gender", "spk2warp")
OF_RECORDINGS = ("reco2dur", "reco2file_and_channel")
MAX_OVERSHOOT = 0.5  # seconds; Kaldi's extract-segments truncates a segment by less and drops it by more
MIN_SEGMENT = 0.1  # seconds; Kaldi's extract-segments drops shorter segments
DURATION_TOLERANCE = 0.1  # seconds; the headers of compressed formats differ from the decoded length by less
RESERVED = ("<s>", "</s>", "#0")  # symbols of Kaldi's graphs
_FOREIGN_SPACE = re.compile(r"[^\S \t]+")
# Letters and plain punctuation are speakable in every language that espeak-ng has.
_PLAIN_TEXT = re.compile(r"[A-Za-z ,.;:?!'-]*[A-Za-z][A-Za-z ,.;:?!'-]*")
_PLAIN_PIPES = (re.compile(r"(\S*/)?flac( -c| -d| -s| -cd| -dc| --decode| --stdout| --silent)+"), re.compile("cat"))


@dataclass
class Report:
    """The result of a check.

    Attributes:
        utterances: What can be used, with everything repaired that can be.
        listed: How many utterances the directory names.
        problems: Everything wrong; warnings among them do not keep our commands from using the directory.
        others: Files of Kaldi's that are there and that we do not read.
    """

    utterances: list[Utterance] = field(default_factory=list)
    listed: int = 0
    problems: list[Problem] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if not problem.warning]

    @property
    def warnings(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.warning]


def check(directory: Path, *, contents: bool = True, allow_pipes: bool = False, language: str = "en-us") -> Report:
    """Check a data directory.

    Args:
        directory: Data directory.
        contents: Whether to look into the audio files' headers and at what the texts say. Without, the files of the
            directory alone are checked, which takes a fraction of the time.
        allow_pipes: Whether pipes in wav.scp are warnings in place of errors.
        language: espeak-ng's tag of the language that the texts must be speakable in.

    Returns:
        All problems, and the utterances that can be used.

    Raises:
        UserError: The directory is not there or cannot be read.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such data directory")
    return _Checker(directory, contents, allow_pipes, language).report


class _Checker:
    """Reads all files of a data directory and fills in a report."""

    def __init__(self, directory: Path, contents: bool, allow_pipes: bool, language: str) -> None:
        self.directory = directory
        self.contents = contents
        self.allow_pipes = allow_pipes
        self.language = language
        self.report = Report()
        for name in REQUIRED:
            if not (directory / name).is_file():
                self.problem(name, None, "missing")
        names = [name for name in (*REQUIRED, *OPTIONAL) if (directory / name).is_file()]
        self.tables = {name: Table(directory / name) for name in names}
        self.recordings = {key: self.recording(key, row) for key, row in self.rows("wav.scp").items()}
        self.lengths: dict[str, float] = {}  # seconds of each recording that was opened, 0 where it cannot be read
        self.report.listed = len(self.rows("text").keys() | self.rows("utt2spk").keys())
        if {"wav.scp", "text", "utt2spk"} <= self.tables.keys():
            self.collect()
            self.compare_keys()
            self.check_speakers()
            self.check_other_files()
        for table in self.tables.values():
            self.report.problems += table.problems

    def problem(self, name: str, line: int | None, message: str, *, warning: bool = False) -> None:
        self.report.problems.append(Problem(self.directory / name, line, message, warning))

    def rows(self, name: str) -> dict[str, Row]:
        return self.tables[name].rows if name in self.tables else {}

    def collect(self) -> None:
        """Collect the utterances of which every file has a usable line."""
        phones = self.phones()
        prompts = self.prompts()
        names: dict[str, str] = {}
        for key, row in self.rows("text").items():
            utterance = self.utterance(key, row)
            if utterance is None:
                continue
            if utterance.id in names:
                message = f"{key!r} would be called {utterance.id!r}, as {names[utterance.id]!r}"
                self.problem("text", row.line, message)
                continue
            names[utterance.id] = key
            self.report.utterances.append(replace(utterance, phones=phones.get(key), prompt=prompts.get(key)))

    def utterance(self, key: str, row: Row) -> Utterance | None:
        """Put the lines of one utterance together; None where one is missing or unusable."""
        text = self.text(key, row)
        speaker = self.speaker(key)
        name = self.name(key, row)
        stretch = self.stretch(key)
        if stretch is None or not text or speaker is None:
            return None
        recording, start, end = stretch
        path = self.recordings.get(recording)
        if path is None:
            return None
        utterance = Utterance(name, path, text, speaker, start, end, recording=self.recording_name(recording))
        duration = self.duration(key, recording, start, end)
        if self.contents and duration is not None and duration > MAX_DURATION:
            message = f"{key!r} lasts {duration:.1f} s; valle-tokenize takes at most {MAX_DURATION:g} s: give segments"
            self.problem("text", row.line, message)
            return None
        return replace(utterance, duration=duration if "utt2dur" in self.tables else None)

    def name(self, key: str, row: Row) -> str:
        """The key, or what it is called once it can name a file."""
        wrong = file_name_problem(key)
        if wrong:
            self.problem("text", row.line, f"{key!r} {wrong}; utterances name files")
        return make_file_name(key) if wrong else key

    def recording_name(self, recording: str) -> str | None:
        return recording if "segments" in self.tables else None

    def text(self, key: str, row: Row) -> str:
        """The text with plain spaces; "" where it cannot be spoken."""
        text = row.value
        if _FOREIGN_SPACE.search(text):
            found = _FOREIGN_SPACE.search(text)
            code = f"U+{ord(found[0][0]):04X}" if found else ""
            self.problem("text", row.line, f"{key!r} contains white space other than spaces and tabs ({code})")
            text = _FOREIGN_SPACE.sub(" ", text).strip()
        for symbol in RESERVED:
            if symbol in text.split():
                self.problem("text", row.line, f"{key!r} contains {symbol!r}, which Kaldi reserves", warning=True)
        if not self.contents or not text or _PLAIN_TEXT.fullmatch(text):
            return text
        from valle.text import normalize

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                normalize(text, self.language)
            except UserError as error:
                self.problem("text", row.line, f"{key!r} cannot be spoken: {error}")
                return ""
        for warning in caught:
            if issubclass(warning.category, UserWarning):
                self.problem("text", row.line, f"{key!r}: {warning.message}", warning=True)
        return text

    def speaker(self, key: str) -> str | None:
        row = self.rows("utt2spk").get(key)
        if row is None or not row.value:
            return None
        fields = row.fields()
        if len(fields) > 1:
            self.problem("utt2spk", row.line, f"{key!r} has more than one speaker: {row.value!r}")
        return "_".join(fields)

    def recording(self, key: str, row: Row) -> Path | None:
        """The audio file of a line of wav.scp, or None where there is none that can be used."""
        value = row.value
        if value.endswith("|"):
            if not self.allow_pipes:
                message = f"{key!r} is a pipe, which is not run; list the file that the command reads or makes"
                self.problem("wav.scp", row.line, message)
            else:
                message = f"{key!r} is a pipe, which the other commands refuse"
                self.problem("wav.scp", row.line, message, warning=True)
            value = _file_of_pipe(value) or ""
        elif value.startswith("~"):
            message = f"{key!r}: '~' in {value!r} is not expanded; write the whole path"
            self.problem("wav.scp", row.line, message)
            value = os.path.expanduser(value)  # unlike Path.expanduser(), unchanged where there is no such home
        if not value:
            return None
        path = Path(value)
        return path if path.is_absolute() or path.exists() else self.directory / path

    def length(self, recording: str) -> float | None:
        """Seconds of a recording, from its header; None where it cannot be read."""
        if recording not in self.lengths:
            path = self.recordings[recording]
            row = self.rows("wav.scp")[recording]
            self.lengths[recording] = 0.0
            try:
                if path is not None:
                    self.lengths[recording] = audio.duration(path)
                    if not self.lengths[recording]:
                        raise UserError(f"{path}: holds no samples")
            except UserError as error:
                self.problem("wav.scp", row.line, str(error))
                self.recordings[recording] = None
        return self.lengths[recording] or None

    def stretch(self, key: str) -> tuple[str, float, float | None] | None:
        """The recording, start and end of an utterance; None where there is none that can be used."""
        if "segments" not in self.tables:
            if key in self.recordings and self.contents and self.recordings[key] is not None:
                self.length(key)
            return key, 0.0, None
        row = self.rows("segments").get(key)
        if row is None:
            return None
        fields = row.fields()
        times = [number(f) for f in fields[1:]]
        if len(fields) == 4 and fields[3] in ("1", "0", "A", "B"):
            times = [None]  # a channel
        start, end = times if len(times) == 2 else (None, None)
        if start is None or end is None or start < 0 or (end != -1 and end <= start):
            message = f"{key!r}: {row.value!r} is not `<recording> <start> <end>` with 0 <= start < end, in seconds"
            self.problem("segments", row.line, message)
            return None
        return self.clip(key, row, fields[0], start, end)

    def clip(
        self, key: str, row: Row, recording: str, start: float, end: float
    ) -> tuple[str, float, float | None] | None:
        """Hold a segment's times against the recording's length, as Kaldi's extract-segments does."""
        if recording not in self.recordings:
            self.problem("segments", row.line, f"{key!r}: recording {recording!r} has no line in wav.scp")
            return None
        if end == -1:
            message = f"{key!r} ends at -1, the end of its recording; Kaldi's validate_data_dir.sh refuses that"
            self.problem("segments", row.line, message, warning=True)
        length = self.length(recording) if self.contents and self.recordings[recording] is not None else None
        if length is None:
            return recording, start, None if end == -1 else end
        if start >= length or end > length + MAX_OVERSHOOT:
            message = f"{key!r}: {start:g} to {end:g} s is past the end of its recording, at {length:.3f} s"
            self.problem("segments", row.line, message)
            return None
        if end > length:
            message = f"{key!r} ends at {end:g} s, past the end of its recording, at {length:.3f} s"
            self.problem("segments", row.line, message)
        end = length if end == -1 else min(end, length)
        if end - start < MIN_SEGMENT:
            message = f"{key!r} lasts {end - start:.3f} s; Kaldi's extract-segments drops less than {MIN_SEGMENT} s"
            self.problem("segments", row.line, message, warning=True)
        return recording, start, end

    def duration(self, key: str, recording: str, start: float, end: float | None) -> float | None:
        """Seconds of an utterance: as utt2dur has it, where that is right, else as the recording has it."""
        length = None
        if self.contents:
            whole = self.length(recording)
            length = None if whole is None else (whole if end is None else end) - start
        row = self.rows("utt2dur").get(key)
        if row is None or not row.value:
            return length
        seconds = number(row.value)
        if seconds is None or seconds <= 0:
            self.problem("utt2dur", row.line, f"{key!r}: {row.value!r} is not a number of seconds")
            return length
        if length is not None and abs(seconds - length) > DURATION_TOLERANCE:
            self.problem("utt2dur", row.line, f"{key!r}: {row.value} s in place of {length:.3f} s")
            return length
        return seconds

    def phones(self) -> dict[str, tuple[tuple[str, float], ...]]:
        """The aligned phones of each utterance."""
        path = self.directory / "phones.ctm"
        if not path.is_file():
            return {}
        found: dict[str, list[tuple[str, float]]] = defaultdict(list)
        wrong: set[str] = set()
        for line, content in decode_lines(path, self.report.problems):
            fields = content.split()
            key = fields[0]
            start = number(fields[2]) if len(fields) == 5 else None
            if start is None or start < 0:
                self.problem("phones.ctm", line, "is not `<utterance> 1 <start> <duration> <phone>`")
                wrong.add(key)
                continue
            if found[key] and found[key][-1][1] > start:
                self.problem("phones.ctm", line, f"{key!r}: begins before the phone on the line before")
                wrong.add(key)
            if key not in self.rows("text"):
                self.problem("phones.ctm", line, f"{key!r} has no line in text")
            found[key].append(("" if fields[4] == "sil" else fields[4], start))
        return {key: tuple(phones) for key, phones in found.items() if key not in wrong}

    def prompts(self) -> dict[str, Stretch]:
        """The untranscribed prompts of utterances; one that is wrong is left out."""
        found = {}
        for key, row in self.rows("utt2prompt").items():
            try:
                start, end, path = row.value.split(maxsplit=2)
                stretch = Stretch(Path(path), float(start), float(end))
            except ValueError:
                stretch = Stretch(Path(), 0.0, 0.0)
            if not 0 <= stretch.start < stretch.end < float("inf"):
                message = f"{key!r}: {row.value!r} is not `<start> <end> <path>` with 0 <= start < end"
                self.problem("utt2prompt", row.line, message)
                continue
            if not stretch.path.is_absolute():
                stretch = replace(stretch, path=self.directory / stretch.path)
            if not stretch.path.is_file():
                self.problem("utt2prompt", row.line, f"{key!r}: no such file {stretch.path}")
                continue
            found[key] = stretch
        return found

    def compare_keys(self) -> None:
        """Compare the keys of the files with one another."""
        text, speakers = self.rows("text").keys(), self.rows("utt2spk").keys()
        self.tables["text"].compare_keys(set(speakers), "utt2spk")
        self.tables["utt2spk"].compare_keys(set(text), "text")
        if "segments" in self.tables:
            segments = self.rows("segments")
            self.tables["segments"].compare_keys(set(text), "text")
            self.tables["text"].compare_keys(set(segments), "segments")
            self.tables["wav.scp"].compare_keys({r.fields()[0] for r in segments.values() if r.value}, "segments")
        else:
            self.tables["wav.scp"].compare_keys(set(text), "text")
            self.tables["text"].compare_keys(set(self.rows("wav.scp")), "wav.scp")
        if "utt2dur" in self.tables:
            self.tables["utt2dur"].compare_keys(set(text), "text")
            self.tables["text"].compare_keys(set(self.rows("utt2dur")), "utt2dur")

    def check_speakers(self) -> None:
        """Compare spk2utt with utt2spk, and the names of utterances with those of their speakers."""
        speakers = {key: row.value for key, row in self.rows("utt2spk").items()}
        listed: set[str] = set()
        for speaker, row in self.rows("spk2utt").items():
            for key in row.fields():
                listed.add(key)
                if speakers.get(key) != speaker:
                    self.problem("spk2utt", row.line, f"{key!r} is not an utterance of {speaker!r} in utt2spk")
        utt2spk = self.rows("utt2spk")
        if "spk2utt" in self.tables:
            for key, row in utt2spk.items():
                if key not in listed:
                    self.problem("utt2spk", row.line, f"{key!r} is missing from spk2utt")
        unlike = [key for key, row in utt2spk.items() if not key.startswith(row.value)]
        if unlike:
            row = utt2spk[unlike[0]]
            more = more_lines([utt2spk[key].line for key in unlike])
            message = f"{unlike[0]!r} does not begin with its speaker, {row.value!r}{more}, as Kaldi wants it"
            self.problem("utt2spk", row.line, message, warning=True)

    def check_other_files(self) -> None:
        """Compare the files that we do not read. They are never changed, so what is wrong there is a warning."""
        expected = {
            "utt2spk": (OF_UTTERANCES, set(self.rows("utt2spk"))),
            "spk2utt": (OF_SPEAKERS, {row.value for row in self.rows("utt2spk").values()}),
            "wav.scp": (OF_RECORDINGS, set(self.rows("wav.scp"))),
        }
        for source, (names, keys) in expected.items():
            for name in names:
                if not (self.directory / name).is_file():
                    continue
                self.report.others.append(name)
                if not self.contents:
                    continue
                table = Table(self.directory / name)
                table.compare_keys(keys, source)
                missing = sorted(keys - table.rows.keys())
                if missing:
                    table.problem(None, f"{missing[0]!r} of {source} has no line{more_lines([0] * len(missing))}")
                if name == "reco2dur":
                    self.check_recording_durations(table)
                self.report.problems += [replace(problem, warning=True) for problem in table.problems]

    def check_recording_durations(self, table: Table) -> None:
        for key, row in table.rows.items():
            seconds, length = number(row.value), self.lengths.get(key)
            if seconds is None or seconds <= 0:
                table.problem(row.line, f"{key!r}: {row.value!r} is not a number of seconds")
            elif length and abs(seconds - length) > DURATION_TOLERANCE:
                table.problem(row.line, f"{key!r}: {row.value} s in place of {length:.3f} s")


def _file_of_pipe(value: str) -> str | None:
    """The file of a pipe that only copies or decodes it (`flac -c -d -s FILE |`, `cat FILE |`); None of another."""
    try:
        *command, file = shlex.split(value.removesuffix("|"))
    except ValueError:
        return None
    plain = any(pattern.fullmatch(" ".join(command)) for pattern in _PLAIN_PIPES)
    return file if plain and Path(file).is_file() else None

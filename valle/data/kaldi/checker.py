"""Check of a data directory by the rules of Kaldi's utils/validate_data_dir.sh and by what the commands accept."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

from valle.data.kaldi.annotations import read_phones, read_prompts
from valle.data.kaldi.consistency import check_other_files, check_speakers, compare_keys
from valle.data.kaldi.recordings import Recordings
from valle.data.kaldi.table import Problem, Row, Tables
from valle.data.utterance import MAX_DURATION, Utterance
from valle.errors import UserError
from valle.files import file_name_problem, make_file_name

REQUIRED = ("wav.scp", "text", "utt2spk", "spk2utt")
OPTIONAL = ("segments", "utt2dur", "utt2prompt")
# Symbols of Kaldi's decoding graphs, which a transcript must not contain.
RESERVED = ("<s>", "</s>", "#0")
_UNICODE_SPACE = re.compile(r"[^\S \t]+")
# Letters and plain punctuation have phonemes in every language of espeak-ng, so such a text needs no normalization to
# be checked. Normalizing every text of a large corpus would take minutes.
_PLAIN_TEXT = re.compile(r"[A-Za-z ,.;:?!'-]*[A-Za-z][A-Za-z ,.;:?!'-]*")


@dataclass
class Report:
    """The result of a check.

    Attributes:
        utterances: Usable utterances, with everything repaired that can be repaired.
        listed: Number of utterances that the directory lists.
        problems: Errors and warnings; the directory is usable despite the warnings.
        others: Names of the Kaldi files in the directory that this package does not read.
    """

    utterances: list[Utterance] = field(default_factory=list)
    listed: int = 0
    problems: list[Problem] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        """The problems that make the directory unusable."""
        return [problem for problem in self.problems if not problem.warning]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that leave the directory usable."""
        return [problem for problem in self.problems if problem.warning]


def check(
    directory: Path,
    *,
    contents: bool = True,
    allow_pipes: bool = False,
    language: str = "en-us",
    transcribed: bool = True,
) -> Report:
    """Check a data directory.

    Args:
        directory: Data directory.
        contents: Whether to read the headers of the audio files and to normalize the texts. Without, only the files of
            the directory itself are checked, which takes a fraction of the time.
        allow_pipes: Whether pipes in wav.scp are warnings instead of errors.
        language: espeak-ng language tag of the texts.
        transcribed: Whether every utterance must have a transcript.

    Returns:
        All problems, and the usable utterances.

    Raises:
        UserError: The directory does not exist or cannot be read.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such data directory; check the path")
    # The file whose keys are the utterances.
    keys_of = "text" if transcribed else "utt2spk"
    required = REQUIRED if transcribed else tuple(name for name in REQUIRED if name != "text")
    tables = Tables(directory, required, OPTIONAL if transcribed else (*OPTIONAL, "text"))
    recordings = Recordings(tables, read_headers=contents, allow_pipes=allow_pipes)
    report = Report(listed=len(tables.rows("text").keys() | tables.rows("utt2spk").keys()))
    if all(name in tables for name in ("wav.scp", keys_of, "utt2spk")):
        reader = _UtteranceReader(tables, recordings, keys_of=keys_of, contents=contents, language=language)
        report.utterances = reader.read()
        compare_keys(tables, keys_of)
        check_speakers(tables)
        report.others = check_other_files(tables, recordings.lengths, contents=contents)
    report.problems = tables.all_problems()
    return report


class _UtteranceReader:
    """Combines the lines of all files into utterances."""

    def __init__(self, tables: Tables, recordings: Recordings, *, keys_of: str, contents: bool, language: str) -> None:
        self.tables = tables
        self.recordings = recordings
        self.keys_of = keys_of
        self.contents = contents
        self.language = language

    def read(self) -> list[Utterance]:
        """Collect the utterances that have a usable line in every file."""
        phones = read_phones(self.tables)
        prompts = read_prompts(self.tables)
        key_of_id: dict[str, str] = {}
        utterances = []
        for key, row in self.tables.rows(self.keys_of).items():
            utterance = self._utterance(key, row)
            if utterance is None:
                continue
            # Two keys can become the same id when characters that cannot be in a file name are replaced.
            if utterance.id in key_of_id:
                message = f"{key!r} would be renamed to {utterance.id!r}, the id of {key_of_id[utterance.id]!r}"
                self.tables.add_problem(self.keys_of, row.line, message)
                continue
            key_of_id[utterance.id] = key
            utterances.append(replace(utterance, phones=phones.get(key), prompt=prompts.get(key)))
        return utterances

    def _utterance(self, key: str, row: Row) -> Utterance | None:
        """Combine the lines of one utterance; None if one is missing or unusable."""
        # All parts are read before one is dropped, so that one pass reports every problem.
        text_row = self.tables.rows("text").get(key)
        text = self._text(key, text_row) if text_row is not None else ""
        speaker = self._speaker(key)
        utterance_id = self._id(key, row)
        segment = self.recordings.segment(key)
        if segment is None or speaker is None or (text_row is not None and not text):
            return None
        path = self.recordings.path(segment.recording)
        if path is None:
            return None
        duration = self.recordings.duration(key, segment)
        if self.contents and duration is not None and duration > MAX_DURATION:
            limit = f"valle-tokenize accepts at most {MAX_DURATION:g} s"
            message = f"{key!r} lasts {duration:.1f} s; {limit}: split it with a segments file"
            self.tables.add_problem(self.keys_of, row.line, message)
            return None
        return Utterance(
            id=utterance_id,
            path=path,
            text=text,
            speaker=speaker,
            start=segment.start,
            end=segment.end,
            duration=duration if "utt2dur" in self.tables else None,
            recording=segment.recording if "segments" in self.tables else None,
        )

    def _id(self, key: str, row: Row) -> str:
        """The key, with the characters replaced that cannot be in a file name."""
        problem = file_name_problem(key)
        if problem is None:
            return key
        self.tables.add_problem(self.keys_of, row.line, f"{key!r} {problem}; ids are used as file names")
        return make_file_name(key)

    def _text(self, key: str, row: Row) -> str:
        """The transcript with plain spaces; "" if it cannot be synthesized."""
        text = row.value
        unicode_space = _UNICODE_SPACE.search(text)
        if unicode_space:
            code = f"U+{ord(unicode_space[0][0]):04X}"
            message = f"{key!r} contains white space other than spaces and tabs ({code})"
            self.tables.add_problem("text", row.line, message)
            text = _UNICODE_SPACE.sub(" ", text).strip()
        for symbol in RESERVED:
            if symbol in text.split():
                message = f"{key!r} contains {symbol!r}, which Kaldi reserves"
                self.tables.add_problem("text", row.line, message, warning=True)
        if not self.contents or not text or _PLAIN_TEXT.fullmatch(text):
            return text
        return self._normalizable(key, row, text)

    def _normalizable(self, key: str, row: Row, text: str) -> str:
        """Record the problems of normalizing a text; "" if it has nothing to synthesize, else the text itself."""
        from valle.text import normalize

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                normalize(text, self.language)
            except UserError as error:
                self.tables.add_problem("text", row.line, f"{key!r} cannot be synthesized: {error}")
                return ""
        for warning in caught:
            if issubclass(warning.category, UserWarning):
                self.tables.add_problem("text", row.line, f"{key!r}: {warning.message}", warning=True)
        return text

    def _speaker(self, key: str) -> str | None:
        """The speaker of an utterance; None if utt2spk names none."""
        row = self.tables.rows("utt2spk").get(key)
        if row is None or not row.value:
            return None
        fields = row.fields()
        if len(fields) > 1:
            self.tables.add_problem("utt2spk", row.line, f"{key!r} has more than one speaker: {row.value!r}")
        return "_".join(fields)

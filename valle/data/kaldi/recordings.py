"""wav.scp, segments and utt2dur: the audio file, the times and the duration of every utterance."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from valle import audio
from valle.data.kaldi.table import Row, Tables, parse_number
from valle.errors import UserError

# Seconds. Kaldi's extract-segments truncates a segment that ends less than this after its recording, and drops others.
MAX_OVERSHOOT = 0.5
# Seconds. Kaldi's extract-segments drops shorter segments.
MIN_SEGMENT = 0.1
# Seconds. The duration in the header of a compressed format differs from the decoded length by less.
DURATION_TOLERANCE = 0.1
# Commands in wav.scp that only copy or decode a file, so that the file itself can take their place.
_DECODING_COMMANDS = (
    re.compile(r"(\S*/)?flac( -c| -d| -s| -cd| -dc| --decode| --stdout| --silent)+"),
    re.compile("cat"),
)


@dataclass(frozen=True)
class RecordingSegment:
    """A line of segments.

    Attributes:
        recording: Key of the recording in wav.scp.
        start: Start in the recording, in seconds.
        end: End in the recording, in seconds; None for the end of the recording.
    """

    recording: str
    start: float
    end: float | None


class Recordings:
    """The audio of a data directory.

    Args:
        tables: Files of the data directory; receive the problems of wav.scp, segments and utt2dur.
        read_headers: Whether to read the length of every audio file that an utterance uses, from its header.
        allow_pipes: Whether pipes in wav.scp are warnings instead of errors.

    Attributes:
        lengths: Seconds of each recording whose header was read; 0 if the file is unusable.
    """

    def __init__(self, tables: Tables, *, read_headers: bool, allow_pipes: bool) -> None:
        self._tables = tables
        self._read_headers = read_headers
        self._allow_pipes = allow_pipes
        self.lengths: dict[str, float] = {}
        self._paths = {key: self._parse_path(key, row) for key, row in tables.rows("wav.scp").items()}

    def path(self, recording: str) -> Path | None:
        """The audio file of a recording; None if it has no usable line in wav.scp."""
        return self._paths.get(recording)

    def segment(self, key: str) -> RecordingSegment | None:
        """The segment of an utterance; the whole recording of the same name if the directory has no segments.

        Args:
            key: Utterance.

        Returns:
            The segment, truncated at the end of its recording; None if the utterance has no usable one.
        """
        if "segments" not in self._tables:
            if self._read_headers and self._paths.get(key) is not None:
                self._length(key)
            return RecordingSegment(key, 0.0, None)
        row = self._tables.rows("segments").get(key)
        if row is None:
            return None
        fields = row.fields()
        times = [parse_number(field) for field in fields[1:]]
        # A fourth field is a channel, which is not supported.
        if len(fields) == 4 and fields[3] in ("1", "0", "A", "B"):
            times = [None]
        start, end = times if len(times) == 2 else (None, None)
        if start is None or end is None or start < 0 or (end != -1 and end <= start):
            message = f"{key!r}: {row.value!r} is not `<recording> <start> <end>` with 0 <= start < end, in seconds"
            self._tables.add_problem("segments", row.line, message)
            return None
        return self._truncate(key, row, RecordingSegment(fields[0], start, end))

    def duration(self, key: str, segment: RecordingSegment) -> float | None:
        """The duration of an utterance in seconds: that of utt2dur if it is right, else that of the audio.

        Args:
            key: Utterance.
            segment: Its segment, as returned by `segment`.
        """
        audio_duration = None
        if self._read_headers:
            recording_length = self._length(segment.recording)
            if recording_length is not None:
                end = recording_length if segment.end is None else segment.end
                audio_duration = end - segment.start
        row = self._tables.rows("utt2dur").get(key)
        if row is None or not row.value:
            return audio_duration
        listed_duration = parse_number(row.value)
        if listed_duration is None or listed_duration <= 0:
            self._tables.add_problem("utt2dur", row.line, f"{key!r}: {row.value!r} is not a number of seconds")
            return audio_duration
        if audio_duration is not None and abs(listed_duration - audio_duration) > DURATION_TOLERANCE:
            message = f"{key!r}: {row.value} s is wrong; the audio lasts {audio_duration:.3f} s"
            self._tables.add_problem("utt2dur", row.line, message)
            return audio_duration
        return listed_duration

    def _parse_path(self, key: str, row: Row) -> Path | None:
        """The audio file of a line of wav.scp; None if it names none."""
        value = row.value
        if value.endswith("|"):
            # A pipe could run any command, so that a data directory from elsewhere would be a program.
            if self._allow_pipes:
                message = f"{key!r} is a pipe, which the other commands refuse"
            else:
                message = f"{key!r} is a pipe, which is not run; list the file that the command reads or writes"
            self._tables.add_problem("wav.scp", row.line, message, warning=self._allow_pipes)
            value = _file_of_pipe(value) or ""
        elif value.startswith("~"):
            message = f"{key!r}: '~' in {value!r} is not expanded; write the full path"
            self._tables.add_problem("wav.scp", row.line, message)
            # Path.expanduser() raises an error for a user who does not exist; this function returns the path unchanged.
            value = os.path.expanduser(value)
        if not value:
            return None
        path = Path(value)
        return path if path.is_absolute() or path.exists() else self._tables.directory / path

    def _length(self, recording: str) -> float | None:
        """The length of a recording in seconds, from its header; None if the file is unusable."""
        if recording not in self.lengths:
            path = self._paths[recording]
            self.lengths[recording] = 0.0
            try:
                if path is not None:
                    self.lengths[recording] = audio.duration(path)
                    if not self.lengths[recording]:
                        raise UserError(f"{path}: contains no samples")
            except UserError as error:
                row = self._tables.rows("wav.scp")[recording]
                self._tables.add_problem("wav.scp", row.line, str(error))
                self._paths[recording] = None
        return self.lengths[recording] or None

    def _truncate(self, key: str, row: Row, segment: RecordingSegment) -> RecordingSegment | None:
        """Compare a segment with the length of its recording, by the rules of Kaldi's extract-segments."""
        if segment.recording not in self._paths:
            message = f"{key!r}: recording {segment.recording!r} has no line in wav.scp"
            self._tables.add_problem("segments", row.line, message)
            return None
        if segment.end == -1:
            message = f"{key!r} ends at -1, the end of its recording; Kaldi's validate_data_dir.sh refuses that"
            self._tables.add_problem("segments", row.line, message, warning=True)
        length = None
        if self._read_headers and self._paths[segment.recording] is not None:
            length = self._length(segment.recording)
        end = None if segment.end == -1 else segment.end
        if length is None:
            return RecordingSegment(segment.recording, segment.start, end)
        # An end of -1 stands for the length, so it never overshoots.
        end = length if end is None else end
        if segment.start >= length or end > length + MAX_OVERSHOOT:
            message = (
                f"{key!r}: {segment.start:g} to {segment.end:g} s is past the end of its recording, at {length:.3f} s"
            )
            self._tables.add_problem("segments", row.line, message)
            return None
        if end > length:
            message = f"{key!r} ends at {end:g} s, past the end of its recording, at {length:.3f} s"
            self._tables.add_problem("segments", row.line, message)
            end = length
        if end - segment.start < MIN_SEGMENT:
            message = (
                f"{key!r} lasts {end - segment.start:.3f} s; Kaldi's extract-segments drops less than {MIN_SEGMENT} s"
            )
            self._tables.add_problem("segments", row.line, message, warning=True)
        return RecordingSegment(segment.recording, segment.start, end)


def _file_of_pipe(value: str) -> str | None:
    """The file of a pipe that only copies or decodes it (`flac -c -d FILE |`, `cat FILE |`); None for others."""
    try:
        *command, file = shlex.split(value.removesuffix("|"))
    except ValueError:
        return None
    only_decodes = any(pattern.fullmatch(" ".join(command)) for pattern in _DECODING_COMMANDS)
    return file if only_decodes and Path(file).is_file() else None

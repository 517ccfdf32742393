"""When the words of synthesized speech are spoken, and files that tell it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from valle.errors import UserError
from valle.extensions.phone_alignment import align_phones, phones_of
from valle.files import write_text
from valle.text.encoded import EncodedText

# Characters of a line of subtitles, and lines of a subtitle.
LINE = 42
LINES = 2
# Seconds of silence within a subtitle.
MAX_GAP = 0.6
SUFFIXES = (".json", ".srt", ".vtt")
# Seconds between the end of the codes of an unfinished part and words whose times are final.
MARGIN = 0.3


@dataclass(frozen=True)
class TimedWord:
    """A word and when it is spoken.

    Attributes:
        text: The word as it is written, with its punctuation.
        start: Seconds from the beginning of the audio.
        end: Seconds from the beginning of the audio.
    """

    text: str
    start: float
    end: float

    def shifted(self, seconds: float) -> TimedWord:
        """Return the word some seconds later."""
        return replace(self, start=self.start + seconds, end=self.end + seconds)

    def at_speed(self, speed: float) -> TimedWord:
        """Return the word of speech that is played faster."""
        return replace(self, start=self.start / speed, end=self.end / speed)


def symbol_frames(encoded: EncodedText, phones: np.ndarray, frame_rate: float, *, complete: bool = True) -> np.ndarray:
    """Find the frames of each symbol of a text by aligning the phones that its first codes stand for.

    Args:
        encoded: The text.
        phones: (time,) class of the phone that each frame's first code stands for.
        frame_rate: Hertz.
        complete: Whether the codes are those of the whole text, and not of its beginning.

    Returns:
        (symbols, 2) first frame, and frame after the last, of each symbol; -1 where a symbol has none.
    """
    counts = [len(phones_of([symbol])) for symbol in encoded.symbols]
    path, _ = align_phones(phones, phones_of(list(encoded.symbols)), frame_rate, complete=complete)
    frames = np.full((len(counts), 2), -1)
    first = 0
    for index, count in enumerate(counts):
        inside = np.flatnonzero((path % 2 == 1) & (path // 2 >= first) & (path // 2 < first + count))
        if len(inside):
            frames[index] = inside[0], inside[-1] + 1
        first += count
    return frames


def spoken_frames(encoded: EncodedText, spoken: Tensor) -> np.ndarray:
    """Return the same as `symbol_frames` for models that follow the text.

    Args:
        encoded: The text.
        spoken: (time,) index of the symbol that each frame speaks, -1 before the first.
    """
    frames = np.full((len(encoded.symbols), 2), -1)
    for index in np.unique(spoken.numpy()):
        if index >= 0:
            inside = np.flatnonzero(spoken.numpy() == index)
            frames[index] = inside[0], inside[-1] + 1
    return frames


def word_times(encoded: EncodedText, frames: np.ndarray, frame_rate: float) -> list[TimedWord]:
    """Return when the words of a text are spoken.

    A word without any frame, which is missing in the speech, has no duration.

    Args:
        encoded: The text.
        frames: See `symbol_frames`.
        frame_rate: Hertz.
    """
    words = []
    end = 0.0
    for word in encoded.words:
        own = frames[word.start : word.end]
        own = own[own[:, 0] >= 0]
        start = max(end, own[:, 0].min() / frame_rate) if len(own) else end
        end = max(start, own[:, 1].max() / frame_rate) if len(own) else end
        words.append(TimedWord(word.text, float(start), float(end)))
    return words


def final_words(words: Sequence[TimedWord], seconds: float) -> int:
    """Return how many words of an unfinished part have times that will not change.

    Args:
        words: Words by the codes so far.
        seconds: Duration of the codes.
    """
    count = 0
    for number, word in enumerate(words, 1):
        if word.end > word.start and word.end < seconds - MARGIN:
            count = number
    return count


def check_timestamps_path(path: Path) -> None:
    """Raise UserError for a file of another kind than those of `write_timestamps`."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: can only write timestamps as {', '.join(SUFFIXES)}")


def write_timestamps(path: Path, words: Sequence[TimedWord] | None) -> None:
    """Write when words are spoken.

    Args:
        path: A file .json, a list of `{"text", "start", "end"}` in seconds; or subtitles .srt or .vtt.
        words: The words; None: the model does not tell when they are spoken.

    Raises:
        UserError: The file has another suffix, or there are no times.
    """
    check_timestamps_path(path)
    if words is None:
        raise UserError(
            f"{path}: the model does not tell when words are spoken: the first codes of its codec stand for no phones"
        )
    suffix = path.suffix.lower()
    if suffix == ".json":
        rounded = [{**asdict(w), "start": round(w.start, 3), "end": round(w.end, 3)} for w in words]
        write_text(path, json.dumps(rounded, ensure_ascii=False, indent=1) + "\n")
        return
    cues = []
    for number, cue in enumerate(subtitles(words), 1):
        times = f"{_clock(cue.start, suffix)} --> {_clock(cue.end, suffix)}"
        cues.append(f"{number}\n{times}\n{cue.text}\n")
    write_text(path, ("WEBVTT\n\n" if suffix == ".vtt" else "") + "\n".join(cues))


def subtitles(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Group words into subtitles of at most `LINES` lines; each begins after a sentence or a pause."""
    cues: list[TimedWord] = []
    lines: list[str] = []
    begin = 0
    for index, word in enumerate(words):
        text = f"{lines[-1]} {word.text}" if lines else word.text
        if lines and len(text) <= LINE:
            lines[-1] = text
        else:
            lines.append(word.text)
        following = words[index + 1].text if index + 1 < len(words) else None
        pauses = following is not None and words[index + 1].start - word.end > MAX_GAP
        ends_sentence = word.text.rstrip("\"'”’)")[-1:] in ".?!"
        is_full = following is not None and len(lines) == LINES and len(lines[-1]) + 1 + len(following) > LINE
        if following is None or ends_sentence or pauses or is_full:
            cues.append(TimedWord("\n".join(lines), words[begin].start, word.end))
            lines = []
            begin = index + 1
    return cues


def _clock(seconds: float, suffix: str) -> str:
    milliseconds = round(1000 * seconds)
    comma = "," if suffix == ".srt" else "."
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{comma}{rest % 1000:03}"

"""When words are spoken."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import valle
from valle.errors import UserError
from valle.synthesis import TTS
from valle.synthesis.timing import TimedWord, subtitles, write_timestamps

TEXT = "One of the things costs $20.50, Dr. Ng. [pause 1s] Never say never!"


@pytest.fixture(scope="module")
def small() -> TTS:
    return valle.load("small")


def test_words_follow_one_another_within_the_speech(small: TTS) -> None:
    (speech,) = small.synthesize_batch([TEXT], [small.voice()], [0])
    words = speech.words
    assert words is not None
    assert [word.text for word in words] == TEXT.replace("[pause 1s] ", "").split()
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= speech.audio.duration
    gap = words[8].start - words[7].end
    assert 1.0 <= gap < 1.8
    # The pause is silent.
    rate = speech.audio.sample_rate
    middle = round((words[7].end + gap / 2) * rate)
    assert np.abs(speech.audio.samples[middle - rate // 5 : middle + rate // 5]).max() < 0.01


def test_stream_brings_each_word_once_and_near_its_audio(small: TTS) -> None:
    chunks = list(small.stream(TEXT, seed=0))
    words = [word for chunk in chunks for word in chunk.words or []]
    assert [word.text for word in words] == TEXT.replace("[pause 1s] ", "").split()
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[-1] <= sum(chunk.duration for chunk in chunks)
    assert sum(bool(chunk.words) for chunk in chunks) > 2


def test_speed_divides_the_times(small: TTS) -> None:
    results = {}
    for speed in (1.0, 2.0):
        (speech,) = small.synthesize_batch(["Never say never."], [small.voice()], [0], speed=speed)
        results[speed] = speech.words or []
    for slow, fast in zip(results[1.0], results[2.0], strict=True):
        assert fast.start == pytest.approx(slow.start / 2)
        assert fast.end == pytest.approx(slow.end / 2)


def test_marks_have_the_second_of_the_next_word(small: TTS) -> None:
    text = '<speak>Good morning <mark name="middle"/>to all of you.<mark name="end"/></speak>'
    (speech,) = small.synthesize_batch([text], [small.voice()], [0])
    assert speech.words is not None
    assert speech.marks == [("middle", speech.words[2].start), ("end", speech.audio.duration)]


def test_codec_whose_codes_are_no_phones_does_not_tell(run_directory: Path, speech: Path) -> None:
    tts = valle.load(run_directory)
    (result,) = tts.synthesize_batch(["Hello."], [tts.prompt(speech)], [0])
    if result.words is None:
        with pytest.raises(UserError, match="does not tell when words are spoken"):
            write_timestamps(Path("words.json"), result.words)


WORDS = [
    TimedWord("This", 0.0, 0.25),
    TimedWord("is", 0.25, 0.5),
    TimedWord("one.", 0.5, 1.0),
    TimedWord("Two", 3661.5, 3662.0),
    TimedWord("more.", 3662.0, 3662.125),
]


def test_files_of_times(tmp_path: Path) -> None:
    write_timestamps(tmp_path / "a.json", WORDS)
    assert json.loads((tmp_path / "a.json").read_text())[0] == {"text": "This", "start": 0.0, "end": 0.25}
    write_timestamps(tmp_path / "a.srt", WORDS)
    assert (tmp_path / "a.srt").read_text() == (
        "1\n00:00:00,000 --> 00:00:01,000\nThis is one.\n\n2\n01:01:01,500 --> 01:01:02,125\nTwo more.\n"
    )
    write_timestamps(tmp_path / "a.vtt", WORDS)
    assert (tmp_path / "a.vtt").read_text().startswith("WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.000\nThis is one.\n")
    with pytest.raises(UserError, match="can only write timestamps"):
        write_timestamps(tmp_path / "a.txt", WORDS)


def test_subtitles_have_at_most_two_lines() -> None:
    words = [TimedWord(f"word{number}", number, number + 1) for number in range(60)]
    cues = subtitles(words)
    lines = [line for cue in cues for line in cue.text.split("\n")]
    assert max(map(len, lines)) <= 42
    assert max(cue.text.count("\n") for cue in cues) == 1
    assert " ".join(lines).split() == [word.text for word in words]
    assert all(cue.end <= after.start for cue, after in pairwise(cues))

"""Transcription of data directories by a speech recognizer, as VALL-E transcribes LibriLight (section 5.1)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from valle import audio
from valle.data import kaldi
from valle.errors import UserError
from valle.files import append_line, read_records
from valle.optional import require

track = require("rich.progress", "train").track

# Transcripts of an unfinished run, in the data directory.
JOURNAL = "transcripts.jsonl"
# Utterances recognized together.
BATCH_SIZE = 16


def transcribe(
    directory: Path, recognize: Callable[[list[np.ndarray]], list[str]], sample_rate: int, recognizer: str
) -> tuple[int, int]:
    """Add the missing transcripts of a data directory.

    Each transcript is first appended to a journal, so that an interrupted run continues when it is called again. At the
    end all files are written, without the utterances in which no word was recognized.

    Args:
        directory: Data directory; the file text may lack utterances, or not exist.
        recognize: Returns the transcripts of (time,) float32 waveforms.
        sample_rate: Hertz of these waveforms.
        recognizer: Name of the recognizer. A journal of another recognizer is not continued.

    Returns:
        The number of utterances of the directory, and of those left out.

    Raises:
        UserError: The directory or a recording is unusable, all utterances have transcripts, or none gets one.
    """
    utterances = kaldi.read(directory, transcribed=False)
    missing = [u for u in utterances if not u.text]
    if not missing:
        raise UserError(f"{directory}: every utterance has a transcript; remove lines of its file text to replace them")
    journal = directory / JOURNAL
    transcripts = {r["id"]: r["text"] for r in read_records(journal) if r["recognizer"] == recognizer}
    remaining = [u for u in missing if u.id not in transcripts]
    for start in track(range(0, len(remaining), BATCH_SIZE), "transcribing"):
        batch = remaining[start : start + BATCH_SIZE]
        waveforms = [audio.read(u.path, sample_rate, start=u.start, end=u.end).samples for u in batch]
        for u, text in zip(batch, recognize(waveforms), strict=True):
            transcripts[u.id] = " ".join(text.split())
            append_line(journal, json.dumps({"id": u.id, "recognizer": recognizer, "text": transcripts[u.id]}))
    complete = [replace(u, text=u.text or transcripts[u.id]) for u in utterances]
    transcribed = [u for u in complete if u.text]
    if not transcribed:
        raise UserError(f"{directory}: {recognizer} recognizes no words in these recordings; choose another recognizer")
    kaldi.write(directory, transcribed)
    journal.unlink(missing_ok=True)
    return len(transcribed), len(utterances) - len(transcribed)

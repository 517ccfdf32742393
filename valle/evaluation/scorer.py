"""Scoring of audio files by recognizer, speaker encoder, quality model and codec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from valle import audio
from valle.audio import Audio
from valle.codec import Codec
from valle.data.kaldi import Utterance
from valle.evaluation.failures import attempt, attempt_read
from valle.evaluation.items import ScoringItem, ScoringTask
from valle.evaluation.prompt_embeddings import PromptEmbeddings, resynthesize
from valle.evaluation.quality import dnsmos
from valle.evaluation.recognizer import SAMPLE_RATE, Recognizer, words
from valle.evaluation.robustness import (
    MIN_LOOP_SECONDS,
    MIN_SILENCE_SECONDS,
    longest_audible_loop,
    longest_silence,
    pause_seconds,
)
from valle.evaluation.score import Score
from valle.evaluation.speaker_encoder import SpeakerEncoder
from valle.evaluation.test_set import CODES, SPEECH
from valle.evaluation.text_errors import character_errors, word_errors
from valle.files import read_records


class Scorer:
    """Scores audio files in batches. A measurement that fails for one file leaves a reason in `Score.failures`.

    Args:
        items: Test set; its prompts are embedded at once.
        codec: Codec of the resynthesis and of the loop detection.
        recognizer: Recognizer of WER and CER.
        encoder: Speaker encoder of SIM.

    Attributes:
        prompts_digest: Hash of the prompts of the test set, on which speaker accuracy depends.
    """

    def __init__(
        self, items: Sequence[ScoringItem], codec: Codec, recognizer: Recognizer, encoder: SpeakerEncoder
    ) -> None:
        self._codec = codec
        self._recognizer = recognizer
        self._prompts = PromptEmbeddings(items, codec, encoder)
        self.prompts_digest = self._prompts.digest
        # Records of speech.jsonl, by folder and file name.
        self._synthesis_records: dict[Path, dict[str, Any]] = {}
        # Reason by the file of a codec resynthesis that failed.
        self._failed_resyntheses: dict[Path, str] = {}

    def write_resynthesis(self, reference: Utterance, path: Path) -> None:
        """Write the codec resynthesis of a recording, unless the file exists and is newer than the recording.

        Where the recording cannot be read or encoded, the reason becomes that of the score of `path`.
        """
        source = reference.path
        if not source.is_file() or (path.is_file() and path.stat().st_mtime_ns >= source.stat().st_mtime_ns):
            return
        # An outdated file must not be scored if the new resynthesis fails.
        path.unlink(missing_ok=True)
        recording, failure = attempt_read(_read, reference, self._codec.sample_rate)
        if recording is not None:
            samples, failure = attempt(resynthesize, self._codec, recording)
            if samples is not None:
                audio.write(path, samples, self._codec.sample_rate)
        if failure:
            self._failed_resyntheses[path] = failure

    def __call__(self, tasks: Sequence[ScoringTask]) -> list[Score]:
        """Return a score for each task."""
        # Recognizers are faster on batches; everything else is scored one by one.
        recordings = [attempt_read(_read, task) for task in tasks]
        readable = [index for index, (recording, _) in enumerate(recordings) if recording is not None]
        results = self._transcribe([_resample(recordings[index][0]) for index in readable])
        transcripts = dict(zip(readable, results, strict=True))
        scores = []
        for index, (task, (recording, failure)) in enumerate(zip(tasks, recordings, strict=True)):
            # A resynthesis cannot be read if it was not written: the reason is the failure of the codec.
            if recording is None:
                scores.append(_unreadable_score(task, self._failed_resyntheses.get(task.path, failure)))
            else:
                scores.append(self._score(task, recording, *transcripts[index]))
        return scores

    def _transcribe(self, recordings: Sequence[np.ndarray]) -> list[tuple[str | None, str]]:
        """Return the normalized transcript of each recording and "", or None and a reason."""
        transcripts, failure = attempt(self._recognizer.transcribe, recordings)
        if transcripts is not None:
            return [(words(text), "") for text in transcripts]
        if len(recordings) == 1:
            return [(None, failure)]
        # One recording can make the whole batch fail, so each is transcribed by itself.
        return [self._transcribe([samples])[0] for samples in recordings]

    def _score(self, task: ScoringTask, recording: Audio, transcript: str | None, failure: str) -> Score:
        """Score a recording that was read; `failure` is the recognizer's."""
        text = words(task.item.text)
        samples = _resample(recording)
        failures = {"WER": failure} if failure else {}
        silence = longest_silence(samples, SAMPLE_RATE)
        # Without a transcript only the counts of words and characters are used.
        word_result = word_errors(text, transcript or "")
        characters, wrong_characters = character_errors(text, transcript or "")
        record = self._synthesis_record(task.path) if task.system == "synthesized" else {}
        quality, failures["DNSMOS"] = attempt(dnsmos, samples)
        codes, failures["loops"] = attempt(read_codes, task, recording, self._codec)
        loop = None
        if codes is not None:
            loop = longest_audible_loop(codes, samples, SAMPLE_RATE) / self._codec.frame_rate
        recognized = transcript is not None
        return Score(
            **_identity(task),
            transcript=transcript,
            words=word_result.words,
            word_errors=word_result.errors if recognized else None,
            characters=characters,
            character_errors=wrong_characters if recognized else None,
            **self._prompts.similarities(task.item, samples, failures),
            **(quality or {}),
            seconds=recording.duration,
            pause_seconds=pause_seconds(samples, SAMPLE_RATE),
            longest_silence=silence,
            longest_loop=loop,
            has_loop=None if loop is None else loop >= MIN_LOOP_SECONDS,
            has_silence=silence >= MIN_SILENCE_SECONDS,
            early_stop=word_result.last_word_deleted if recognized else None,
            truncated=record.get("no_end"),
            processing_seconds=record["rtf"] * recording.duration if record else None,
            failures={name: reason for name, reason in failures.items() if reason},
        )

    def _synthesis_record(self, path: Path) -> dict[str, Any]:
        """Return what valle-synth recorded of a file in speech.jsonl; empty where it did not write the file."""
        folder = path.parent
        if folder not in self._synthesis_records:
            records = read_records(folder / SPEECH)
            self._synthesis_records[folder] = {record["file"]: record for record in records}
        return self._synthesis_records[folder].get(path.name, {})


def read_codes(source: ScoringTask | Score, recording: Audio, codec: Codec) -> Tensor:
    """Return the codes of an utterance.

    Args:
        source: The utterance.
        recording: Its audio.
        codec: Encodes the audio where valle-synth saved no codes.

    Returns:
        (time, codebook) codes.
    """
    path = Path(source.path)
    # The sampled codes, in which loops are exact; those of encoded audio differ slightly.
    saved = path.parent / CODES / f"{path.stem}.npy"
    if source.system == "synthesized" and saved.is_file():
        return torch.from_numpy(np.load(saved).astype(np.int64))
    return codec.encode(recording.samples, recording.sample_rate)


def _unreadable_score(task: ScoringTask, reason: str) -> Score:
    """Return the score of a file that cannot be read: it has no measurement."""
    text = words(task.item.text)
    return Score(
        **_identity(task),
        transcript=None,
        words=len(text.split()),
        word_errors=None,
        characters=len(text),
        character_errors=None,
        failures={"audio": reason},
    )


def _identity(task: ScoringTask) -> dict[str, Any]:
    """Return the fields of a score that name the utterance and its audio file."""
    return {
        "id": task.item.id,
        "system": task.system,
        "speaker": task.item.speaker,
        "path": str(task.path),
        "start": task.start,
        "end": task.end,
        "text": task.item.text,
    }


def _read(source: ScoringTask | Utterance, sample_rate: int | None = None) -> Audio:
    """Read the audio of an utterance."""
    return audio.read(source.path, sample_rate, start=source.start, end=source.end)


def _resample(recording: Audio) -> np.ndarray:
    """Return (time,) samples at the sample rate of the scoring models."""
    return audio.resample(recording.samples, recording.sample_rate, SAMPLE_RATE)

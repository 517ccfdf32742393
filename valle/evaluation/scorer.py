"""Scoring of audio files by recognizer, speaker encoder, quality model and codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from valle.evaluation.test_set import CODES, read_synthesis_records
from valle.evaluation.text_errors import character_errors, word_errors


class Scorer:
    """Scores audio files in batches. A measurement that fails for one file leaves a reason in `Score.failures`.

    Args:
        items: Test set; its prompts are embedded at once.
        codec: Codec of the resynthesis and of the loop detection.
        recognizer: Recognizer of WER and CER; None: only audio files in `transcripts` have them.
        encoder: Speaker encoder of SIM.
        transcripts: Transcripts of an outside recognizer; see `valle.evaluation.transcripts.read_transcripts`.

    Attributes:
        transcripts: See above.
        prompts_digest: Hash of the prompts of the test set, on which speaker accuracy depends.
    """

    def __init__(
        self,
        items: Sequence[ScoringItem],
        codec: Codec,
        recognizer: Recognizer | None,
        encoder: SpeakerEncoder,
        transcripts: Mapping[str, str] | None = None,
    ) -> None:
        self.transcripts = transcripts or {}
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
        transcripts = self._transcripts(tasks, [recording for recording, _ in recordings])
        scores = []
        for index, (task, (recording, failure)) in enumerate(zip(tasks, recordings, strict=True)):
            # A resynthesis cannot be read if it was not written: the reason is the failure of the codec.
            if recording is None:
                scores.append(_unreadable_score(task, self._failed_resyntheses.get(task.path, failure)))
            else:
                scores.append(self._score(task, recording, *transcripts[index]))
        return scores

    def _transcripts(
        self, tasks: Sequence[ScoringTask], recordings: Sequence[Audio | None]
    ) -> list[tuple[str | None, str]]:
        """Return the normalized transcript of each task and "", or None and a reason; ("" where there need not be one).

        Args:
            tasks: The tasks.
            recordings: Their audio; None where it cannot be read.
        """
        transcripts: list[tuple[str | None, str]] = [
            (None if task.transcript is None else words(task.transcript), "") for task in tasks
        ]
        if self._recognizer is None:
            return transcripts
        pending = {
            index: _resample(recording)
            for index, (task, recording) in enumerate(zip(tasks, recordings, strict=True))
            if recording is not None and task.item.text is not None
        }
        results = self._transcribe(self._recognizer, list(pending.values()))
        for index, result in zip(pending, results, strict=True):
            transcripts[index] = result
        return transcripts

    def _transcribe(self, recognizer: Recognizer, recordings: Sequence[np.ndarray]) -> list[tuple[str | None, str]]:
        """Return the normalized transcript of each recording and "", or None and a reason."""
        transcripts, failure = attempt(recognizer.transcribe, recordings)
        if transcripts is not None:
            return [(words(text), "") for text in transcripts]
        if len(recordings) == 1:
            return [(None, failure)]
        # One recording can make the whole batch fail, so each is transcribed by itself.
        return [self._transcribe(recognizer, [samples])[0] for samples in recordings]

    def _score(self, task: ScoringTask, recording: Audio, transcript: str | None, failure: str) -> Score:
        """Score a recording that was read; `failure` is the recognizer's."""
        samples = _resample(recording)
        failures = {"WER": failure} if failure else {}
        silence = longest_silence(samples, SAMPLE_RATE)
        record = self._synthesis_record(task.path) if task.system == "synthesized" else {}
        quality, failures["DNSMOS"] = attempt(dnsmos, samples)
        codes, failures["loops"] = attempt(read_codes, task, recording, self._codec)
        loop = None
        if codes is not None:
            loop = longest_audible_loop(codes, samples, SAMPLE_RATE) / self._codec.frame_rate
        return Score(
            **_identity(task),
            **_text_scores(task.item.text, transcript),
            **self._prompts.similarities(task.item, samples, failures),
            **(quality or {}),
            seconds=recording.duration,
            pause_seconds=pause_seconds(samples, SAMPLE_RATE),
            longest_silence=silence,
            longest_loop=loop,
            has_loop=None if loop is None else loop >= MIN_LOOP_SECONDS,
            has_silence=silence >= MIN_SILENCE_SECONDS,
            truncated=record.get("no_end"),
            processing_seconds=record["rtf"] * recording.duration if record else None,
            failures={name: reason for name, reason in failures.items() if reason},
        )

    def _synthesis_record(self, path: Path) -> dict[str, Any]:
        """Return what valle-synth recorded of a file in speech.jsonl; empty where it did not write the file."""
        folder = path.parent
        if folder not in self._synthesis_records:
            self._synthesis_records[folder] = read_synthesis_records(folder)
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
        return torch.from_numpy(np.load(saved).astype(np.int64))[round(source.start * codec.frame_rate) :]
    return codec.encode(recording.samples, recording.sample_rate)


def _unreadable_score(task: ScoringTask, reason: str) -> Score:
    """Return the score of a file that cannot be read: it has no measurement."""
    return Score(**_identity(task), **_text_scores(task.item.text, None), failures={"audio": reason})


def _text_scores(text: str | None, transcript: str | None) -> dict[str, Any]:
    """Return the fields of a score that depend on text and transcript only.

    Args:
        text: Target text; None where it is not available.
        transcript: Normalized transcript; None where it is not available.
    """
    scores: dict[str, Any] = {"transcript": transcript, "words": None, "characters": None}
    scores |= {"word_errors": None, "character_errors": None, "early_stop": None}
    if text is None:
        return scores
    text = words(text)
    # Without a transcript only the counts of words and characters are used.
    result = word_errors(text, transcript or "")
    characters, wrong_characters = character_errors(text, transcript or "")
    scores |= {"words": result.words, "characters": characters}
    if transcript is not None:
        scores["word_errors"] = result.errors
        scores["character_errors"] = wrong_characters
        scores["early_stop"] = result.last_word_deleted
    return scores


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

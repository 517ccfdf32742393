"""Scores of one utterance by one system: the record of `scores.jsonl`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SYSTEMS = ("recording", "codec", "synthesized")
SYSTEM_LABELS = {"recording": "recording", "codec": "codec resynthesis", "synthesized": "synthesized"}
SCORES = "scores.jsonl"
CANDIDATES = "candidates.jsonl"  # scores of all candidates, where one of several was selected

# Names of fields in files that earlier versions wrote.
FORMER_FIELDS = {
    "heard": "transcript",
    "own_voice": "speaker_correct",
    "pauses": "pause_seconds",
    "silence": "longest_silence",
    "loop": "longest_loop",
    "looped": "has_loop",
    "silent": "has_silence",
    "no_end": "truncated",
    "work": "processing_seconds",
    "dnsmos": "dnsmos_p835",
}


@dataclass
class Score:
    """Scores of one utterance by one system. A score is None where it could not be measured.

    Of the mean of several candidates (`valle.evaluation.selection`), counts are means and flags are shares.

    Attributes:
        id: Utterance id.
        system: One of `SYSTEMS`.
        speaker: Speaker of the prompt.
        path: Audio file.
        start: Start of the utterance in the file, in seconds.
        end: End of the utterance in the file, in seconds; None: the end of the file.
        text: Words of the scored audio; None where they are not available.
        transcript: Recognizer's transcript, normalized.
        words: Number of words of the normalized text.
        word_errors: Substitutions, deletions and insertions of words.
        characters: Number of characters of the normalized text.
        character_errors: Substitutions, deletions and insertions of characters.
        sim_o: Cosine similarity of the speaker embeddings of the utterance and of the original prompt.
        sim_r: Cosine similarity to the prompt resynthesized by the codec.
        speaker_correct: Whether the prompt's speaker is the most similar one of all speakers of the test set.
        dnsmos_p835: DNSMOS P.835 overall quality, 1 to 5.
        dnsmos_p808: DNSMOS P.808 overall quality, 1 to 5.
        sig: DNSMOS P.835 quality of the speech.
        bak: DNSMOS P.835 quality of the background.
        seconds: Duration.
        pause_seconds: Total duration of pauses.
        longest_silence: Duration of the longest silence, in seconds.
        longest_loop: Duration of the longest loop in the first codebook outside pauses, in seconds.
        has_loop: Whether the longest loop is long enough to count as an error.
        has_silence: Whether the longest silence is long enough to count as an error.
        early_stop: Whether the transcript lacks the last word of the text.
        truncated: Whether synthesis stopped at its length bound, without an EOS token.
        processing_seconds: Time that synthesis took.
        failures: Reason why a measurement is missing, by the name of the measurement.
    """

    id: str
    system: str
    speaker: str
    path: str
    start: float
    end: float | None
    text: str | None
    transcript: str | None
    words: int | None
    word_errors: float | None
    characters: int | None
    character_errors: float | None
    sim_o: float | None = None
    sim_r: float | None = None
    speaker_correct: float | None = None
    dnsmos_p835: float | None = None
    dnsmos_p808: float | None = None
    sig: float | None = None
    bak: float | None = None
    seconds: float | None = None
    pause_seconds: float | None = None
    longest_silence: float | None = None
    longest_loop: float | None = None
    has_loop: float | None = None
    has_silence: float | None = None
    early_stop: float | None = None
    truncated: float | None = None
    processing_seconds: float | None = None
    failures: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Score:
        """Return the score of a line of `scores.jsonl`, also of one with the field names of an earlier version."""
        return cls(**{FORMER_FIELDS.get(name, name): value for name, value in record.items()})

    @property
    def wer(self) -> float | None:
        """Word error rate; None where the recognizer failed."""
        return None if self.word_errors is None else self.word_errors / max(1, self.words or 0)

"""Metrics of a codec: quality of its resynthesis, use of its codebooks, bit rate and speed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from valle import audio
from valle.codec import Codec
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.evaluation.embeddings import cosine_similarity
from valle.evaluation.failures import attempt, attempt_read, failure_lines
from valle.evaluation.metrics import Estimate, estimate_ratio
from valle.evaluation.quality import SAMPLE_RATE, mel_distance, pesq, stoi
from valle.evaluation.recognizer import Recognizer, words
from valle.evaluation.speaker_encoder import SpeakerEncoder
from valle.evaluation.text_errors import word_errors
from valle.optional import require

track = require("rich.progress", "eval").track

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus")

# Heading and format of each metric.
METRICS = {
    "stoi": ("STOI", ".3f"),
    "pesq": ("PESQ, wide band", ".2f"),
    "mel": ("mel distance, dB", ".2f"),
    "sim": ("SIM to the recording", ".3f"),
    "wer": ("WER against the recording's transcript", ".1%"),
}


@dataclass
class CodecScores:
    """Scores of a codec over recordings.

    Attributes:
        metrics: Estimates of `METRICS`.
        perplexity: Exponential of the entropy of the entries of each codebook.
        used: Share of the entries of each codebook that occur.
        bits: Bits per second of the codes as they are stored.
        entropy: Bits per second by the entropy of each codebook.
        speed: Seconds of audio encoded and decoded per second.
        seconds: Duration of the recordings.
        notes: Notes about recordings that could not be scored.
    """

    metrics: dict[str, Estimate]
    perplexity: list[float]
    used: list[float]
    bits: float
    entropy: float
    speed: float
    seconds: float
    notes: list[str]


@dataclass
class _Measurements:
    """Values of each recording that was resynthesized, and what they are computed from."""

    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in (*METRICS, "words")})
    codes: list[Tensor] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    audio_seconds: float = 0.0
    processing_seconds: float = 0.0


def perplexity(codes: Tensor, size: int) -> float:
    """Return the exponential of the entropy of (time,) codes of a codebook with `size` entries."""
    share = torch.bincount(codes, minlength=size).double() / len(codes)
    share = share[share > 0]
    return float(torch.exp(-(share * share.log()).sum()))


def score_codec(
    codec: Codec,
    recordings: list[Utterance],
    recognizer: Recognizer,
    encoder: SpeakerEncoder,
    codebooks: int | None = None,
) -> CodecScores:
    """Encode and decode recordings, and compare the result with the originals.

    Args:
        codec: The codec.
        recordings: Recordings of speech.
        recognizer: Recognizer; the transcripts of a recording and of its resynthesis are compared.
        encoder: Speaker encoder.
        codebooks: Number of codebooks that are decoded; None: all.

    Raises:
        UserError: There are no recordings, or none of them can be read and encoded.
    """
    if not recordings:
        raise UserError("no recordings to score the codec with; give a data directory or a folder with audio files")
    count = codebooks or codec.num_codebooks
    measured = _Measurements()
    for utterance in track(recordings, "codec"):
        recording, failure = attempt_read(_read, utterance)
        begin = time.perf_counter()
        if recording is not None:
            result, failure = attempt(_resynthesize, codec, recording, count)
        if failure:
            measured.failures.append(("codec resynthesis", failure, utterance.id))
            continue
        # Only the codec is timed, not reading and scoring.
        measured.processing_seconds += time.perf_counter() - begin
        measured.audio_seconds += recording.duration
        codes, decoded = result
        measured.codes.append(codes)
        resampled = _match_length(decoded, codec, len(recording.samples))
        scores, reasons = _compare(recording.samples, resampled, recognizer, encoder)
        for name, values in measured.values.items():
            values.append(scores.get(name, math.nan))
        measured.failures += [(METRICS[name][0], reason, utterance.id) for name, reason in reasons.items()]
    return _summarize(codec, measured, count)


def _read(utterance: Utterance) -> audio.Audio:
    """Read a recording at the sample rate of the scoring models."""
    return audio.read(utterance.path, SAMPLE_RATE, start=utterance.start, end=utterance.end)


def _resynthesize(codec: Codec, recording: audio.Audio, codebooks: int) -> tuple[Tensor, np.ndarray]:
    """Return the codes (time, codebook) of a recording and the samples decoded from them."""
    codes = codec.encode(recording.samples, SAMPLE_RATE)[:, :codebooks]
    return codes, codec.decode(codes)


def _match_length(decoded: np.ndarray, codec: Codec, length: int) -> np.ndarray:
    """Resample decoded samples to `SAMPLE_RATE`, and truncate or pad them to `length`."""
    # Codecs decode whole frames, so the result can be longer than the recording.
    decoded = audio.resample(decoded, codec.sample_rate, SAMPLE_RATE)[:length]
    return np.pad(decoded, (0, length - len(decoded)))


def _compare(
    samples: np.ndarray, decoded: np.ndarray, recognizer: Recognizer, encoder: SpeakerEncoder
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the scores of a resynthesis by name, and the reason for each that is missing."""
    scorers: dict[str, Callable[[], float]] = {
        "stoi": lambda: stoi(samples, decoded),
        "pesq": lambda: pesq(samples, decoded),
        "mel": lambda: mel_distance(samples, decoded),
        "sim": lambda: cosine_similarity(encoder.embed(samples), encoder.embed(decoded)),
    }
    scores: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name, scorer in scorers.items():
        value, reason = attempt(scorer)
        if value is None:
            reasons[name] = reason
        else:
            scores[name] = value
    transcripts, reason = attempt(recognizer.transcribe, [samples, decoded])
    if transcripts is None:
        reasons["wer"] = reason
    else:
        result = word_errors(*map(words, transcripts))
        scores |= {"words": result.words, "wer": result.errors}
    return scores, reasons


def _summarize(codec: Codec, measured: _Measurements, codebooks: int) -> CodecScores:
    """Compute the scores of a codec from the measurements of all recordings."""
    notes = failure_lines(measured.failures)
    if not measured.codes:
        raise UserError(f"the codec cannot be scored: {'; '.join(notes)}")
    metrics = {}
    for name in METRICS:
        values = np.array(measured.values[name], float)
        denominator = np.array(measured.values["words"], float) if name == "wer" else np.ones_like(values)
        # A value that could not be measured, such as PESQ of a recording without speech, is NaN.
        finite = np.isfinite(values)
        metrics[name] = estimate_ratio(values[finite], denominator[finite])
    codes = torch.cat(measured.codes)
    size = codec.codebook_size
    perplexities = [perplexity(codes[:, j], size) for j in range(codebooks)]
    return CodecScores(
        metrics=metrics,
        perplexity=perplexities,
        used=[len(codes[:, j].unique()) / size for j in range(codebooks)],
        bits=codec.frame_rate * codebooks * math.log2(size),
        entropy=codec.frame_rate * sum(math.log2(p) for p in perplexities),
        speed=measured.audio_seconds / measured.processing_seconds,
        seconds=measured.audio_seconds,
        notes=notes,
    )


def table(title: str, scores: CodecScores) -> str:
    """Format the scores of a codec as Markdown."""
    lines = [f"### {title}", "", "| | value | 95 % interval | recordings |", "|---|---|---|---|"]
    for name, (heading, form) in METRICS.items():
        e = scores.metrics[name]
        if e.value is not None:
            lines.append(f"| {heading} | {e.value:{form}} | {e.low:{form}} to {e.high:{form}} | {e.count} |")
    lines += [
        f"| perplexity of each codebook | {', '.join(f'{p:.0f}' for p in scores.perplexity)} | | |",
        f"| entries in use | {', '.join(f'{u:.0%}' for u in scores.used)} | | |",
        f"| bits per second, stored and by entropy | {scores.bits:.0f}, {scores.entropy:.0f} | | |",
        f"| encoding and decoding | {scores.speed:.0f} x real time on {torch.get_num_threads()} threads | | |",
        "",
        f"{max(e.count for e in scores.metrics.values())} recordings, {scores.seconds:.0f} s.",
        *(f"- {note}" for note in scores.notes),
    ]
    return "\n".join(lines) + "\n"


def find_recordings(source: Path) -> list[Utterance]:
    """Return the utterances of a data directory, or every audio file below a folder.

    Raises:
        UserError: It is neither.
    """
    from valle.data import kaldi

    if (source / "wav.scp").is_file():
        return kaldi.read(source)
    files = sorted(p for p in source.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        raise UserError(f"{source}: neither a data directory nor a folder with audio files; check the path")
    return [Utterance(path.stem, path, "", "") for path in files]

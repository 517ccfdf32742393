"""What a codec does to speech, and how it uses its codes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from valle import audio
from valle.codec import Codec
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.evaluation.attempt import attempt, attempt_read, failure_lines
from valle.evaluation.metrics import Estimate, estimate_ratio
from valle.evaluation.quality import SAMPLE_RATE, mel_distance, pesq, stoi
from valle.evaluation.recognizer import Recognizer, words
from valle.evaluation.score import word_errors
from valle.evaluation.similarity import SpeakerEncoder, similarity

METRICS = {  # name -> heading, form
    "stoi": ("STOI", ".3f"),
    "pesq": ("PESQ, wide band", ".2f"),
    "mel": ("mel distance, dB", ".2f"),
    "sim": ("similarity to the recording's voice", ".3f"),
    "disagreement": ("words heard otherwise than in the recording", ".1%"),
}


@dataclass
class CodecScores:
    """Scores of a codec over recordings.

    metrics:    those of `METRICS`
    perplexity: of each codebook, exp of the entropy of its entries' frequencies; used: share of its entries in use
    bits:       a second, as the codes are stored; entropy: as they would be stored by each codebook's frequencies
    speed:      seconds of speech encoded and decoded a second
    notes:      a line for each scorer and reason with which recordings could not be scored
    """

    metrics: dict[str, Estimate]
    perplexity: list[float]
    used: list[float]
    bits: float
    entropy: float
    speed: float
    seconds: float
    notes: list[str]


def perplexity(codes: Tensor, size: int) -> float:
    """exp of the entropy of how often each of `size` entries is used; codes (time,)."""
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
    """Encode, decode and compare. `codebooks`: decode from the first so many; None: all.

    Raises UserError where there is nothing to compare, or no recording can be read and encoded.
    """
    if not recordings:
        raise UserError("no recordings to judge the codec on")
    kept = codebooks or codec.num_codebooks
    rows: dict[str, list[float]] = {name: [] for name in (*METRICS, "words")}
    failures: list[tuple[str, str, str]] = []
    codes, seconds, spent = [], 0.0, 0.0
    for u in track(recordings, "codec"):
        sound, failure = attempt_read(_read, u)
        begin = time.perf_counter()
        if sound is not None:
            trip, failure = attempt(_round_trip, codec, sound, kept)
        if failure:
            failures.append(("codec round trip", failure, u.id))
            continue
        spent += time.perf_counter() - begin
        seconds += sound.duration
        codes.append(trip[0])
        found, reasons = _compare(sound.samples, _aligned(trip[1], codec, len(sound.samples)), recognizer, encoder)
        for name, values in rows.items():
            values.append(found.get(name, math.nan))
        failures += [(METRICS[name][0], reason, u.id) for name, reason in reasons.items()]
    notes = failure_lines(failures)
    if not codes:
        raise UserError(f"the codec cannot be scored: {'; '.join(notes)}")
    return _gather(codec, rows, torch.cat(codes), kept, seconds, spent, notes)


def _read(u: Utterance) -> audio.Audio:
    return audio.read(u.path, SAMPLE_RATE, start=u.start, end=u.end)


def _round_trip(codec: Codec, sound: audio.Audio, codebooks: int) -> tuple[Tensor, np.ndarray]:
    """Codes (frames, codebooks) of a recording and what is decoded from them."""
    codes = codec.encode(sound.samples, SAMPLE_RATE)[:, :codebooks]
    return codes, codec.decode(codes)


def _aligned(decoded: np.ndarray, codec: Codec, length: int) -> np.ndarray:
    """Decoded samples at `SAMPLE_RATE`, cut or padded to `length`."""
    decoded = audio.resample(decoded, codec.sample_rate, SAMPLE_RATE)[:length]
    return np.pad(decoded, (0, length - len(decoded)))


def _compare(
    samples: np.ndarray, decoded: np.ndarray, recognizer: Recognizer, encoder: SpeakerEncoder
) -> tuple[dict[str, float], dict[str, str]]:
    """Scores of a recording's round trip by name, and the reason for each that is missing."""
    scorers: dict[str, Callable[[], float]] = {
        "stoi": lambda: stoi(samples, decoded),
        "pesq": lambda: pesq(samples, decoded),
        "mel": lambda: mel_distance(samples, decoded),
        "sim": lambda: similarity(encoder.embed(samples), encoder.embed(decoded)),
    }
    found: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name, scorer in scorers.items():
        value, reason = attempt(scorer)
        if value is None:
            reasons[name] = reason
        else:
            found[name] = value
    said, reason = attempt(recognizer.transcribe, [samples, decoded])
    if said is None:
        reasons["disagreement"] = reason
    else:
        count, errors, _ = word_errors(*map(words, said))
        found |= {"words": count, "disagreement": errors}
    return found, reasons


def _gather(
    codec: Codec,
    rows: dict[str, list[float]],
    codes: Tensor,
    kept: int,
    seconds: float,
    spent: float,
    notes: list[str],
) -> CodecScores:
    metrics = {}
    for name in METRICS:
        values = np.array(rows[name], float)
        under = np.array(rows["words"], float) if name == "disagreement" else np.ones_like(values)
        # What could not be scored, such as PESQ of a recording without speech, is NaN.
        found = np.isfinite(values)
        metrics[name] = estimate_ratio(values[found], under[found])
    size = codec.codebook_size
    perplexities = [perplexity(codes[:, j], size) for j in range(kept)]
    return CodecScores(
        metrics=metrics,
        perplexity=perplexities,
        used=[len(codes[:, j].unique()) / size for j in range(kept)],
        bits=codec.frame_rate * kept * math.log2(size),
        entropy=codec.frame_rate * sum(math.log2(p) for p in perplexities),
        speed=seconds / spent,
        seconds=seconds,
        notes=notes,
    )


def table(title: str, scores: CodecScores) -> str:
    """Markdown."""
    lines = [f"### {title}", "", "| | value | 95 % interval | recordings |", "|---|---|---|---|"]
    for name, (heading, form) in METRICS.items():
        e = scores.metrics[name]
        if e.value is not None:
            lines.append(f"| {heading} | {e.value:{form}} | {e.low:{form}} to {e.high:{form}} | {e.count} |")
    lines += [
        f"| perplexity of each codebook | {', '.join(f'{p:.0f}' for p in scores.perplexity)} | | |",
        f"| entries in use | {', '.join(f'{u:.0%}' for u in scores.used)} | | |",
        f"| bits a second, stored and by entropy | {scores.bits:.0f}, {scores.entropy:.0f} | | |",
        f"| round trip | {scores.speed:.0f} x real time on {torch.get_num_threads()} threads | | |",
        "",
        f"{max(e.count for e in scores.metrics.values())} recordings, {scores.seconds:.0f} s.",
        *(f"- {note}" for note in scores.notes),
    ]
    return "\n".join(lines) + "\n"


def recordings_of(source: Path) -> list[Utterance]:
    """Utterances of a data directory, or every sound file of a folder, as one speaker's."""
    from valle.data import kaldi

    if (source / "wav.scp").is_file():
        return kaldi.read(source)
    files = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".wav", ".flac", ".ogg", ".mp3", ".opus"))
    if not files:
        raise UserError(f"{source}: neither a data directory nor a folder with sound files")
    return [Utterance(path.stem, path, "", "") for path in files]

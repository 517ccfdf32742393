"""What a codec does to speech, and how it uses its codes."""

from __future__ import annotations

import math
import time
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
    """

    metrics: dict[str, Estimate]
    perplexity: list[float]
    used: list[float]
    bits: float
    entropy: float
    speed: float
    seconds: float


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

    Raises UserError where there is nothing to compare.
    """
    if not recordings:
        raise UserError("no recordings to judge the codec on")
    kept = codebooks or codec.num_codebooks
    rows: dict[str, list[float]] = {name: [] for name in (*METRICS, "words")}
    codes, seconds, spent = [], 0.0, 0.0
    for u in track(recordings, "codec"):
        samples = audio.read(u.path, SAMPLE_RATE, start=u.start, end=u.end).samples
        begin = time.perf_counter()
        codes.append(codec.encode(samples, SAMPLE_RATE)[:, :kept])
        decoded = codec.decode(codes[-1])
        spent += time.perf_counter() - begin
        seconds += len(samples) / SAMPLE_RATE
        decoded = audio.resample(decoded, codec.sample_rate, SAMPLE_RATE)[: len(samples)]
        decoded = np.pad(decoded, (0, len(samples) - len(decoded)))
        before, after = map(words, recognizer.transcribe([samples, decoded]))
        count, errors, _ = word_errors(before, after)
        rows["words"].append(count)
        rows["disagreement"].append(errors)
        rows["stoi"].append(stoi(samples, decoded))
        rows["pesq"].append(pesq(samples, decoded))
        rows["mel"].append(mel_distance(samples, decoded))
        rows["sim"].append(similarity(encoder.embed(samples), encoder.embed(decoded)))
    return _gather(codec, rows, torch.cat(codes), kept, seconds, spent)


def _gather(
    codec: Codec, rows: dict[str, list[float]], codes: Tensor, kept: int, seconds: float, spent: float
) -> CodecScores:
    metrics = {}
    for name in METRICS:
        values = np.array(rows[name], float)
        under = np.array(rows["words"], float) if name == "disagreement" else np.ones_like(values)
        found = np.isfinite(values)  # PESQ of a recording without speech is not
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
    )


def table(title: str, scores: CodecScores) -> str:
    """Markdown."""
    lines = [f"### {title}", "", "| | value | 95 % interval |", "|---|---|---|"]
    for name, (heading, form) in METRICS.items():
        e = scores.metrics[name]
        if e.value is not None:
            lines.append(f"| {heading} | {e.value:{form}} | {e.low:{form}} to {e.high:{form}} |")
    lines += [
        f"| perplexity of each codebook | {', '.join(f'{p:.0f}' for p in scores.perplexity)} | |",
        f"| entries in use | {', '.join(f'{u:.0%}' for u in scores.used)} | |",
        f"| bits a second, stored and by entropy | {scores.bits:.0f}, {scores.entropy:.0f} | |",
        f"| round trip | {scores.speed:.0f} x real time on {torch.get_num_threads()} threads | |",
        "",
        f"{scores.metrics['stoi'].count} recordings, {scores.seconds:.0f} s.",
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

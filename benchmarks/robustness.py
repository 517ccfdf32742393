"""Measure how often synthesis fails: failures per 1,000 syntheses by length of the text, for unseen speakers.

    python benchmarks/robustness.py PROMPTS --records robustness.jsonl --json benchmarks/robustness.json

PROMPTS is a data directory of speakers who are not in the training data, with recordings of about 2 to 10 s and their
transcripts; benchmarks/RESULTS.md describes that of the published table. Every text of `robustness.txt` (eight of about
1, 2, 3, 5, 10, 20 and 40 words) is synthesized with a prompt of every speaker, transcribed and untranscribed. A
recognizer (Whisper tiny.en) transcribes the result. A stopped run continues from its records.

Failures, each with a 95 % Wilson interval:

near-empty  shorter than 0.25 s, or silent
missing     at least a fifth of the words of the text are not in the transcript
repeated    the transcript repeats words directly that the text does not
no end      the length bound was reached before EOS
tail        words after the last word of the text, or, where codes stand for phones, phones for more than 0.5 s
WER         per text at most 1: otherwise loops of the recognizer itself would outweigh everything else
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

import valle
from valle import audio
from valle.cli.common import run
from valle.data import kaldi
from valle.errors import UserError
from valle.evaluation.metrics import wilson_interval
from valle.evaluation.recognizer import SAMPLE_RATE, Recognizer, load_recognizer, words
from valle.files import append_line, read_records, write_text
from valle.models.sampling import SPEECH_TOP_P, Sampling
from valle.optional import require
from valle.synthesis import DoubtfulWarning, IncompleteWarning, Speech, TruncatedWarning, planning

TEXTS = Path(__file__).with_name("robustness.txt")
# Approximate numbers of words of the texts.
LENGTHS = (1, 2, 3, 5, 10, 20, 40)
FAILURES = ("near_empty", "missing", "repeated", "no_end", "tail")
MIN_SECONDS = 0.25
# Decibels relative to full scale.
MIN_LEVEL = -50.0
# Share of the words.
MIN_MISSING = 0.2
MAX_TAIL_SECONDS = 0.5
# Words of a repetition.
MAX_REPEAT = 4
# Seconds; the prompt of each speaker is the utterance with the closest duration.
PROMPT_SECONDS = 4


@dataclass(frozen=True)
class Record:
    """One synthesis.

    Attributes:
        voice: Utterance id of the prompt.
        with_text: Whether the prompt was transcribed.
        length: Approximate number of words of the text.
        text: Text.
        transcript: Transcript of the result.
        seconds: Duration of the result.
        wer: Word error rate, at most 1.
        near_empty, missing, repeated, no_end, tail: Failures.
        warned: Whether synthesis gave a warning.
        missing_phones: Share of the text's phones that are missing in the codes; NaN where codes are not phones.
        wrong_frames: Share of the frames that are other phones than the text's; NaN where codes are not phones.
    """

    voice: str
    with_text: bool
    length: int
    text: str
    transcript: str
    seconds: float
    wer: float
    near_empty: bool
    missing: bool
    repeated: bool
    no_end: bool
    tail: bool
    warned: bool
    missing_phones: float
    wrong_frames: float


def read_texts(each: int) -> list[tuple[int, str]]:
    """Return the first `each` texts of every length, with their lengths."""
    lines = TEXTS.read_text(encoding="utf-8").splitlines()
    size = len(lines) // len(LENGTHS)
    return [(length, lines[i * size + j]) for i, length in enumerate(LENGTHS) for j in range(min(each, size))]


def _distance(utterance: kaldi.Utterance) -> float:
    """Return the difference of a duration to `PROMPT_SECONDS`."""
    return abs((utterance.duration or 0) - PROMPT_SECONDS)


def choose_voices(directory: Path, count: int) -> list[kaldi.Utterance]:
    """Return an utterance of about `PROMPT_SECONDS` of each of the first `count` speakers."""
    by_speaker: dict[str, kaldi.Utterance] = {}
    for u in kaldi.with_durations(kaldi.read(directory)):
        best = by_speaker.get(u.speaker)
        if best is None or _distance(u) < _distance(best):
            by_speaker[u.speaker] = u
    return [by_speaker[speaker] for speaker in sorted(by_speaker)[:count]]


def aligned_words(text: list[str], transcript: list[str]) -> tuple[int, int]:
    """Return how many words of the text the transcript lacks, and how many follow the last word of the text."""
    jiwer = require("jiwer", "eval")

    if not transcript:
        return len(text), 0
    (chunks,) = jiwer.process_words(" ".join(text), " ".join(transcript)).alignments
    deleted = sum(chunk.ref_end_idx - chunk.ref_start_idx for chunk in chunks if chunk.type == "delete")
    last = chunks[-1]
    return deleted, last.hyp_end_idx - last.hyp_start_idx if last.type == "insert" else 0


def repeats(sequence: list[str]) -> int:
    """Count how often a sequence of one to `MAX_REPEAT` words directly follows itself."""
    return sum(
        sequence[i : i + n] == sequence[i + n : i + 2 * n]
        for n in range(1, MAX_REPEAT + 1)
        for i in range(len(sequence) - 2 * n + 1)
    )


def score(speech: Speech, recognizer: Recognizer, text: str, **settings: Any) -> Record:
    """Transcribe a result and detect its failures.

    Args:
        speech: Result.
        recognizer: Recognizer.
        text: Its text.
        settings: Fields of the record that say how it was synthesized.
    """
    jiwer = require("jiwer", "eval")
    samples = audio.resample(speech.audio.samples, speech.audio.sample_rate, SAMPLE_RATE)
    (transcript,) = recognizer.transcribe([samples])
    reference = words(text).split()
    recognized = words(transcript).split()
    deleted, extra = aligned_words(reference, recognized)
    quality = speech.quality
    return Record(
        **settings,
        text=text,
        transcript=transcript.strip(),
        seconds=round(speech.audio.duration, 2),
        wer=min(1.0, jiwer.wer(" ".join(reference), " ".join(recognized))) if recognized else 1.0,
        near_empty=bool(speech.audio.duration < MIN_SECONDS or audio.loudness(samples) < MIN_LEVEL),
        missing=deleted >= max(1, MIN_MISSING * len(reference)),
        repeated=repeats(recognized) > repeats(reference),
        no_end=speech.truncated,
        tail=extra > 0 or (quality is not None and quality.tail_seconds > MAX_TAIL_SECONDS),
        warned=speech.truncated or (quality is not None and quality.verdict != "complete"),
        missing_phones=float(quality.missing_phones) if quality else math.nan,
        wrong_frames=quality.wrong_frames if quality else math.nan,
    )


def row(name: str, records: list[Record]) -> str:
    """Return a line of the table."""
    cells = []
    for failure in FAILURES:
        count = sum(getattr(record, failure) for record in records)
        low, high = wilson_interval(count, len(records))
        cells.append(f"{1000 * count / len(records):.0f} ({1000 * low:.0f}-{1000 * high:.0f})")
    wer = 100 * float(np.mean([record.wer for record in records]))
    unwarned = sum(record.wer > 0.5 and not record.warned for record in records)
    return f"| {name} | {len(records)} | {' | '.join(cells)} | {wer:.1f} % | {1000 * unwarned / len(records):.0f} |"


def table(records: list[Record]) -> str:
    """Return the failures per 1,000 by kind of prompt and length, as Markdown."""
    lines = [
        "| words of the text, prompt | syntheses | near-empty | words missing | words repeated | no end | tail | WER "
        "| WER over 50 % without a warning |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for with_text, mode in ((False, "untranscribed"), (True, "transcribed")):
        of_mode = [record for record in records if record.with_text == with_text]
        for length in LENGTHS:
            group = [record for record in of_mode if record.length == length]
            if group:
                lines.append(row(f"{length}, {mode}", group))
    short = [record for record in records if record.length <= 3]
    if short:
        lines.append(row("1 to 3, both", short))
    lines.append(row("all", records))
    return "\n".join(lines)


def synthesize(args: argparse.Namespace) -> Iterator[Record]:
    """Synthesize and score everything that is not in `--records` yet."""
    done = {(r["voice"], r["with_text"], r["text"]) for r in read_records(args.records)}
    texts = read_texts(args.texts)
    tts = valle.load(args.model)
    recognizer = load_recognizer()
    sampling = Sampling(top_p=SPEECH_TOP_P, repetition_aware=args.repetition_aware)
    voices = choose_voices(args.prompts, args.voices)
    with Progress() as progress:
        task = progress.add_task("synthesizing", total=2 * len(voices) * len(texts))
        for (index, u), with_text in product(enumerate(voices), (False, True)):
            # The position of a text determines its seed, also in a run that continues.
            pending = [(number, *item) for number, item in enumerate(texts) if (u.id, with_text, item[1]) not in done]
            progress.advance(task, len(texts) - len(pending))
            if not pending:
                continue
            recording = args.records.parent / "prompts" / f"{u.id}.wav"
            audio.read(u.path, start=u.start, end=u.end).save(recording)
            prompt = tts.prompt(recording, u.text if with_text else None)
            for start in range(0, len(pending), args.batch_size):
                batch = pending[start : start + args.batch_size]
                seeds = [args.seed + 1000 * index + number for number, _, _ in batch]
                batch_texts = [text for _, _, text in batch]
                results = tts.synthesize_batch(batch_texts, [prompt] * len(batch), seeds, sampling=sampling)
                for (_, length, text), speech in zip(batch, results, strict=True):
                    yield score(speech, recognizer, text, voice=u.id, with_text=with_text, length=length)
                    progress.advance(task)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", type=Path, help="data directory of unseen speakers")
    parser.add_argument("--records", type=Path, required=True, help="JSON lines file, one line per synthesis")
    parser.add_argument("--json", type=Path, help="JSON file for the rates")
    parser.add_argument("--model", default="small", help="run directory, or name of a bundled model")
    parser.add_argument("--voices", type=int, default=10, help="speakers (10)")
    parser.add_argument("--texts", type=int, default=8, help="texts of each length (8)")
    parser.add_argument("--batch-size", type=int, default=14, help="texts synthesized together (14)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first synthesis (0)")
    parser.add_argument("--repetition-aware", action="store_true", help="use repetition aware sampling")
    parser.add_argument("--max-part", type=int, help="maximum text units decoded at once; longer texts are split")
    args = parser.parse_args()
    if args.max_part is not None:
        planning.MAX_PART = args.max_part
    if not args.prompts.is_dir():
        raise UserError(f"{args.prompts}: no such data directory; give one of unseen speakers")
    warnings.simplefilter("ignore", TruncatedWarning)
    warnings.simplefilter("ignore", IncompleteWarning)
    warnings.simplefilter("ignore", DoubtfulWarning)
    begin = time.perf_counter()
    for record in synthesize(args):
        append_line(args.records, json.dumps(asdict(record)))
    names = {field.name for field in fields(Record)}
    records = [Record(**{key: r[key] for key in names}) for r in read_records(args.records)]
    print(table(records))
    seconds = sum(record.seconds for record in records)
    print(f"\n{len(records)} syntheses, {seconds / 60:.1f} minutes of speech; {time.perf_counter() - begin:.0f} s")
    if args.json is not None:
        rates = {failure: sum(getattr(r, failure) for r in records) * 1000 / len(records) for failure in FAILURES}
        result = {"syntheses": len(records), "per_1000": rates, "table": table(records)}
        write_text(args.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    run(_main)

"""How often does synthesis fail? Failures per 1,000 syntheses by length of the text, for voices the model has not seen.

    python benchmarks/robustness.py PROMPTS --records robustness.jsonl --json benchmarks/robustness.json

PROMPTS is a data directory of people who were not in the training data, with recordings of about 2 to 10 s and what
they say; benchmarks/RESULTS.md tells how that of the published table is made.
Every text of `robustness.txt` (eight of about 1, 2, 3, 5, 10, 20 and 40 words) is synthesized in every voice, with
the prompt's text and without. A recognizer (Whisper tiny.en) transcribes the result. A run that was stopped resumes
from its records.

Counted, each with a 95 % interval (Wilson):

near-empty  shorter than 0.25 s, or silent
missing     the recognizer finds fewer words than the text has: at least a fifth of them is deleted
repeated    words follow themselves that do not in the text
no end      the length bound came before EOS
tail        words follow the last word, or phones for more than half a second where codes stand for phones
WER         of a text at most 1: a recognizer's own loops would outweigh all else
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from rich.progress import Progress

import valle
from valle import audio
from valle.cli.common import run
from valle.data import kaldi
from valle.errors import UserError
from valle.evaluation.recognizer import SAMPLE_RATE, Recognizer, load_recognizer, words
from valle.files import append_line, read_records, write_text
from valle.models.sampling import SPEECH_TOP_P, Sampling
from valle.synthesis import pipeline

TEXTS = Path(__file__).with_name("robustness.txt")
LENGTHS = (1, 2, 3, 5, 10, 20, 40)  # words, about
FAILURES = ("near_empty", "missing", "repeated", "no_end", "tail")
NEAR_EMPTY = 0.25  # seconds
SILENT = -50.0  # decibels relative to full scale
DELETED = 0.2  # share of the words
TAIL = 0.5  # seconds
LONGEST_REPEAT = 4  # words


@dataclass(frozen=True)
class Record:
    """One synthesis: what was asked for, what came out, and which failures it has."""

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
    """The first `each` texts of every length."""
    lines = TEXTS.read_text(encoding="utf-8").splitlines()
    size = len(lines) // len(LENGTHS)
    return [(length, lines[i * size + j]) for i, length in enumerate(LENGTHS) for j in range(min(each, size))]


def choose_voices(directory: Path, count: int) -> list[kaldi.Utterance]:
    """Of each of the first `count` speakers the utterance nearest to 4 s."""
    by_speaker: dict[str, kaldi.Utterance] = {}
    for u in kaldi.with_durations(kaldi.read(directory)):
        best = by_speaker.get(u.speaker)
        if best is None or abs((u.duration or 0) - 4) < abs((best.duration or 0) - 4):
            by_speaker[u.speaker] = u
    return [by_speaker[speaker] for speaker in sorted(by_speaker)[:count]]


def aligned_words(text: list[str], transcript: list[str]) -> tuple[int, int]:
    """Words of the text that the recognizer does not find, and words after the text's last one."""
    import jiwer

    if not transcript:
        return len(text), 0
    (chunks,) = jiwer.process_words(" ".join(text), " ".join(transcript)).alignments
    deleted = sum(chunk.ref_end_idx - chunk.ref_start_idx for chunk in chunks if chunk.type == "delete")
    last = chunks[-1]
    return deleted, last.hyp_end_idx - last.hyp_start_idx if last.type == "insert" else 0


def repeats(sequence: list[str]) -> int:
    """How often one to `LONGEST_REPEAT` words directly follow themselves."""
    return sum(
        sequence[i : i + n] == sequence[i + n : i + 2 * n]
        for n in range(1, LONGEST_REPEAT + 1)
        for i in range(len(sequence) - 2 * n + 1)
    )


def judge(
    speech: pipeline.Speech, text: str, recognizer: Recognizer, voice: str, with_text: bool, length: int
) -> Record:
    """Transcribe and count."""
    import jiwer

    samples = audio.resample(speech.audio.samples, speech.audio.sample_rate, SAMPLE_RATE)
    (transcript,) = recognizer.transcribe([samples])
    expected = words(text).split()
    found = words(transcript).split()
    deleted, extra = aligned_words(expected, found)
    quality = speech.quality
    return Record(
        voice=voice,
        with_text=with_text,
        length=length,
        text=text,
        transcript=transcript.strip(),
        seconds=round(speech.audio.duration, 2),
        wer=min(1.0, jiwer.wer(" ".join(expected), " ".join(found))) if found else 1.0,
        near_empty=bool(speech.audio.duration < NEAR_EMPTY or audio.loudness(samples) < SILENT),
        missing=deleted >= max(1, DELETED * len(expected)),
        repeated=repeats(found) > repeats(expected),
        no_end=speech.truncated,
        tail=extra > 0 or (quality is not None and quality.tail_seconds > TAIL),
        warned=speech.truncated or (quality is not None and quality.verdict != "complete"),
        missing_phones=float(quality.missing_phones) if quality else math.nan,
        wrong_frames=quality.wrong_frames if quality else math.nan,
    )


def wilson(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a rate, per 1,000."""
    z = 1.96
    share = count / total
    centre = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1000 / (1 + z * z / total)
    return max(0.0, (centre - half) * scale), (centre + half) * scale


def row(name: str, records: list[Record]) -> str:
    """A line of the table."""
    cells = []
    for failure in FAILURES:
        count = sum(getattr(record, failure) for record in records)
        low, high = wilson(count, len(records))
        cells.append(f"{1000 * count / len(records):.0f} ({low:.0f}-{high:.0f})")
    wer = 100 * float(np.mean([record.wer for record in records]))
    unseen = sum(record.wer > 0.5 and not record.warned for record in records)
    return f"| {name} | {len(records)} | {' | '.join(cells)} | {wer:.1f} % | {1000 * unseen / len(records):.0f} |"


def table(records: list[Record]) -> str:
    """Failures per 1,000 by mode and length, as Markdown."""
    lines = [
        "| words of the text, prompt | syntheses | near-empty | words missing | words repeated | no end | tail | WER "
        "| WER over 50 % without a warning |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for with_text, mode in ((False, "voice alone"), (True, "with its text")):
        some = [record for record in records if record.with_text == with_text]
        for length in LENGTHS:
            found = [record for record in some if record.length == length]
            if found:
                lines.append(row(f"{length}, {mode}", found))
    short = [record for record in records if record.length <= 3]
    if short:
        lines.append(row("1 to 3, both", short))
    lines.append(row("all", records))
    return "\n".join(lines)


def synthesize(args: argparse.Namespace) -> Iterator[Record]:
    """Every record that `--records` does not have yet."""
    done = {(r["voice"], r["with_text"], r["text"]) for r in read_records(args.records)}
    texts = read_texts(args.texts)
    tts = valle.load(args.model)
    recognizer = load_recognizer()
    sampling = Sampling(top_p=SPEECH_TOP_P, repetition_aware=args.repetition_aware)
    voices = choose_voices(args.prompts, args.voices)
    with Progress() as progress:
        task = progress.add_task("synthesizing", total=2 * len(voices) * len(texts))
        for index, u in enumerate(voices):
            for with_text in (False, True):
                missing = [
                    (number, *item) for number, item in enumerate(texts) if (u.id, with_text, item[1]) not in done
                ]
                progress.advance(task, len(texts) - len(missing))
                if not missing:
                    continue
                recording = args.records.parent / "prompts" / f"{u.id}.wav"
                audio.read(u.path, start=u.start, end=u.end).save(recording)
                prompt = tts.prompt(recording, u.text if with_text else None)
                for start in range(0, len(missing), args.batch_size):
                    batch = missing[start : start + args.batch_size]
                    seeds = [args.seed + 1000 * index + number for number, _, _ in batch]
                    spoken = tts.synthesize_batch(
                        [text for _, _, text in batch], [prompt] * len(batch), seeds, sampling
                    )
                    for (_, length, text), speech in zip(batch, spoken, strict=True):
                        yield judge(speech, text, recognizer, u.id, with_text, length)
                        progress.advance(task)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", type=Path, help="data directory of unseen speakers")
    parser.add_argument("--records", type=Path, required=True, help="JSON lines, one a synthesis")
    parser.add_argument("--json", type=Path, help="file for the rates")
    parser.add_argument("--model", default="small", help="run directory, or name of a bundled model")
    parser.add_argument("--voices", type=int, default=10, help="speakers (10)")
    parser.add_argument("--texts", type=int, default=8, help="texts of each length (8)")
    parser.add_argument("--batch-size", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repetition-aware", action="store_true")
    parser.add_argument("--max-part", type=int, help="text units of one decoding, to find the model's limit")
    args = parser.parse_args()
    if args.max_part is not None:
        pipeline.MAX_PART = args.max_part
    if not args.prompts.is_dir():
        raise UserError(f"{args.prompts}: no such data directory")
    warnings.simplefilter("ignore", pipeline.TruncatedWarning)
    warnings.simplefilter("ignore", pipeline.IncompleteWarning)
    warnings.simplefilter("ignore", pipeline.DoubtfulWarning)
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

"""Compare switches of synthesis, and models: word errors, speaker similarity, quality and speed.

    python benchmarks/switches.py RESULTS.json [--seeds 2] [--prompts 3s.wav ...] [--row "NAME: OPTIONS" ...]

Synthesizes the texts of robustness.txt in the default voice, or in those of the given recordings in turn. Each row has
the same texts, voices and seeds, and options of valle-synth; further rows come from --row, as

    --row "preference tuning: --model exp/preference --attempts 1"

Prints a table: WER by Whisper tiny.en with its 95 % bootstrap interval over syntheses, the difference of WER from the
first row with the interval of the paired difference, the inserted, deleted and substituted words, SIM-r to the prompt
(Resemblyzer, against its codec resynthesis), DNSMOS, and RTF. Rows that RESULTS.json contains are not computed again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import time
import warnings
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soxr
from rich.progress import track

import valle
from valle.cli.common import keep_memory, run
from valle.cli.synthesis_options import add_synthesis_options, read_synthesis_options
from valle.errors import UserError
from valle.evaluation.metrics import interval, ratio
from valle.evaluation.quality import dnsmos
from valle.evaluation.recognizer import SAMPLE_RATE, Recognizer, load_recognizer, words
from valle.evaluation.speaker_encoder import SpeakerEncoder, load_encoder
from valle.files import write_text

TEXTS = Path(__file__).with_name("robustness.txt")
BATCH = 8
# The first row is what the others are compared with: one candidate for each text, as in the papers.
ROWS = {
    "none": "--attempts 1",
    "repetition aware sampling": "--attempts 1 --repetition-aware",
    "attention constraint": "--attempts 1 --attention-constraint",
    "selection among five (default)": "--attempts 5",
    "selection among five, attention constraint": "--attempts 5 --attention-constraint",
}
# What is stored of each synthesis.
FIELDS = ("words", "insertions", "deletions", "substitutions", "similarity", "dnsmos", "seconds", "processing_seconds")
Row = dict[str, list[float]]


def read_options(text: str) -> argparse.Namespace:
    """Parse options of valle-synth and --model."""
    parser = argparse.ArgumentParser(prog="--row", allow_abbrev=False)
    parser.add_argument("--model", default="small")
    parser.set_defaults(max_batch_tokens=None)
    add_synthesis_options(parser)
    return parser.parse_args(shlex.split(text))


def synthesize(
    args: argparse.Namespace, texts: list[str], recordings: list[Path], seeds: int, name: str
) -> tuple[list[valle.Speech], list[float]]:
    """Synthesize all texts with each seed.

    Args:
        args: Options of the row.
        texts: The texts.
        recordings: Prompts, in turn; none: the default voice.
        seeds: Syntheses of each text.
        name: Name of the row, for the progress bar.

    Returns:
        The results, and the processing time of each in seconds: its share of its batch's.
    """
    tts = valle.load(args.model)
    options = read_synthesis_options(args)
    prompts = [tts.prompt(recording) for recording in recordings] or [tts.voice()]
    jobs = [(text, prompts[i % len(prompts)], 1000 * seed + i) for seed in range(seeds) for i, text in enumerate(texts)]
    # The first synthesis of a process compiles and allocates.
    tts.synthesize(texts[0], prompts[0], options=options)
    results: list[valle.Speech] = []
    times: list[float] = []
    for start in track(range(0, len(jobs), BATCH), name):
        batch = jobs[start : start + BATCH]
        began = time.perf_counter()
        speech = tts.synthesize_batch(
            [text for text, _, _ in batch], [prompt for _, prompt, _ in batch], [seed for _, _, seed in batch], options
        )
        elapsed = time.perf_counter() - began
        results += speech
        times += [elapsed / len(batch)] * len(batch)
    return results, times


def measure(
    results: list[valle.Speech],
    times: list[float],
    texts: list[str],
    voices: list[np.ndarray],
    recognizer: Recognizer,
    encoder: SpeakerEncoder,
) -> Row:
    """Score syntheses.

    Args:
        results: The syntheses, the texts in turn.
        times: Processing time of each.
        texts: The texts.
        voices: Speaker embeddings of the prompts, in turn for the texts.
        recognizer: Recognizer of WER.
        encoder: Speaker encoder of SIM.

    Returns:
        `FIELDS` of each synthesis.
    """
    row: Row = {name: [] for name in FIELDS}
    for number, (speech, seconds) in enumerate(zip(results, times, strict=True)):
        text = number % len(texts)
        samples = soxr.resample(speech.audio.samples, speech.audio.sample_rate, SAMPLE_RATE)
        (transcript,) = recognizer.transcribe([samples])
        errors = jiwer.process_words(words(texts[text]), words(transcript))
        row["words"].append(len(words(texts[text]).split()))
        for kind in ("insertions", "deletions", "substitutions"):
            row[kind].append(getattr(errors, kind))
        row["similarity"].append(float(encoder.embed(samples) @ voices[text % len(voices)]))
        row["dnsmos"].append(dnsmos(samples)["dnsmos_p835"])
        row["seconds"].append(len(samples) / SAMPLE_RATE)
        row["processing_seconds"].append(seconds)
    return row


def embed_voices(recordings: list[Path], encoder: SpeakerEncoder) -> list[np.ndarray]:
    """Embed the speakers of the prompts, or that of the default voice."""
    tts = valle.load("small")
    prompts = [tts.prompt(recording) for recording in recordings] or [tts.voice()]
    embeddings = []
    for prompt in prompts:
        samples = tts.codec.decode(prompt.codes)
        embeddings.append(encoder.embed(soxr.resample(samples, tts.codec.sample_rate, SAMPLE_RATE)))
    return embeddings


def table_line(name: str, row: Row, first: Row) -> str:
    """Format a row of the table."""
    columns = {field: np.array(values, dtype=float) for field, values in row.items()}
    errors = columns["insertions"] + columns["deletions"] + columns["substitutions"]
    base = sum(np.array(first[kind], dtype=float) for kind in ("insertions", "deletions", "substitutions"))
    low, high = interval(ratio, [errors, columns["words"]])
    wer = f"{ratio(errors, columns['words']):.1%} ({low:.1%}-{high:.1%})"
    difference = ""
    if row is not first:
        low, high = interval(ratio, [errors - base, columns["words"]])
        difference = f"{100 * ratio(errors - base, columns['words']):+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    counts = [str(round(columns[kind].sum())) for kind in ("insertions", "deletions", "substitutions")]
    means = [f"{columns['similarity'].mean():.3f}", f"{columns['dnsmos'].mean():.2f}"]
    rtf = f"{ratio(columns['processing_seconds'], columns['seconds']):.2f}"
    return f"| {' | '.join([name, wer, difference, *counts, *means, rtf])} |"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="JSON file of the results, which further rows are added to")
    parser.add_argument("--seeds", type=int, default=2, help="syntheses of each text (2)")
    parser.add_argument("--prompts", type=Path, nargs="+", default=[], help="recordings; default: the default voice")
    parser.add_argument("--row", action="append", default=[], help='a further row, "NAME: OPTIONS of valle-synth"')
    parser.add_argument("--only", nargs="+", help="names of rows to compute and print; default: all")
    args = parser.parse_args()
    rows = dict(ROWS)
    for text in args.row:
        name, colon, options = text.partition(":")
        if not colon:
            raise UserError(f"--row {text!r}: give NAME: OPTIONS")
        rows[name.strip()] = options
    unknown = [name for name in args.only or [] if name not in rows]
    if unknown:
        raise UserError(f"--only {unknown[0]!r}: no such row; the rows are {', '.join(rows)}")
    parsed = {name: read_options(options) for name, options in rows.items() if args.only is None or name in args.only}
    warnings.simplefilter("ignore")
    keep_memory()
    texts = TEXTS.read_text(encoding="utf-8").splitlines()
    setting = {"seeds": args.seeds, "prompts": [str(path) for path in args.prompts], "texts": texts}
    stored: dict[str, Any] = setting | {"rows": {}}
    if args.results.is_file():
        stored = json.loads(args.results.read_text(encoding="utf-8"))
    if {name: stored.get(name) for name in setting} != setting:
        raise UserError(f"{args.results}: was measured with other texts, prompts or seeds; give another file")
    recognizer = load_recognizer()
    encoder = load_encoder()
    voices = embed_voices(args.prompts, encoder)
    for name, options in parsed.items():
        if stored["rows"].get(name, {}).get("options") == rows[name]:
            continue
        results, times = synthesize(options, texts, args.prompts, args.seeds, name)
        scores = measure(results, times, texts, voices, recognizer, encoder)
        stored["rows"][name] = {"options": rows[name], "scores": scores}
        write_text(args.results, json.dumps(stored) + "\n")
    scored = {name: stored["rows"][name]["scores"] for name in parsed}
    first = next(iter(scored.values()))
    print(f"\n{len(first['words'])} syntheses of {sum(first['words']):.0f} words in each row\n")
    print("| switch | WER | difference, points | ins. | del. | sub. | SIM-r | DNSMOS P.835 | RTF |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, row in scored.items():
        print(table_line(name, row, first))


if __name__ == "__main__":
    run(main)

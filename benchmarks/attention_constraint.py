"""Measure word errors of the bundled model with and without attention-constrained inference.

    python benchmarks/attention_constraint.py [--attempts 1] [--seeds 2] [--json FILE]

Synthesizes the texts of robustness.txt in the default voice, with one candidate for each, as the papers do, or the best
of several. Prints WER by Whisper tiny.en with 95 % bootstrap intervals over texts and seeds, and the inserted, deleted
and substituted words. The rows have the same seeds.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import jiwer
import numpy as np
import soxr
from rich.progress import track

import valle
from valle.cli.common import keep_memory, run
from valle.evaluation.metrics import interval, ratio
from valle.evaluation.recognizer import SAMPLE_RATE, Recognizer, load_recognizer, words
from valle.files import write_text
from valle.synthesis import TTS

TEXTS = Path(__file__).with_name("robustness.txt")
BATCH = 8


def measure(
    tts: TTS, recognizer: Recognizer, texts: list[str], seeds: int, attempts: int, constrained: bool
) -> dict[str, float]:
    """Synthesize and recognize all texts with each seed; return the word errors."""
    references = []
    transcripts = []
    for seed in range(seeds):
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            results = tts.synthesize_batch(
                batch,
                [tts.voice()] * len(batch),
                [1000 * seed + start + index for index in range(len(batch))],
                attempts=attempts,
                attention_constraint=constrained,
            )
            waveforms = [soxr.resample(r.audio.samples, r.audio.sample_rate, SAMPLE_RATE) for r in results]
            transcripts += [words(transcript) for transcript in recognizer.transcribe(waveforms)]
            references += [words(text) for text in batch]
    outputs = [jiwer.process_words(r, t) for r, t in zip(references, transcripts, strict=True)]
    errors = np.array([o.substitutions + o.deletions + o.insertions for o in outputs], dtype=float)
    counts = np.array([len(reference.split()) for reference in references], dtype=float)
    low, high = interval(ratio, [errors, counts])
    return {
        "wer": float(ratio(errors, counts)),
        "low": low,
        "high": high,
        "words": float(counts.sum()),
        "insertions": sum(o.insertions for o in outputs),
        "deletions": sum(o.deletions for o in outputs),
        "substitutions": sum(o.substitutions for o in outputs),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=1, help="candidates, of which the best is selected (1)")
    parser.add_argument("--seeds", type=int, default=2, help="syntheses of each text (2)")
    parser.add_argument("--json", type=Path, help="JSON file of the results")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    keep_memory()
    tts = valle.load("small")
    recognizer = load_recognizer()
    texts = TEXTS.read_text(encoding="utf-8").splitlines()
    results = []
    for constrained in track((False, True), "synthesizing"):
        row = measure(tts, recognizer, texts, args.seeds, args.attempts, constrained)
        results.append({"attempts": args.attempts, "constrained": constrained, **row})
    print(f"\n{len(texts) * args.seeds} syntheses of {results[0]['words']:.0f} words for each row\n")
    print("| attention | WER | insertions | deletions | substitutions |")
    print("|---|---|---|---|---|")
    for row in results:
        kind = "constrained" if row["constrained"] else "free"
        rates = f"{row['wer']:.1%} ({row['low']:.1%}-{row['high']:.1%})"
        counts = " | ".join(str(row[name]) for name in ("insertions", "deletions", "substitutions"))
        print(f"| {kind} | {rates} | {counts} |")
    if args.json is not None:
        write_text(args.json, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    run(main)

"""Measure word errors by speed.

    python benchmarks/speeds.py [--speeds 0.5 0.75 1 1.25 1.5 2]

Synthesizes the texts of at least 5 words of robustness.txt in the default voice once, changes the speed of each result
as `--speed` does, and prints WER by Whisper tiny.en with its 95 % bootstrap interval over texts.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import jiwer
import numpy as np
import soxr
from rich.progress import track

import valle
from valle.cli.common import run
from valle.evaluation.metrics import interval, ratio
from valle.evaluation.recognizer import SAMPLE_RATE, load_recognizer, words
from valle.time_stretch import stretch

TEXTS = Path(__file__).with_name("robustness.txt")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speeds", type=float, nargs="+", default=[0.5, 0.75, 1, 1.25, 1.5, 2])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    texts = [line for line in TEXTS.read_text(encoding="utf-8").splitlines() if len(line.split()) >= 5]
    tts = valle.load("small")
    rate = tts.codec.sample_rate
    results = [tts.synthesize(text, seed=seed).samples for seed, text in enumerate(track(texts, "texts"))]
    recognizer = load_recognizer()
    print("| speed | WER |")
    print("|---|---|")
    for speed in args.speeds:
        errors = []
        for text, samples in zip(texts, results, strict=True):
            audio = soxr.resample(stretch(samples, rate, speed), rate, SAMPLE_RATE)
            (transcript,) = recognizer.transcribe([audio])
            found = jiwer.process_words(words(text), words(transcript))
            errors.append(found.substitutions + found.deletions + found.insertions)
        made = np.array(errors, float)
        spoken = np.array([len(words(text).split()) for text in texts], float)
        low, high = interval(ratio, [made, spoken])
        print(f"| {speed:g} | {ratio(made, spoken):.1%} ({low:.1%}-{high:.1%}) |", flush=True)


if __name__ == "__main__":
    run(main)

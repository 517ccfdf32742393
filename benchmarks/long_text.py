"""Synthesize a long text: memory, word errors, and drift of the voice over minutes.

    python benchmarks/long_text.py [--words 10000] [--options "--attempts 1"]

The text is made of the sentences of robustness.txt, in an order by chance, in paragraphs of five. It is synthesized in
the default voice by `TTS.synthesize_long`. Prints, for each tenth of its parts, WER by Whisper tiny.en, the similarity
to the prompt (Resemblyzer), the median pitch, words per minute, and the memory, which holds the scoring models too.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import jiwer
import numpy as np
import soxr
from rich.progress import track

import valle
from valle.cli.common import Parser, keep_memory, run
from valle.cli.synthesis_options import add_synthesis_options, read_synthesis_options
from valle.evaluation.recognizer import SAMPLE_RATE, load_recognizer, words
from valle.evaluation.speaker_encoder import load_encoder
from valle.synthesis.speech_activity import analyze

TEXTS = Path(__file__).with_name("robustness.txt")
SENTENCES = 5  # of a paragraph
TENTHS = 10


@dataclass
class Tenth:
    """A tenth of the speech."""

    errors: int = 0
    words: int = 0
    seconds: float = 0.0
    processing: float = 0.0
    memory: float = 0.0
    similarities: list[float] = field(default_factory=list)
    pitches: list[float] = field(default_factory=list)


def make_text(count: int) -> str:
    """Return a text of about so many words."""
    lines = [line for line in TEXTS.read_text(encoding="utf-8").splitlines() if len(line.split()) >= 3]
    chance = random.Random(0)
    paragraphs = []
    done = 0
    while done < count:
        chosen = [chance.choice(lines) for _ in range(SENTENCES)]
        paragraphs.append(" ".join(chosen))
        done += sum(len(line.split()) for line in chosen)
    return "\n\n".join(paragraphs)


def resident_megabytes() -> float:
    """Return the memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Run the benchmark."""
    parser = Parser(description="Synthesize a long text: memory, word errors, and drift of the voice.")
    parser.add_argument("--words", type=int, default=10_000, help="words of the text")
    parser.add_argument("--options", default="", help="options of valle-synth")
    args = parser.parse_args()
    options_parser = argparse.ArgumentParser()
    options_parser.set_defaults(max_batch_tokens=None)
    add_synthesis_options(options_parser)
    arguments = options_parser.parse_args(shlex.split(args.options))
    warnings.simplefilter("ignore")
    keep_memory()
    tts = valle.load("small")
    options = read_synthesis_options(arguments)
    text = make_text(args.words)
    parts = list(tts.plan(text, options))
    encoder = load_encoder()
    recognizer = load_recognizer()
    rate = tts.codec.sample_rate
    voice = encoder.embed(soxr.resample(tts.codec.decode(tts.voice().codes), rate, SAMPLE_RATE))
    tenths = [Tenth() for _ in range(TENTHS)]
    results = tts.synthesize_long(parts, seed=arguments.seed, options=options)
    for number, part in enumerate(track(parts, "parts")):
        tenth = tenths[TENTHS * number // len(parts)]
        begin = time.perf_counter()
        speech = next(results)
        tenth.processing += time.perf_counter() - begin
        tenth.seconds += speech.audio.duration
        samples = soxr.resample(speech.audio.samples, rate, SAMPLE_RATE)
        (transcript,) = recognizer.transcribe([samples])
        result = jiwer.process_words(words(part.encoded.text), words(transcript))
        tenth.errors += result.substitutions + result.deletions + result.insertions
        tenth.words += len(words(part.encoded.text).split())
        tenth.similarities.append(float(encoder.embed(samples) @ voice))
        pitch = analyze(samples, SAMPLE_RATE).pitch
        tenth.pitches.append(float(np.median(pitch[pitch > 0])) if (pitch > 0).any() else np.nan)
        tenth.memory = resident_megabytes()
    seconds = sum(tenth.seconds for tenth in tenths)
    factor = sum(tenth.processing for tenth in tenths) / seconds
    errors = sum(tenth.errors for tenth in tenths) / sum(tenth.words for tenth in tenths)
    print(f"{len(text.split())} words, {seconds / 60:.1f} minutes, real-time factor {factor:.2f}, WER {errors:.1%}")
    print("| tenth | WER | similarity | median pitch | words per minute | memory |")
    print("|---|---|---|---|---|---|")
    for number, tenth in enumerate(tenths, 1):
        cells = [
            f"{tenth.errors / max(1, tenth.words):.1%}",
            f"{np.mean(tenth.similarities):.3f}",
            f"{np.nanmedian(tenth.pitches):.0f} Hz",
            f"{60 * tenth.words / tenth.seconds:.0f}",
            f"{tenth.memory:.0f} MB",
        ]
        print(f"| {number} | {' | '.join(cells)} |")


if __name__ == "__main__":
    run(main)

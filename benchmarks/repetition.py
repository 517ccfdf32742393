"""Measure loops, long silences and missing EOS with and without repetition aware sampling, by top-p.

    python benchmarks/repetition.py DATA [--model small] [--utterances 100] [--output FILE.svg]

Synthesizes utterances of a data directory with prompts of the same speakers, and prints the share of them in which the
first codebook repeats itself for 0.5 s or more, a silence lasts 1 s or more, or EOS was not sampled before the length
bound. The first row is that of the recordings. The rows differ in sampling only; their seeds are the same.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch
from rich.progress import track

import valle
from valle import audio
from valle.data import kaldi
from valle.evaluation.robustness import (
    MIN_LOOP_SECONDS,
    MIN_SILENCE_SECONDS,
    longest_audible_loop,
    longest_silence,
)
from valle.evaluation.test_set import choose_prompts
from valle.models.sampling import NARSampling, Sampling
from valle.synthesis import TTS

TOP_P = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
ERRORS = ("loops", "silences", "truncated")


def error_rates(items: Iterable[tuple[torch.Tensor, audio.Audio, bool]], frame_rate: float) -> dict[str, float]:
    """Return the share of utterances with each error.

    Args:
        items: Codes (time, codebook), audio, and whether it was truncated, of each utterance.
        frame_rate: Frames of codes per second.
    """
    errors = [
        (
            longest_audible_loop(codes, speech.samples, speech.sample_rate) >= MIN_LOOP_SECONDS * frame_rate,
            longest_silence(speech.samples, speech.sample_rate) >= MIN_SILENCE_SECONDS,
            truncated,
        )
        for codes, speech, truncated in items
    ]
    return {name: sum(row[i] for row in errors) / len(errors) for i, name in enumerate(ERRORS)}


def synthesize(tts: TTS, utterances: list[kaldi.Utterance], sampling: Sampling, batch_size: int) -> dict[str, float]:
    """Synthesize utterances in batches; return their error rates."""
    choices = choose_prompts(utterances)
    results = []
    for start in range(0, len(utterances), batch_size):
        batch = utterances[start : start + batch_size]
        prompts = [tts.prompt(choices[u.id].utterance.path, choices[u.id].text) for u in batch]
        seeds = list(range(start, start + len(batch)))
        results += tts.synthesize_batch(
            [u.text for u in batch], prompts, seeds, sampling=sampling, nar_sampling=NARSampling(stages=3)
        )
    return error_rates(((s.codes, s.audio, s.truncated) for s in results), tts.codec.frame_rate)


def plot(rows: dict[tuple[float, bool], dict[str, float]], path: Path) -> None:
    """Plot the error rates by top-p, for each error and kind of sampling."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(ERRORS), figsize=(10, 3), sharey=True)
    for axis, name in zip(axes, ERRORS, strict=True):
        for aware, style in ((False, "o-"), (True, "s--")):
            points = [(top_p, 100 * row[name]) for (top_p, flag), row in rows.items() if flag == aware]
            axis.plot(*zip(*points, strict=True), style, label="repetition aware" if aware else "plain")
        axis.set(title=name, xlabel="top-p")
    axes[0].set_ylabel("% of utterances")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data directory")
    parser.add_argument("--model", default="small", help="run directory, or name of a bundled model (small)")
    parser.add_argument("--utterances", type=int, default=100, help="number of utterances (100)")
    parser.add_argument("--batch-size", type=int, default=25, help="texts synthesized together (25)")
    parser.add_argument("--output", type=Path, help="SVG file for a plot")
    args = parser.parse_args()
    # Truncated utterances are counted; their warnings would hide the progress.
    warnings.simplefilter("ignore")

    tts = valle.load(args.model)
    codec = tts.codec
    everything = kaldi.read(args.data)
    count = min(args.utterances, len(everything))
    utterances = [everything[i * len(everything) // count] for i in range(count)]
    recordings = [audio.read(u.path, codec.sample_rate, start=u.start, end=u.end) for u in utterances]
    codes = [codec.encode(recording.samples, recording.sample_rate) for recording in recordings]
    of_recordings = error_rates(((c, r, False) for c, r in zip(codes, recordings, strict=True)), codec.frame_rate)
    rows = {}
    for top_p, aware in track([(top_p, aware) for top_p in TOP_P for aware in (False, True)], "synthesizing"):
        # top_p must be positive; the smallest one is greedy decoding.
        sampling = Sampling(top_p=max(top_p, 1e-6), repetition_aware=aware)
        rows[top_p, aware] = synthesize(tts, utterances, sampling, args.batch_size)
    print(f"\n{len(utterances)} utterances, model {args.model}\n")
    print("| top-p | sampling | " + " | ".join(ERRORS) + " |")
    print("|---|---|" + "---|" * len(ERRORS))
    print("| | recordings | " + " | ".join(f"{of_recordings[name]:.0%}" for name in ERRORS) + " |")
    for (top_p, aware), row in rows.items():
        kind = "repetition aware" if aware else "plain"
        print(f"| {top_p} | {kind} | " + " | ".join(f"{row[name]:.0%}" for name in ERRORS) + " |")
    if args.output is not None:
        plot(rows, args.output)


if __name__ == "__main__":
    main()

"""Loops and silences with and without repetition aware sampling, by top-p.

    python benchmarks/repetition.py DATA [--model small] [--utterances 100] [--output FILE.svg]

Speaks utterances of a data directory, each in its own speaker's voice, and counts in how many of them the first
codebook loops for half a second or more, a silence lasts a second or more, or the end was not found. The recordings'
own codes are the first row. Nothing but sampling changes from row to row; seeds are the same.
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
from valle.evaluation.robustness import LOOP, SILENCE, longest_silence, spoken_loop
from valle.evaluation.test_set import choose_prompts
from valle.models.sampling import NARSampling, Sampling
from valle.synthesis import TTS

TOP_P = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
FAULTS = ("loops", "silences", "no end")


def faults(items: Iterable[tuple[torch.Tensor, audio.Audio, bool]], frame_rate: float) -> dict[str, float]:
    """Share of utterances with each fault."""
    found = [
        (
            spoken_loop(codes, sound.samples, sound.sample_rate) >= LOOP * frame_rate,
            longest_silence(sound.samples, sound.sample_rate) >= SILENCE,
            truncated,
        )
        for codes, sound, truncated in items
    ]
    return {name: sum(row[i] for row in found) / len(found) for i, name in enumerate(FAULTS)}


def speak(tts: TTS, utterances: list[kaldi.Utterance], sampling: Sampling, batch: int) -> dict[str, float]:
    prompts = choose_prompts(utterances)
    spoken = []
    for start in range(0, len(utterances), batch):
        part = utterances[start : start + batch]
        voices = [tts.prompt(prompts[u.id].utterance.path, prompts[u.id].text) for u in part]
        seeds = list(range(start, start + len(part)))
        spoken += tts.synthesize_batch(
            [u.text for u in part], voices, seeds, sampling=sampling, nar_sampling=NARSampling(stages=3)
        )
    return faults(((s.codes, s.audio, s.truncated) for s in spoken), tts.codec.frame_rate)


def plot(rows: dict[tuple[float, bool], dict[str, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(FAULTS), figsize=(10, 3), sharey=True)
    for axis, name in zip(axes, FAULTS, strict=True):
        for aware, style in ((False, "o-"), (True, "s--")):
            points = [(top_p, 100 * row[name]) for (top_p, flag), row in rows.items() if flag == aware]
            axis.plot(*zip(*points, strict=True), style, label="repetition aware" if aware else "plain")
        axis.set(title=name, xlabel="top-p")
    axes[0].set_ylabel("% of utterances")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="small")
    parser.add_argument("--utterances", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=25)
    parser.add_argument("--output", type=Path, help="plot")
    args = parser.parse_args()
    warnings.simplefilter("ignore")

    tts = valle.load(args.model)
    everything = kaldi.read(args.data)
    count = min(args.utterances, len(everything))
    utterances = [everything[i * len(everything) // count] for i in range(count)]
    recordings = [audio.read(u.path, tts.codec.sample_rate, start=u.start, end=u.end) for u in utterances]
    codes = [tts.codec.encode(sound.samples, sound.sample_rate) for sound in recordings]
    original = faults(((c, s, False) for c, s in zip(codes, recordings, strict=True)), tts.codec.frame_rate)
    settings = [(top_p, aware) for top_p in TOP_P for aware in (False, True)]
    rows = {
        (top_p, aware): speak(
            tts, utterances, Sampling(top_p=max(top_p, 1e-6), repetition_aware=aware), args.batch_size
        )
        for top_p, aware in track(settings, "speaking")
    }
    print(f"\n{len(utterances)} utterances, model {args.model}\n")
    print("| top-p | sampling | " + " | ".join(FAULTS) + " |")
    print("|---|---|" + "---|" * len(FAULTS))
    print("| | recordings | " + " | ".join(f"{original[name]:.0%}" for name in FAULTS) + " |")
    for (top_p, aware), row in rows.items():
        kind = "repetition aware" if aware else "plain"
        print(f"| {top_p} | {kind} | " + " | ".join(f"{row[name]:.0%}" for name in FAULTS) + " |")
    if args.output is not None:
        plot(rows, args.output)


if __name__ == "__main__":
    main()

"""Measure loops, silences and missing EOS by top-p, with plain sampling and both readings of repetition aware sampling.

    python benchmarks/repetition.py DATA [--model small] [--utterances 50] [--json FILE] [--plot FILE.svg]

The sweep of VALL-E 2, section 4.1.3 (top-p 0.0 to 0.8). Synthesizes utterances of a data directory with a prompt of the
same speaker, each once and without selection among candidates. Counts the utterances in which

loops       the first codebook repeats itself for 0.5 s or more outside pauses
silences    a silence lasts 1 s or more
truncated   EOS was not sampled before the length bound
incomplete  phones of the text are missing or wrong, see `Quality.verdict` (where codes stand for phones)

and prints the 95 % Wilson interval of the utterances with at least one of them. The rows differ in sampling only; their
seeds are the same. The first row counts the errors of the recordings.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

import valle
from valle import audio
from valle.audio import Audio
from valle.cli.common import keep_memory, run
from valle.data import kaldi
from valle.evaluation.metrics import wilson_interval
from valle.evaluation.robustness import (
    MIN_LOOP_SECONDS,
    MIN_SILENCE_SECONDS,
    longest_audible_loop,
    longest_silence,
)
from valle.evaluation.test_set import choose_prompts
from valle.files import write_text
from valle.models.sampling import NARSampling, Sampling
from valle.synthesis import TTS, Prompt, Speech

TOP_P = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
METHODS: dict[str, dict[str, Any]] = {
    "plain": {},
    "repetition aware, text": {"repetition_aware": True, "ras_reading": "text"},
    "repetition aware, formula": {"repetition_aware": True, "ras_reading": "formula"},
}
ERRORS = ("loops", "silences", "truncated", "incomplete")
# Loops and silences are errors of the first codebook, so the last codebooks are left out.
NAR_STAGES = 3


def audible_errors(codes: torch.Tensor, speech: Audio, frame_rate: float) -> dict[str, bool]:
    """Detect a loop and a silence.

    Args:
        codes: (time, codebook).
        speech: Audio of the codes.
        frame_rate: Frames of codes per second.
    """
    return {
        "loops": longest_audible_loop(codes, speech.samples, speech.sample_rate) >= MIN_LOOP_SECONDS * frame_rate,
        "silences": longest_silence(speech.samples, speech.sample_rate) >= MIN_SILENCE_SECONDS,
    }


def synthesis_errors(speech: Speech, frame_rate: float) -> dict[str, bool]:
    """Detect each of `ERRORS` in a result."""
    return audible_errors(speech.codes, speech.audio, frame_rate) | {
        "truncated": speech.truncated,
        "incomplete": speech.incomplete,
    }


def count(errors: list[dict[str, bool]]) -> dict[str, int]:
    """Count the utterances with each error, and with at least one."""
    counts = {name: sum(utterance.get(name, False) for utterance in errors) for name in ERRORS}
    return counts | {"any": sum(any(utterance.values()) for utterance in errors), "utterances": len(errors)}


def synthesize(
    tts: TTS, texts: list[str], prompts: list[Prompt], sampling: Sampling, batch_size: int
) -> dict[str, int]:
    """Synthesize texts in batches; return the counts of their errors."""
    errors = []
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        results = tts.synthesize_batch(
            batch,
            prompts[start : start + batch_size],
            seeds=list(range(start, start + len(batch))),
            sampling=sampling,
            nar_sampling=NARSampling(stages=NAR_STAGES),
            attempts=1,
        )
        errors += [synthesis_errors(speech, tts.codec.frame_rate) for speech in results]
    return count(errors)


def count_in_recordings(tts: TTS, utterances: list[kaldi.Utterance]) -> dict[str, int]:
    """Count loops and silences of recordings."""
    errors = []
    for u in utterances:
        recording = audio.read(u.path, tts.codec.sample_rate, start=u.start, end=u.end)
        codes = tts.codec.encode(recording.samples, recording.sample_rate)
        errors.append(audible_errors(codes, recording, tts.codec.frame_rate))
    return count(errors)


def table(rows: list[dict[str, Any]]) -> str:
    """Format the counts as Markdown."""
    lines = [f"| sampling | top-p | {' | '.join(ERRORS)} | any (95 % CI) |", "|---" * (3 + len(ERRORS)) + "|"]
    for row in rows:
        low, high = wilson_interval(row["any"], row["utterances"])
        share = f"{100 * row['any'] / row['utterances']:.0f} % ({100 * low:.0f}-{100 * high:.0f})"
        counts = " | ".join(str(row[name]) for name in ERRORS)
        lines.append(f"| {row['sampling']} | {row['top_p']} | {counts} | {share} |")
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot the share of utterances with an error by top-p, with 95 % intervals."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.5))
    for method in METHODS:
        points = [row for row in rows if row["sampling"] == method]
        shares = [100 * row["any"] / row["utterances"] for row in points]
        bounds = [[100 * bound for bound in wilson_interval(row["any"], row["utterances"])] for row in points]
        errors = [[abs(bound[i] - share) for bound, share in zip(bounds, shares, strict=True)] for i in (0, 1)]
        axis.errorbar([row["top_p"] for row in points], shares, errors, marker="o", capsize=3, label=method)
    axis.set(xlabel="top-p", ylabel="utterances with an error, %", ylim=0)
    axis.legend()
    figure.tight_layout()
    figure.savefig(path)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data directory")
    parser.add_argument("--model", default="small", help="run directory, or name of a bundled model (small)")
    parser.add_argument("--utterances", type=int, default=50, help="number of utterances (50)")
    parser.add_argument("--batch-size", type=int, default=25, help="texts synthesized together (25)")
    parser.add_argument("--json", type=Path, help="JSON file for the counts")
    parser.add_argument("--plot", type=Path, help="SVG file for a plot")
    args = parser.parse_args()
    # Truncated and incomplete utterances are counted; their warnings would hide the progress.
    warnings.simplefilter("ignore")

    keep_memory()
    # The watermark does not affect the errors.
    tts = valle.load(args.model, watermark=False)
    available = kaldi.read(args.data)
    number = min(args.utterances, len(available))
    utterances = [available[i * len(available) // number] for i in range(number)]
    choices = choose_prompts(utterances)
    prompts = [tts.prompt(choices[u.id].utterance.path, choices[u.id].text) for u in utterances]
    texts = [u.text for u in utterances]
    rows: list[dict[str, Any]] = [{"sampling": "recordings", "top_p": "", **count_in_recordings(tts, utterances)}]
    combinations = [(name, top_p) for name in METHODS for top_p in TOP_P]
    for name, top_p in track(combinations, "synthesizing"):
        counts = synthesize(tts, texts, prompts, Sampling(top_p=top_p, **METHODS[name]), args.batch_size)
        rows.append({"sampling": name, "top_p": top_p, **counts})
    print(f"\n{number} utterances, model {args.model}\n\n{table(rows)}")
    if args.json is not None:
        write_text(args.json, json.dumps(rows, indent=1) + "\n")
    if args.plot is not None:
        plot(rows, args.plot)


if __name__ == "__main__":
    run(_main)

"""Score prompts of 3, 5 and 10 s (VALL-E, table 6; VALL-E 2, table 4) and five-time sampling (VALL-E 2, table 1).

    python benchmarks/prompt_lengths.py DATA OUT [--model small] [--texts 2] [--options "OPTIONS of valle-synth"]

DATA is a data directory with a recording of more than 10 s of each unseen speaker. A prompt is the beginning of a
recording, cut in the quietest 50 ms of its last second and transcribed by Whisper tiny.en. Each speaker gets sentences
of 10 and 20 words of robustness.txt, the same for all lengths. Five candidates of each text are sampled, without
anything that is not in the papers. Rows:

single           the first candidate
five, sorted     the lowest WER among those similar enough to the prompt, else the most similar (equation 23)
five, maximum    the best of each metric by itself

What OUT contains is not synthesized or scored again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

from valle import audio
from valle.audio import Audio
from valle.cli.common import run
from valle.data import kaldi
from valle.errors import UserError
from valle.evaluation.metrics import METRICS
from valle.evaluation.recognizer import SAMPLE_RATE, load_recognizer
from valle.files import write_text

TEXTS = Path(__file__).with_name("robustness.txt")
# Words of the texts, without the shortest, which fail for other reasons, and those that would be split.
MIN_WORDS, MAX_WORDS = 8, 25
LENGTHS = (3, 5, 10)  # seconds
WINDOW = 0.05  # seconds
PAPERS = "--attempts 1 --nar-temperature 0 --no-watermark --repetition-aware"
SELECTIONS = {"first": "single", "sort": "five, sorted", "max": "five, maximum"}
COLUMNS = [metric for metric in METRICS if metric.name in ("wer", "sim_o", "sim_r", "dnsmos_p808")]


def cut(samples: np.ndarray, seconds: float) -> np.ndarray:
    """Return the beginning of (time,) samples, cut in the quietest moment of its last second.

    Args:
        samples: (time,) float32 at `SAMPLE_RATE`.
        seconds: Maximum duration.
    """
    last = round(seconds * SAMPLE_RATE)
    window = round(WINDOW * SAMPLE_RATE)
    starts = range(last - SAMPLE_RATE, last - window + 1, window)
    start = min(starts, key=lambda at: float(np.square(samples[at : at + window]).sum()))
    return samples[: start + window // 2]


def write_lists(data: Path, output: Path, texts_per_speaker: int) -> None:
    """Write the prompts and a test list for each length."""
    utterances = [u for u in kaldi.with_durations(kaldi.read(data)) if (u.duration or 0) > max(LENGTHS)]
    if not utterances:
        raise UserError(f"{data}: has no recordings of more than {max(LENGTHS)} s; give longer ones")
    texts = [
        line for line in TEXTS.read_text(encoding="utf-8").splitlines() if MIN_WORDS <= len(line.split()) <= MAX_WORDS
    ]
    recognizer = load_recognizer()
    for seconds in LENGTHS:
        rows = ["id\tspeaker\tprompt\tprompt_text\ttext"]
        for number, utterance in enumerate(utterances):
            recording = audio.read(utterance.path, SAMPLE_RATE, start=utterance.start, end=utterance.end)
            prompt = output / "prompts" / f"{utterance.id}-{seconds}s.flac"
            samples = cut(recording.samples, seconds)
            Audio(samples, SAMPLE_RATE).save(prompt)
            (transcript,) = recognizer.transcribe([samples])
            for index in range(texts_per_speaker):
                text = texts[(number + index * (len(texts) // texts_per_speaker)) % len(texts)]
                fields = (f"{utterance.id}-{index}", utterance.speaker, prompt.resolve(), transcript.strip(), text)
                rows.append("\t".join(map(str, fields)))
        write_text(output / f"prompt_{seconds}s.tsv", "\n".join(rows) + "\n")


def call(command: str, *arguments: str | Path) -> None:
    """Run a command of valle."""
    program = Path(sys.executable).with_name(command)
    subprocess.run([str(argument) for argument in (program, *arguments)], check=True, stdout=sys.stderr)


def line(name: str, report: Path) -> str:
    """Format a row of the table: the metrics with their 95 % intervals."""
    scores = json.loads((report / "summary.json").read_text(encoding="utf-8"))["systems"]["synthesized"]
    cells = []
    for metric in COLUMNS:
        value, low, high = (metric.text(scores[metric.name][key]) for key in ("value", "low", "high"))
        cells.append(f"{value} ({low}-{high})")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data directory")
    parser.add_argument("output", type=Path, help="folder of lists, audio and reports")
    parser.add_argument("--model", default="small")
    parser.add_argument("--texts", type=int, default=2, help="texts of each speaker (2)")
    parser.add_argument("--options", default="", help='further options of valle-synth, as "--voice-alone"')
    args = parser.parse_args()
    if not (args.output / f"prompt_{max(LENGTHS)}s.tsv").is_file():
        write_lists(args.data, args.output, args.texts)
    print(f"| prompt | {' | '.join(metric.heading for metric in COLUMNS)} |")
    print(f"|---|{'---|' * len(COLUMNS)}")
    for seconds in LENGTHS:
        test_set = args.output / f"prompt_{seconds}s.tsv"
        wavs = args.output / f"{seconds}s"
        settings = shlex.split(f"{PAPERS} --num-candidates 5 --nar-prompt-seconds {seconds} {args.options}")
        call("valle-synth", "--model", args.model, "--data", test_set, "--output-dir", wavs, *settings)
        for select, name in SELECTIONS.items():
            report = wavs / f"report-{select}"
            if not (report / "summary.json").is_file():
                call("valle-eval", test_set, wavs, report, "--select", select)
            print(line(f"{seconds} s, {name}", report), flush=True)


if __name__ == "__main__":
    run(main)

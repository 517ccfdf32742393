"""Recorded speakers as more voices: every recording played a little faster or slower, as a speaker of its own.

    python local/resampled.py DATA OUT [--factors 0.92 1.08]

Writes the data directory OUT, with recordings in OUT/wav. Texts stay; pitch, formants and tempo move together.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from rich.progress import track

from valle import audio
from valle.cli.common import run
from valle.data import kaldi


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--factors", type=float, nargs="+", default=[0.92, 1.08], help="of the speed (default: 0.92 1.08)"
    )
    args = parser.parse_args()
    made = []
    for utterance in track(kaldi.read(args.data), "resampling"):
        sound = audio.read(utterance.path, start=utterance.start, end=utterance.end)
        for factor in args.factors:
            samples = audio.resample(sound.samples, round(sound.sample_rate * factor), sound.sample_rate)
            speaker = f"{utterance.speaker}x{factor:g}"
            identity = f"{speaker}-{utterance.id}"
            path = args.output / "wav" / f"{identity}.flac"
            audio.write(path, samples, sound.sample_rate)
            seconds = len(samples) / sound.sample_rate
            phones = tuple((phone, start / factor) for phone, start in utterance.phones or ()) or None
            made.append(
                replace(
                    utterance,
                    id=identity,
                    path=path,
                    speaker=speaker,
                    start=0.0,
                    end=None,
                    duration=seconds,
                    phones=phones,
                )
            )
    kaldi.write(args.output, made)
    print(f"{args.output}: {len(made)} utterances")


if __name__ == "__main__":
    run(_main)

"""Synthesize a corpus with one engine in many voices: a Kaldi data directory with the times of the phones.

    python local/synthesize.py ENGINE LINES.txt OUT --speakers 27 --only 0:24 --utterances 22

A speaker is a voice of the engine and a warp factor: the audio is resampled, which changes pitch and formants, and the
engine's tempo is set so that the speaking rate stays the same. A third of the speakers get the acoustics of an amateur
recording. `--only` selects speakers, so that others of the same list can be held out. When the same command is run
again, finished speakers are not synthesized again. If the engine is not installed, the command prints that, writes
nothing and exits with 0: the corpus consists of what is available.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from engines import ENGINES, Speech
from rich.progress import track

from valle import audio
from valle.cli.common import run
from valle.data import kaldi
from valle.errors import UserError
from valle.files import write_text

# Hertz.
SAMPLE_RATE = 16_000
# Samples per frame of 10 ms, the unit in which pauses are shortened.
FRAME = SAMPLE_RATE // 100
# Mean peak of the recordings, relative to full scale.
PEAK = 0.7
# Range of the warp factor. Kokoro's styles are many and high-pitched already, so they are mostly lowered.
WARP_RANGES = {"kokoro": (0.82, 1.06), "piper": (0.84, 1.3), "flite": (0.84, 1.18), "festival": (0.86, 1.2)}
# Probability that a speaker gets the acoustics of an amateur recording.
RECORDING_PROB = 0.33
# Level below the loudest frame at which a frame counts as silent: -45 dB.
SILENCE_LEVEL = 10 ** (-45 / 20)

# The engine of a worker process, which loads it once.
_engine: Any = None


@dataclass(frozen=True)
class Speaker:
    """A speaker of the corpus.

    Attributes:
        name: Name in the data directory.
        voice: Index into the engine's voices.
        warp: Factor by which the audio is sped up.
        tempo: Speaking rate, relative to the engine's.
        recording_seed: Seed of the simulated recording; None to use the audio of the engine.
    """

    name: str
    voice: int
    warp: float
    tempo: float
    recording_seed: int | None


def make_speakers(engine: str, count: int, seed: int) -> list[Speaker]:
    """Create the speakers of an engine.

    Args:
        engine: Name of the engine.
        count: Number of speakers.
        seed: Seed.

    Returns:
        The speakers, whose warp factors cover the engine's range evenly.
    """
    rng = random.Random(f"{engine} {seed}")
    low, high = WARP_RANGES[engine]
    # One position in each of `count` equal parts of the range, in random order.
    positions = [(i + rng.random()) / count for i in range(count)]
    rng.shuffle(positions)
    return [
        Speaker(
            name=f"{engine}{index:03d}",
            voice=index,
            warp=low * (high / low) ** position,
            tempo=rng.uniform(0.9, 1.15),
            recording_seed=rng.randrange(2**31) if rng.random() < RECORDING_PROB else None,
        )
        for index, position in enumerate(positions)
    ]


def simulate_recording(samples: np.ndarray, seed: int) -> np.ndarray:
    """Simulate an amateur recording: a small room, a tilted and limited spectrum, and quiet noise.

    Args:
        samples: (time,) samples at `SAMPLE_RATE`.
        seed: Seed of the room, the spectrum and the noise.

    Returns:
        (time,) samples, as many.
    """
    rng = np.random.default_rng(seed)
    # The room: noise that decays exponentially, after the direct sound. The decay time is in seconds.
    decay = rng.uniform(0.03, 0.12)
    tail = rng.standard_normal(int(4 * decay * SAMPLE_RATE))
    tail *= np.exp(-np.arange(len(tail)) / (decay * SAMPLE_RATE))
    tail *= rng.uniform(0.1, 0.35) / np.linalg.norm(tail)
    tail[0] += 1.0
    size = len(samples) + len(tail)
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    tilt = (np.maximum(frequencies, 50.0) / 1000) ** rng.uniform(-0.25, 0.25)
    low_pass = 1 / (1 + (frequencies / rng.uniform(5500, 9000)) ** 8)
    band = low_pass / (1 + (rng.uniform(40, 120) / (frequencies + 1)) ** 4)
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(tail, size) * tilt * band
    wet = np.fft.irfft(spectrum, size)[: len(samples)]
    # White noise with some low frequencies, without its moving average, which would drift.
    noise = np.cumsum(rng.standard_normal(len(wet))) * 0.02 + rng.standard_normal(len(wet))
    noise -= np.convolve(noise, np.full(400, 1 / 400), "same")
    level = np.sqrt(np.mean(wet**2)) * 10 ** (-rng.uniform(28, 45) / 20)
    return wet + noise * level / np.sqrt(np.mean(noise**2))


def postprocess(speech: Speech, speaker: Speaker, rng: random.Random) -> tuple[np.ndarray, list[tuple[str, float]]]:
    """Warp the audio of the engine, shorten its pauses and scale it.

    Args:
        speech: Speech of the engine.
        speaker: Speaker whose warp and recording are applied.
        rng: Random generator of the pauses and the level.

    Returns:
        (time,) float32 samples at `SAMPLE_RATE`, and the phones at their new times.
    """
    samples = audio.resample(speech.samples, round(speech.sample_rate * speaker.warp), SAMPLE_RATE)
    retained = retained_frames(samples, rng)
    # The new time of each old frame, in seconds.
    new_times = np.concatenate(([0], np.cumsum(retained))) * FRAME / SAMPLE_RATE
    samples = samples[: len(retained) * FRAME].reshape(-1, FRAME)[retained].ravel()
    if speaker.recording_seed is not None:
        samples = simulate_recording(samples, speaker.recording_seed)
    samples = samples * (PEAK * rng.uniform(0.6, 1.2) / max(1e-3, float(np.abs(samples).max())))
    phones = []
    for phone, start in speech.phones:
        frame = int(start / speaker.warp * SAMPLE_RATE / FRAME)
        phones.append((phone, float(new_times[min(frame, len(retained))])))
    return samples.astype(np.float32), phones


def retained_frames(samples: np.ndarray, rng: random.Random) -> np.ndarray:
    """Select frames so that no silence is too long, at both ends and between words.

    Args:
        samples: (time,) samples at `SAMPLE_RATE`.
        rng: Random generator of the maximum lengths: 50 to 140 ms at the start, 100 to 200 ms at the end, 220 to 400 ms
            in between.

    Returns:
        (frames,) bool, whether each frame of 10 ms is retained.
    """
    level = np.sqrt(np.mean(samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME) ** 2, axis=1))
    loud = np.flatnonzero(level > SILENCE_LEVEL * level.max())
    retained = np.ones(len(level), dtype=bool)
    retained[: max(0, loud[0] - rng.randint(5, 14))] = False
    retained[loud[-1] + rng.randint(10, 20) :] = False
    for before, after in itertools.pairwise(loud):
        max_length = rng.randint(22, 40)
        if after - before > max_length:
            retained[before + max_length // 2 : after - (max_length - max_length // 2) + 1] = False
    return retained


def _synthesize(name: str, speaker: Speaker, count: int, lines: list[str], folder: Path) -> list[dict[str, Any]]:
    """Synthesize all lines of a speaker, unless that has been done; a file lists what was synthesized."""
    global _engine
    marker = folder / f"{speaker.name}.json"
    if marker.is_file():
        return json.loads(marker.read_text(encoding="utf-8"))
    if _engine is None:
        _engine = ENGINES[name]()
    voice = _engine.voices(count)[speaker.voice]
    rng = random.Random(speaker.name)
    rows = []
    for index, line in enumerate(lines):
        # Warping changes the speaking rate as well, which the tempo of the engine makes up for.
        tempo = speaker.tempo / speaker.warp * rng.uniform(0.95, 1.05)
        samples, phones = postprocess(_engine.synthesize(line, voice, tempo), speaker, rng)
        utterance_id = f"{speaker.name}-{index:05d}"
        path = folder / speaker.name / f"{utterance_id}.flac"
        audio.write(path, samples, SAMPLE_RATE)
        seconds = len(samples) / SAMPLE_RATE
        rows.append({"id": utterance_id, "text": line, "path": str(path), "phones": phones, "seconds": seconds})
    write_text(marker, json.dumps(rows, ensure_ascii=False) + "\n")
    return rows


def _synthesize_all(args: argparse.Namespace, speakers: list[Speaker], lines: list[str]) -> list[kaldi.Utterance]:
    """Synthesize the lines of all speakers in several processes."""
    utterances = []
    # Engines have threads, which a forked process would not have.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, mp_context=context) as pool:
        tasks = {}
        for index, speaker in enumerate(speakers):
            part = lines[index * args.utterances :][: args.utterances]
            task = pool.submit(_synthesize, args.engine, speaker, args.speakers, part, args.output / "wav")
            tasks[task] = speaker.name
        for task in track(as_completed(tasks), args.engine, total=len(tasks)):
            for row in task.result():
                utterance = kaldi.Utterance(
                    id=row["id"],
                    path=Path(row["path"]),
                    text=row["text"],
                    speaker=tasks[task],
                    duration=row["seconds"],
                    phones=tuple((phone, start) for phone, start in row["phones"]),
                )
                utterances.append(utterance)
    return utterances


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES, help="synthesizer")
    parser.add_argument("lines", type=Path, help="file with one text per line")
    parser.add_argument("output", type=Path, help="data directory to write")
    parser.add_argument("--speakers", type=int, required=True, help="number of speakers in the whole list")
    parser.add_argument("--only", default=":", metavar="FIRST:END", help="speakers to synthesize (default: all)")
    parser.add_argument("--utterances", type=int, required=True, help="utterances per speaker")
    parser.add_argument("--first-line", type=int, default=0, help="number of lines to skip (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the speakers (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    args = parser.parse_args()
    first, _, end = args.only.partition(":")
    speakers = make_speakers(args.engine, args.speakers, args.seed)[int(first or 0) : int(end or args.speakers)]
    lines = args.lines.read_text(encoding="utf-8").splitlines()[args.first_line :]
    needed = len(speakers) * args.utterances
    if len(lines) < needed:
        raise UserError(f"{args.lines}: {len(lines)} lines after line {args.first_line}; {needed} are needed")
    try:
        ENGINES[args.engine]()
    except UserError as error:
        print(f"{args.engine}: left out, {error}")
        return
    utterances = _synthesize_all(args, speakers, lines)
    kaldi.write(args.output, utterances)
    hours = sum(u.duration or 0.0 for u in utterances) / 3600
    print(f"{args.output}: {len(utterances)} utterances, {len(speakers)} speakers, {hours:.2f} hours")


if __name__ == "__main__":
    run(_main)

"""A corpus spoken by a synthesizer in many voices: a Kaldi data directory, with the times of the phones.

    python local/speak.py ENGINE LINES.txt OUT --speakers 27 --only 0:24 --utterances 22

A speaker is a voice of the engine and a warp: its sound is played faster or slower, which moves pitch and formants,
while the engine speaks the slower or faster, so that the tempo stays. A third of the speakers have a room, a band and
a noise floor. `--only` names those of the cast that speak, so that others of the same cast can be held out. Speakers
that are done stay when the same command is started again. An engine that is not installed is said and makes no OUT,
exit code 0: the corpus is what can be had.
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

SAMPLE_RATE = 16_000
FRAME = SAMPLE_RATE // 100
PEAK = 0.7
# Played faster or slower by so much at most. Kokoro's styles are many and high already.
WARPS = {"kokoro": (0.82, 1.06), "piper": (0.84, 1.3), "flite": (0.84, 1.18), "festival": (0.86, 1.2)}
_engine: Any = None  # of this process


@dataclass(frozen=True)
class Speaker:
    """voice: index into the engine's voices; warp: how much faster its sound is played; tempo: of its speech."""

    name: str
    voice: int
    warp: float
    tempo: float
    recorded: int | None  # seed of its room, band and noise; None: as the engine made it


def cast(engine: str, count: int, seed: int) -> list[Speaker]:
    """The speakers, the same for the same seed; warps are spread evenly over the voices."""
    rng = random.Random(f"{engine} {seed}")
    low, high = WARPS[engine]
    places = [(i + rng.random()) / count for i in range(count)]
    rng.shuffle(places)
    return [
        Speaker(
            f"{engine}{index:03d}",
            index,
            low * (high / low) ** place,
            rng.uniform(0.9, 1.15),
            rng.randrange(2**31) if rng.random() < 0.33 else None,
        )
        for index, place in enumerate(places)
    ]


def recorded(samples: np.ndarray, seed: int) -> np.ndarray:
    """As if recorded by an amateur: a small room's decay, a tilted and limited band, quiet noise."""
    rng = np.random.default_rng(seed)
    decay = rng.uniform(0.03, 0.12)  # seconds
    tail = rng.standard_normal(int(4 * decay * SAMPLE_RATE))
    tail *= np.exp(-np.arange(len(tail)) / (decay * SAMPLE_RATE))
    tail *= rng.uniform(0.1, 0.35) / np.linalg.norm(tail)
    tail[0] += 1.0
    size = len(samples) + len(tail)
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    tilt = (np.maximum(frequencies, 50.0) / 1000) ** rng.uniform(-0.25, 0.25)
    band = (
        1 / (1 + (frequencies / rng.uniform(5500, 9000)) ** 8) / (1 + (rng.uniform(40, 120) / (frequencies + 1)) ** 4)
    )
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(tail, size) * tilt * band
    wet = np.fft.irfft(spectrum, size)[: len(samples)]
    noise = np.cumsum(rng.standard_normal(len(wet))) * 0.02 + rng.standard_normal(len(wet))
    noise -= np.convolve(noise, np.full(400, 1 / 400), "same")
    level = np.sqrt(np.mean(wet**2)) * 10 ** (-rng.uniform(28, 45) / 20)
    return wet + noise * level / np.sqrt(np.mean(noise**2))


def finish(spoken: Speech, speaker: Speaker, rng: random.Random) -> tuple[np.ndarray, list[tuple[str, float]]]:
    """Warp, shorten pauses and scale; returns the samples at SAMPLE_RATE and the phones at their new times."""
    samples = audio.resample(spoken.samples, round(spoken.sample_rate * speaker.warp), SAMPLE_RATE)
    kept = heard(samples, rng)
    passed = np.concatenate(([0], np.cumsum(kept))) * FRAME / SAMPLE_RATE  # new time by old frame
    samples = samples[: len(kept) * FRAME].reshape(-1, FRAME)[kept].ravel()
    if speaker.recorded is not None:
        samples = recorded(samples, speaker.recorded)
    samples = samples * (PEAK * rng.uniform(0.6, 1.2) / max(1e-3, float(np.abs(samples).max())))
    frames = [int(start / speaker.warp * SAMPLE_RATE / FRAME) for _, start in spoken.phones]
    phones = [(p, float(passed[min(f, len(kept))])) for (p, _), f in zip(spoken.phones, frames, strict=True)]
    return samples.astype(np.float32), phones


def heard(samples: np.ndarray, rng: random.Random) -> np.ndarray:
    """Which frames of 10 ms to keep: all but what is too long of a silence, at both ends and between words."""
    level = np.sqrt(np.mean(samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME) ** 2, axis=1))
    loud = np.flatnonzero(level > 10 ** (-45 / 20) * level.max())
    kept = np.ones(len(level), dtype=bool)
    kept[: max(0, loud[0] - rng.randint(5, 14))] = False
    kept[loud[-1] + rng.randint(10, 20) :] = False
    for before, after in itertools.pairwise(loud):
        most = rng.randint(22, 40)
        if after - before > most:
            kept[before + most // 2 : after - (most - most // 2) + 1] = False
    return kept


def _speak(name: str, speaker: Speaker, count: int, lines: list[str], folder: Path) -> list[dict[str, Any]]:
    """Speak all lines of a speaker; what was spoken is kept in one file when all is."""
    global _engine
    marker = folder / f"{speaker.name}.json"
    if marker.is_file():
        return json.loads(marker.read_text(encoding="utf-8"))
    if _engine is None:
        _engine = ENGINES[name]()
    voice = _engine.voices(count)[speaker.voice]
    rng, rows = random.Random(speaker.name), []
    for index, line in enumerate(lines):
        spoken = _engine.speak(line, voice, speaker.tempo / speaker.warp * rng.uniform(0.95, 1.05))
        samples, phones = finish(spoken, speaker, rng)
        identity = f"{speaker.name}-{index:05d}"
        path = folder / speaker.name / f"{identity}.flac"
        audio.write(path, samples, SAMPLE_RATE)
        rows.append(
            {"id": identity, "text": line, "path": str(path), "phones": phones, "seconds": len(samples) / SAMPLE_RATE}
        )
    write_text(marker, json.dumps(rows, ensure_ascii=False) + "\n")
    return rows


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("lines", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--speakers", type=int, required=True, help="of the whole cast")
    parser.add_argument("--only", default=":", metavar="FIRST:END", help="which of the cast speak (default: all)")
    parser.add_argument("--utterances", type=int, required=True, help="a speaker")
    parser.add_argument("--first-line", type=int, default=0, help="lines before this one are others'")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    first, _, end = args.only.partition(":")
    speaking = cast(args.engine, args.speakers, args.seed)[int(first or 0) : int(end or args.speakers)]
    lines = args.lines.read_text(encoding="utf-8").splitlines()[args.first_line :]
    if len(lines) < (wanted := len(speaking) * args.utterances):
        raise UserError(f"{args.lines}: {len(lines)} lines from line {args.first_line} on; {wanted} are wanted")
    try:
        ENGINES[args.engine]()
    except UserError as error:
        print(f"{args.engine}: left out, {error}")
        return
    utterances = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, mp_context=context) as pool:
        tasks = {}
        for index, speaker in enumerate(speaking):
            mine = lines[index * args.utterances :][: args.utterances]
            task = pool.submit(_speak, args.engine, speaker, args.speakers, mine, args.output / "wav")
            tasks[task] = speaker.name
        for task in track(as_completed(tasks), args.engine, total=len(tasks)):
            for row in task.result():
                phones = tuple((phone, start) for phone, start in row["phones"])
                utterances.append(
                    kaldi.Utterance(
                        row["id"], Path(row["path"]), row["text"], tasks[task], duration=row["seconds"], phones=phones
                    )
                )
    kaldi.write(args.output, utterances)
    hours = sum(u.duration or 0.0 for u in utterances) / 3600
    print(f"{args.output}: {len(utterances)} utterances, {len(speaking)} speakers, {hours:.2f} hours")


if __name__ == "__main__":
    run(_main)

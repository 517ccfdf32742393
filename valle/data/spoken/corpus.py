"""The spoken corpus: sentences of the grammar in espeak-ng's voices, as Kaldi data directories."""

from __future__ import annotations

import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from valle import audio
from valle.data import kaldi
from valle.data.spoken.espeak import espeak
from valle.data.spoken.grammar import sentences
from valle.data.spoken.voices import Speaker, speakers
from valle.errors import UserError

SAMPLE_RATE = 16_000
PEAK = 0.7
SUBSETS = ("train", "valid", "test_seen", "test_unseen")


@dataclass(frozen=True)
class _Line:
    """One utterance to be spoken."""

    id: str
    subset: str
    text: str


def _speak(speaker: Speaker, lines: list[_Line], folder: Path) -> list[tuple[str, kaldi.Utterance]]:
    """Speak all lines of one speaker; runs in a process of its own, so that espeak-ng starts afresh (see Espeak)."""
    done = []
    for line in lines:
        spoken = espeak().speak(line.text, speaker.voice)
        samples = audio.resample(spoken.samples, espeak().sample_rate, SAMPLE_RATE)
        samples = samples * (PEAK / max(float(np.abs(samples).max()), 1e-3))
        path = folder / speaker.name / f"{line.id}.flac"
        audio.write(path, samples, SAMPLE_RATE)
        duration = len(samples) / SAMPLE_RATE
        utterance = kaldi.Utterance(line.id, path, line.text, speaker.name, duration=duration, phones=spoken.phones)
        done.append((line.subset, utterance))
    return done


def _plan(voices: int | None, utterances: int, seed: int) -> dict[Speaker, list[_Line]]:
    """Who says what; every sentence is said once.

    The sentences of the test and validation sets depend on the seed alone and no training set of that seed holds them,
    whatever its size, so a model trained on a larger corpus is tested fairly on a smaller one.
    """
    cast = speakers(seed)
    seen = [speaker for speaker in cast if not speaker.held_out]
    if voices is not None and not 1 <= voices <= len(seen):
        raise UserError(f"--voices {voices}: between 1 and {len(seen)} voices can be had")
    held_out = {s: ("test_unseen",) * 4 if s.held_out else ("valid", "test_seen", "test_seen") for s in cast}
    tests = sentences(sum(map(len, held_out.values())), f"test {seed}")
    rng = random.Random(f"plan {seed}")
    # one to three sentences an utterance: lengths up to those of a prompt and a target together
    counts = {s: [rng.choice((1, 1, 2, 2, 3)) for _ in range(utterances)] for s in seen[:voices]}
    drawn = sentences(sum(map(sum, counts.values())) + len(tests), seed)
    tests_left, texts_left = iter(tests), iter(text for text in drawn if text not in set(tests))
    plan = {s: [(subset, next(tests_left)) for subset in subsets] for s, subsets in held_out.items()}
    for s, lengths in counts.items():
        plan[s] += [("train", " ".join(next(texts_left) for _ in range(length))) for length in lengths]
    return {
        s: [_Line(f"{s.name}-{index:05d}", subset, text) for index, (subset, text) in enumerate(plan[s])]
        for s in cast
        if s.held_out or s in counts
    }


def build(
    directory: Path, voices: int | None = None, utterances: int = 100, seed: int = 0, jobs: int = 2
) -> dict[str, int]:
    """Write the corpus: `directory/wav/` and the data directories train, valid, test_seen (held-out sentences by
    voices of the training set) and test_unseen (held-out voices). The same arguments give the same bytes.

    voices:     how many of the training voices speak; None: all
    utterances: training utterances a voice
    jobs:       processes

    Returns the number of utterances by subset.
    """
    plan = _plan(voices, utterances, seed)
    found: dict[str, list[kaldi.Utterance]] = {subset: [] for subset in SUBSETS}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        tasks = [pool.submit(_speak, speaker, lines, directory / "wav") for speaker, lines in plan.items()]
        for task in track(as_completed(tasks), "voices", total=len(tasks)):
            for subset, utterance in task.result():
                found[subset].append(utterance)
    for subset, members in found.items():
        kaldi.write(directory / subset, members)
    return {subset: len(members) for subset, members in found.items()}

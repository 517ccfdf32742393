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
        samples = espeak().speak(line.text, speaker.voice)
        samples = audio.resample(samples, espeak().sample_rate, SAMPLE_RATE)
        samples = samples * (PEAK / max(float(np.abs(samples).max()), 1e-3))
        path = folder / speaker.name / f"{line.id}.flac"
        audio.write(path, samples, SAMPLE_RATE)
        utterance = kaldi.Utterance(line.id, path, line.text, speaker.name, duration=len(samples) / SAMPLE_RATE)
        done.append((line.subset, utterance))
    return done


def _plan(voices: int | None, utterances: int, seed: int) -> dict[Speaker, list[_Line]]:
    """Who says what. Every sentence is said once in the whole corpus, so all test sentences are new to the model."""
    cast = speakers(seed)
    seen = [speaker for speaker in cast if not speaker.held_out]
    if voices is not None:
        if not 1 <= voices <= len(seen):
            raise UserError(f"--voices {voices}: between 1 and {len(seen)} voices can be had")
        seen = seen[:voices]
    unseen = [speaker for speaker in cast if speaker.held_out]
    rng = random.Random(f"plan {seed}")
    parts = {
        speaker: [(subset, 1) for subset in ("valid", "test_seen", "test_seen")]
        # one to three sentences an utterance: lengths up to those of a prompt and a target together
        + [("train", rng.choice((1, 1, 2, 2, 3))) for _ in range(utterances)]
        for speaker in seen
    } | {speaker: [("test_unseen", 1)] * 4 for speaker in unseen}
    texts = iter(sentences(sum(count for plan in parts.values() for _, count in plan), seed))
    return {
        speaker: [
            _Line(f"{speaker.name}-{index:05d}", subset, " ".join(next(texts) for _ in range(count)))
            for index, (subset, count) in enumerate(plan)
        ]
        for speaker, plan in parts.items()
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

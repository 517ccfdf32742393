"""Generate a speech corpus: sentences of a grammar, synthesized by espeak-ng in many voices.

    python local/spoken.py DIR [--voices 8] [--utterances 100] [--seed 0] [--jobs 2]

Writes audio files to DIR/wav and the data directories DIR/train, DIR/valid, DIR/test_seen (held-out sentences in voices
of the training set) and DIR/test_unseen (held-out voices). The same options give the same bytes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from espeak import espeak
from grammar import sentences
from rich.progress import track
from voices import Speaker, speakers

from valle import audio
from valle.cli.common import run
from valle.data import kaldi
from valle.devices import check_seed
from valle.errors import UserError

# Hertz.
SAMPLE_RATE = 16_000
# Peak of every recording, relative to full scale.
PEAK = 0.7
SUBSETS = ("train", "valid", "test_seen", "test_unseen")
# Sentences of each speaker outside of the training set.
HELD_OUT_SUBSETS = ("test_unseen",) * 4
TRAINING_SUBSETS = ("valid", "test_seen", "test_seen")
# Numbers of sentences of a training utterance, equally likely: as long as a prompt and a target together.
SENTENCE_COUNTS = (1, 1, 2, 2, 3)


@dataclass(frozen=True)
class PlannedUtterance:
    """An utterance to synthesize.

    Attributes:
        id: Id of the utterance.
        subset: Data directory that it belongs to, one of `SUBSETS`.
        text: Text.
    """

    id: str
    subset: str
    text: str


def plan_corpus(voices: int | None, utterances: int, seed: int) -> dict[Speaker, list[PlannedUtterance]]:
    """Assign sentences to speakers; no sentence occurs twice.

    The sentences for validation and test depend on the seed alone, and no training set of that seed contains them,
    whatever its size: a model trained on a larger corpus can be tested on a smaller one.

    Args:
        voices: Training voices, in the order of `voices.VARIANTS`; None for all.
        utterances: Training utterances per voice.
        seed: Seed.

    Returns:
        The utterances of each speaker.

    Raises:
        UserError: There are not that many voices.
    """
    cast = speakers(seed)
    training_cast = [speaker for speaker in cast if not speaker.held_out]
    if voices is not None and not 1 <= voices <= len(training_cast):
        raise UserError(f"--voices {voices}: choose from 1 to {len(training_cast)} voices")
    test_subsets = {s: HELD_OUT_SUBSETS if s.held_out else TRAINING_SUBSETS for s in cast}
    test_sentences = sentences(sum(map(len, test_subsets.values())), f"test {seed}")
    rng = random.Random(f"plan {seed}")
    counts = {s: [rng.choice(SENTENCE_COUNTS) for _ in range(utterances)] for s in training_cast[:voices]}
    # As many more as there are test sentences, since all of those may be among them.
    candidates = sentences(sum(map(sum, counts.values())) + len(test_sentences), seed)
    remaining_tests = iter(test_sentences)
    remaining: Iterator[str] = iter(text for text in candidates if text not in set(test_sentences))
    texts = {s: [(subset, next(remaining_tests)) for subset in subsets] for s, subsets in test_subsets.items()}
    for speaker, sentence_counts in counts.items():
        for count in sentence_counts:
            texts[speaker].append(("train", " ".join(next(remaining) for _ in range(count))))
    return {
        s: [PlannedUtterance(f"{s.name}-{index:05d}", subset, text) for index, (subset, text) in enumerate(texts[s])]
        for s in cast
        if s.held_out or s in counts
    }


def _synthesize(speaker: Speaker, planned: list[PlannedUtterance], folder: Path) -> list[tuple[str, kaldi.Utterance]]:
    """Synthesize all utterances of one speaker; runs in a new process, which makes it reproducible (see `Espeak`)."""
    results = []
    for utterance in planned:
        speech = espeak().synthesize(utterance.text, speaker.voice)
        samples = audio.resample(speech.samples, espeak().sample_rate, SAMPLE_RATE)
        samples = samples * (PEAK / max(float(np.abs(samples).max()), 1e-3))
        path = folder / speaker.name / f"{utterance.id}.flac"
        audio.write(path, samples, SAMPLE_RATE)
        recorded = kaldi.Utterance(
            id=utterance.id,
            path=path,
            text=utterance.text,
            speaker=speaker.name,
            duration=len(samples) / SAMPLE_RATE,
            phones=speech.phones,
        )
        results.append((utterance.subset, recorded))
    return results


def _synthesize_task(task: tuple[Speaker, list[PlannedUtterance], Path]) -> list[tuple[str, kaldi.Utterance]]:
    """Unpack the arguments: `imap_unordered` passes one."""
    return _synthesize(*task)


def build(
    directory: Path, voices: int | None = None, utterances: int = 100, seed: int = 0, jobs: int = 2
) -> dict[str, int]:
    """Generate the corpus.

    Args:
        directory: Folder for the corpus, see the description of this file.
        voices: Training voices, the most intelligible first; None for all.
        utterances: Training utterances per voice.
        seed: Seed.
        jobs: Processes.

    Returns:
        The number of utterances of each subset.

    Raises:
        UserError: There are not that many voices, or a file cannot be written.
    """
    plan = plan_corpus(voices, utterances, seed)
    subsets: dict[str, list[kaldi.Utterance]] = {subset: [] for subset in SUBSETS}
    tasks = [(speaker, planned, directory / "wav") for speaker, planned in plan.items()]
    # A new process for every speaker, so that espeak-ng's state does not depend on the number of processes. Not by
    # ProcessPoolExecutor: its max_tasks_per_child can deadlock (CPython issue 115634), and Python 3.10 lacks it.
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=1) as pool:
        for results in track(pool.imap_unordered(_synthesize_task, tasks), "voices", total=len(tasks)):
            for subset, utterance in results:
                subsets[subset].append(utterance)
    for subset, members in subsets.items():
        kaldi.write(directory / subset, members)
    return {subset: len(members) for subset, members in subsets.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("output", type=Path, help="folder for wav/, train/, valid/, test_seen/ and test_unseen/")
    parser.add_argument("--voices", type=int, help="training voices (default: all)")
    parser.add_argument("--utterances", type=int, default=100, help="training utterances per voice (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")


def generate(args: argparse.Namespace) -> None:
    """Generate the corpus that the options describe, and print the number of utterances."""
    check_seed(args.seed)
    if args.utterances < 1 or args.jobs < 1:
        raise UserError("--utterances and --jobs must be at least 1")
    counts = build(args.output, args.voices, args.utterances, seed=args.seed, jobs=args.jobs)
    for subset, count in counts.items():
        print(f"{args.output / subset}: {count} utterances")


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    generate(parser.parse_args())


if __name__ == "__main__":
    run(_main)

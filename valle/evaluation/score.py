"""Scores of synthesized speech beside those of the recordings and of their codec round trip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.progress import track

from valle import audio
from valle.codec import Codec
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.evaluation.recognizer import Recognizer, missing, words
from valle.evaluation.similarity import SpeakerEncoder, similarity

SYSTEMS = ("recording", "codec", "synthesized")
SELECTIONS = ("first", "sort", "max")
ENOUGH_SIMILARITY = 0.3  # VALL-E 2, equation 23: above it, candidates are told apart by their words


@dataclass
class Score:
    """One utterance by one system.

    wer:        word error rate, errors / words
    similarity: to the prompt's voice, a cosine
    own_voice:  whether the prompt's voice is the nearest of all voices in the set
    """

    id: str
    system: str
    speaker: str
    path: Path
    text: str
    heard: str
    wer: float
    similarity: float
    own_voice: bool


@dataclass
class Pair:
    """An utterance to be scored: the recording, the candidates that were synthesized for it, and the prompt that gave
    the voice."""

    recording: Utterance
    synthesized: list[Path]
    prompt: Path


def pairs(utterances: list[Utterance], prompts: dict[str, Path], folder: Path) -> list[Pair]:
    """Match a data directory, a prompt an utterance, and `folder/<id>.wav`, or `<id>-1.wav`, `<id>-2.wav`, ...

    Raises UserError for what is missing.
    """
    found = [Pair(u, _candidates(folder, u.id), prompts[u.id]) for u in utterances if u.id in prompts]
    if not found:
        raise UserError(f"{folder}: none of the utterances has a prompt")
    absent = [pair.recording.id for pair in found if not pair.synthesized]
    if absent:
        raise UserError(
            f"{folder / absent[0]}.wav: not there ({len(absent)} of {len(found)} are missing); synthesize them first"
        )
    return found


def _candidates(folder: Path, key: str) -> list[Path]:
    alone = folder / f"{key}.wav"
    if alone.is_file():
        return [alone]
    found: list[Path] = []
    while (path := folder / f"{key}-{len(found) + 1}.wav").is_file():
        found.append(path)
    return found


def select(candidates: list[Score], selection: str) -> Score:
    """One score of the candidates of an utterance: a single draw, or a five-time sampling of VALL-E 2 (section 4.1.3).

    first: the first draw
    sort:  the most words right among those similar enough to the prompt, else the most similar (equation 23)
    max:   the best of each score, whichever candidate has it
    """
    if selection == "first":
        return candidates[0]
    best = max(candidates, key=lambda s: (min(s.similarity, ENOUGH_SIMILARITY), 1 - s.wer))
    if selection == "sort":
        return best
    return replace(
        best,
        wer=min(s.wer for s in candidates),
        heard=min(candidates, key=lambda s: s.wer).heard,
        similarity=max(s.similarity for s in candidates),
        own_voice=any(s.own_voice for s in candidates),
    )


def round_trips(items: list[Pair], codec: Codec, folder: Path) -> dict[str, Path]:
    """Each recording through the codec and back, written to `folder`."""
    paths = {}
    for item in items:
        u = item.recording
        sound = audio.read(u.path, codec.sample_rate, start=u.start, end=u.end)
        path = folder / f"{u.id}.wav"
        audio.write(path, codec.decode(codec.encode(sound.samples, sound.sample_rate)), codec.sample_rate)
        paths[u.id] = path
    return paths


def score(
    items: list[Pair],
    codec: Codec,
    folder: Path,
    recognizer: Recognizer,
    encoder: SpeakerEncoder,
    selection: str = "first",
) -> list[Score]:
    """Score every utterance by every system; recordings and round trips are written to `folder` for the report.

    selection: see `select`
    """
    trips = round_trips(items, codec, folder / "codec")
    voices: dict[str, list[np.ndarray]] = {}
    embedded = {}
    for prompt, speaker in {(item.prompt, item.recording.speaker) for item in items}:
        sound = audio.read(prompt)
        embedded[prompt] = encoder.embed(sound.samples, sound.sample_rate)
        voices.setdefault(speaker, []).append(embedded[prompt])
    centroids = {speaker: _unit(np.mean(vectors, axis=0)) for speaker, vectors in voices.items()}
    found = []
    for item in track(items, "scoring"):
        u = item.recording
        original = audio.read(u.path, start=u.start, end=u.end)
        recording = folder / "recording" / f"{u.id}.wav"
        audio.write(recording, original.samples, original.sample_rate)

        def judge(system: str, path: Path, u: Utterance = u, prompt: Path = item.prompt) -> Score:
            sound = audio.read(path)
            heard = recognizer.transcribe(sound.samples, sound.sample_rate)
            voice = encoder.embed(sound.samples, sound.sample_rate)
            nearest = max(centroids, key=lambda speaker: similarity(voice, centroids[speaker]))
            return Score(
                id=u.id,
                system=system,
                speaker=u.speaker,
                path=path,
                text=u.text,
                heard=heard,
                wer=word_error_rate([words(u.text)], [heard]),
                similarity=similarity(voice, embedded[prompt]),
                own_voice=nearest == u.speaker,
            )

        candidates = item.synthesized if selection != "first" else item.synthesized[:1]
        found += [
            judge("recording", recording),
            judge("codec", trips[u.id]),
            select([judge("synthesized", path) for path in candidates], selection),
        ]
    return found


def word_error_rate(references: list[str], heard: list[str]) -> float:
    """Errors over all references' words."""
    try:
        import jiwer
    except ImportError as error:
        raise missing("jiwer") from error
    return float(jiwer.wer(references, heard))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def summary(scores: Iterable[Score]) -> dict[str, dict[str, float]]:
    """By system: WER over all words, mean similarity, share of utterances nearest to their own voice, count."""
    table = {}
    scores = list(scores)
    for system in SYSTEMS:
        own = [s for s in scores if s.system == system]
        table[system] = {
            "wer": word_error_rate([words(s.text) for s in own], [s.heard for s in own]),
            "similarity": float(np.mean([s.similarity for s in own])),
            "own_voice": float(np.mean([s.own_voice for s in own])),
            "utterances": len(own),
        }
    return table

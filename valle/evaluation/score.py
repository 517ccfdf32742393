"""Scores of synthesized speech beside those of the recordings and of their codec round trip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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
    """An utterance to be scored: the recording, what was synthesized for it, and the prompt that gave the voice."""

    recording: Utterance
    synthesized: Path
    prompt: Path


def pairs(utterances: list[Utterance], prompts: dict[str, Path], folder: Path) -> list[Pair]:
    """Match a data directory, a prompt an utterance, and `folder/<id>.wav`. Raises UserError for what is missing."""
    found = [Pair(u, folder / f"{u.id}.wav", prompts[u.id]) for u in utterances if u.id in prompts]
    if not found:
        raise UserError(f"{folder}: none of the utterances has a prompt")
    absent = [pair.synthesized for pair in found if not pair.synthesized.is_file()]
    if absent:
        raise UserError(f"{absent[0]}: not there ({len(absent)} of {len(found)} are missing); synthesize them first")
    return found


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
    items: list[Pair], codec: Codec, folder: Path, recognizer: Recognizer, encoder: SpeakerEncoder
) -> list[Score]:
    """Score every utterance by every system; recordings and round trips are written to `folder` for the report."""
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
        sources = {
            "recording": audio.read(u.path, start=u.start, end=u.end),
            "codec": audio.read(trips[u.id]),
            "synthesized": audio.read(item.synthesized),
        }
        audio.write(
            folder / "recording" / f"{u.id}.wav", sources["recording"].samples, sources["recording"].sample_rate
        )
        places = {"recording": folder / "recording" / f"{u.id}.wav", "codec": trips[u.id]}
        reference = words(u.text)
        for system in SYSTEMS:
            sound = sources[system]
            heard = recognizer.transcribe(sound.samples, sound.sample_rate)
            voice = encoder.embed(sound.samples, sound.sample_rate)
            nearest = max(centroids, key=lambda speaker: similarity(voice, centroids[speaker]))
            found.append(
                Score(
                    id=u.id,
                    system=system,
                    speaker=u.speaker,
                    path=places.get(system, item.synthesized),
                    text=u.text,
                    heard=heard,
                    wer=word_error_rate([reference], [heard]),
                    similarity=similarity(voice, embedded[item.prompt]),
                    own_voice=nearest == u.speaker,
                )
            )
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

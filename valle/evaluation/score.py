"""Scores of synthesized speech beside those of the recordings and of their codec round trip."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from valle import audio
from valle.audio import Audio
from valle.codec import Codec
from valle.data import kaldi
from valle.data.kaldi import Utterance
from valle.data.testlist import read_test_list
from valle.errors import UserError
from valle.evaluation.quality import dnsmos
from valle.evaluation.recognizer import SAMPLE_RATE, Recognizer, missing, words
from valle.evaluation.robustness import LOOP, SILENCE, longest_silence, pauses, spoken_loop
from valle.evaluation.similarity import SpeakerEncoder, similarity, unit
from valle.files import append_line, read_records, write_text
from valle.synthesis.testset import CODES, SPEECH, read_prompts

SYSTEMS = ("recording", "codec", "synthesized")
SELECTIONS = ("first", "sort", "max")
ENOUGH_SIMILARITY = 0.3  # VALL-E 2, equation 23: above it, candidates are told apart by their words
SCORES, JUDGED, SETTINGS = "scores.jsonl", "judged.jsonl", "settings.json"


@dataclass
class Score:
    """One utterance by one system.

    path:       sound file
    start, end: seconds of it that are the utterance; end None means to its end
    text, heard: what was to be said, and what the recogniser heard, normalized
    words, word_errors, characters, character_errors: of the text, and how many of them went wrong
    sim_o:      to the prompt's voice, a cosine; sim_r: to the voice of the prompt's codec round trip
    own_voice:  whether the prompt's voice is the nearest of all voices in the set
    dnsmos, sig, bak: predicted quality: overall, of the speech, of the background
    seconds:    length; pauses: seconds of it in silences; silence: seconds of the longest
    loop:       seconds of the longest loop in the first codebook, pauses left out
    looped, silent: whether these are faults; early_stop: whether the text's last word is missing
    no_end:     whether the bound on the length cut it; work: seconds it took to synthesize. None where not known
    """

    id: str
    system: str
    speaker: str
    path: str
    start: float
    end: float | None
    text: str
    heard: str
    words: int
    word_errors: int
    characters: int
    character_errors: int
    sim_o: float
    sim_r: float
    own_voice: bool
    dnsmos: float
    sig: float
    bak: float
    seconds: float
    pauses: float
    silence: float
    loop: float
    looped: bool
    silent: bool
    early_stop: bool
    no_end: bool | None = None
    work: float | None = None

    @property
    def wer(self) -> float:
        """Word errors by words."""
        return self.word_errors / max(1, self.words)


@dataclass(frozen=True)
class Item:
    """An utterance to be scored: what was to be said, the prompt that gave the voice, a person who says it (None where
    nobody does), and the candidates that were synthesized."""

    id: str
    speaker: str
    text: str
    prompt: Path
    reference: Utterance | None
    synthesized: tuple[Path, ...]


def read_items(source: Path, folder: Path) -> list[Item]:
    """A data directory or test list beside `folder/<id>.wav`, or `<id>-1.wav`, `<id>-2.wav`, ... Raises UserError for
    what is missing.

    Of a data directory those utterances that have a prompt in the folder are scored, of a list all.
    """
    if source.is_file():
        found = [
            Item(
                line.id,
                line.speaker,
                line.text,
                line.prompt,
                Utterance(line.id, line.reference, line.text, line.speaker) if line.reference else None,
                _candidates(folder, line.id),
            )
            for line in read_test_list(source)
        ]
    else:
        utterances, prompts = kaldi.read(source), read_prompts(folder)
        found = [
            Item(u.id, u.speaker, u.text, prompts[u.id], u, _candidates(folder, u.id))
            for u in utterances
            if u.id in prompts
        ]
        if not found:
            raise UserError(f"{folder}: none of the utterances has a prompt; were others synthesized?")
    absent = [item.id for item in found if not item.synthesized]
    if absent:
        raise UserError(
            f"{folder / absent[0]}.wav: not there ({len(absent)} of {len(found)} are missing); synthesize them first"
        )
    return found


def _candidates(folder: Path, key: str) -> tuple[Path, ...]:
    alone = folder / f"{key}.wav"
    if alone.is_file():
        return (alone,)
    found: list[Path] = []
    while (path := folder / f"{key}-{len(found) + 1}.wav").is_file():
        found.append(path)
    return tuple(found)


def select(candidates: list[Score], selection: str) -> Score:
    """One score of the candidates of an utterance: a single draw, or a five-time sampling of VALL-E 2 (section 4.1.3).

    first: the first draw
    sort:  the most words right among those similar enough to the prompt, else the most similar (equation 23)
    max:   the best of each score, whichever candidate has it
    """
    if selection == "first":
        return candidates[0]
    best = max(candidates, key=lambda s: (min(s.sim_o, ENOUGH_SIMILARITY), 1 - s.wer))
    if selection == "sort":
        return best
    rightest = min(candidates, key=lambda s: s.word_errors)
    return replace(
        best,
        word_errors=rightest.word_errors,
        character_errors=min(s.character_errors for s in candidates),
        heard=rightest.heard,
        sim_o=max(s.sim_o for s in candidates),
        sim_r=max(s.sim_r for s in candidates),
        own_voice=any(s.own_voice for s in candidates),
        dnsmos=max(s.dnsmos for s in candidates),
    )


@dataclass(frozen=True)
class _Task:
    """A sound to be judged."""

    item: Item
    system: str
    path: Path
    start: float = 0.0
    end: float | None = None

    def stamp(self) -> str:
        """What it would be judged by: the same stamp, the same score."""
        about = [self.item.id, self.item.text, self.item.speaker, *_state(self.item.prompt)]
        return json.dumps([self.system, *about, self.start, self.end, *_state(self.path)])


def _state(path: Path) -> list[Any]:
    """Tells whether a file is still what it was."""
    about = path.stat()
    return [str(path), about.st_mtime_ns, about.st_size]


def sound_codes(made: _Task | Score, sound: Audio, codec: Codec) -> Tensor:
    """The codes (time, codebook) that a sound was made from where valle-synth kept them, else the codec's."""
    path = Path(made.path)
    kept = path.parent / CODES / f"{path.stem}.npy"
    if made.system == "synthesized" and kept.is_file():
        return torch.from_numpy(np.load(kept).astype(np.int64))
    return codec.encode(sound.samples, sound.sample_rate)


def word_errors(reference: str, heard: str) -> tuple[int, int, bool]:
    """Words of the reference, errors, and whether its last word was left out: normalized texts."""
    try:
        import jiwer
    except ImportError as error:
        raise missing("jiwer") from error
    if not reference:
        return 0, len(heard.split()), False
    found = jiwer.process_words(reference, heard)
    errors = found.substitutions + found.deletions + found.insertions
    return len(found.references[0]), errors, found.alignments[0][-1].type == "delete"


def character_errors(reference: str, heard: str) -> tuple[int, int]:
    """Characters of the reference, and errors: normalized texts."""
    import jiwer

    if not reference:
        return 0, len(heard)
    found = jiwer.process_characters(reference, heard)
    return len(reference), found.substitutions + found.deletions + found.insertions


class Judge:
    """Scores sounds, several at once."""

    def __init__(self, items: Sequence[Item], codec: Codec, recognizer: Recognizer, encoder: SpeakerEncoder) -> None:
        self.codec, self.recognizer, self.encoder = codec, recognizer, encoder
        self._said: dict[Path, dict[str, Any]] = {}  # by folder and file, what valle-synth tells of it
        self._prompts: dict[Path, tuple[np.ndarray, np.ndarray]] = {}
        voices: dict[str, list[np.ndarray]] = {}
        pairs = sorted({(item.prompt, item.speaker) for item in items})
        states = json.dumps([[speaker, *_state(prompt)] for prompt, speaker in pairs])
        self.voices = hashlib.sha256(states.encode()).hexdigest()[:16]  # another set of voices, other scores
        for prompt, speaker in track(pairs, "prompts"):
            sound = audio.read(prompt)
            trip = audio.resample(self._round_trip(sound), codec.sample_rate, SAMPLE_RATE)
            embedded = encoder.embed(audio.resample(sound.samples, sound.sample_rate, SAMPLE_RATE))
            self._prompts[prompt] = embedded, encoder.embed(trip)
            voices.setdefault(speaker, []).append(embedded)
        self._voices = {speaker: unit(np.mean(vectors, axis=0)) for speaker, vectors in voices.items()}

    def _round_trip(self, sound: Audio) -> np.ndarray:
        return self.codec.decode(self.codec.encode(sound.samples, sound.sample_rate))

    def round_trip(self, reference: Utterance, path: Path) -> None:
        """Write the codec's round trip of a recording, unless it is there and younger."""
        if not path.is_file() or path.stat().st_mtime_ns < reference.path.stat().st_mtime_ns:
            sound = audio.read(reference.path, self.codec.sample_rate, start=reference.start, end=reference.end)
            audio.write(path, self._round_trip(sound), self.codec.sample_rate)

    def _spoken(self, path: Path) -> dict[str, Any]:
        folder = path.parent
        if folder not in self._said:
            self._said[folder] = {record["file"]: record for record in read_records(folder / SPEECH)}
        return self._said[folder].get(path.name, {})

    def __call__(self, tasks: Sequence[_Task]) -> list[Score]:
        """A score a task."""
        sounds = [audio.read(task.path, start=task.start, end=task.end) for task in tasks]
        heard = self.recognizer.transcribe([audio.resample(s.samples, s.sample_rate, SAMPLE_RATE) for s in sounds])
        return [self._score(*parts) for parts in zip(tasks, sounds, map(words, heard), strict=True)]

    def _score(self, task: _Task, sound: Audio, heard: str) -> Score:
        item, text = task.item, words(task.item.text)
        samples = audio.resample(sound.samples, sound.sample_rate, SAMPLE_RATE)
        voice, (original, trip) = self.encoder.embed(samples), self._prompts[item.prompt]
        loop = spoken_loop(sound_codes(task, sound, self.codec), samples, SAMPLE_RATE) / self.codec.frame_rate
        silence = longest_silence(samples, SAMPLE_RATE)
        count, errors, early_stop = word_errors(text, heard)
        characters, wrong = character_errors(text, heard)
        spoken = self._spoken(task.path) if task.system == "synthesized" else {}
        return Score(
            id=item.id,
            system=task.system,
            speaker=item.speaker,
            path=str(task.path),
            start=task.start,
            end=task.end,
            text=item.text,
            heard=heard,
            words=count,
            word_errors=errors,
            characters=characters,
            character_errors=wrong,
            sim_o=similarity(voice, original),
            sim_r=similarity(voice, trip),
            own_voice=max(self._voices, key=lambda name: similarity(voice, self._voices[name])) == item.speaker,
            **dnsmos(samples),
            seconds=sound.duration,
            pauses=pauses(samples, SAMPLE_RATE),
            silence=silence,
            loop=loop,
            looped=loop >= LOOP,
            silent=silence >= SILENCE,
            early_stop=early_stop,
            no_end=spoken.get("no_end"),
            work=spoken["rtf"] * sound.duration if spoken else None,
        )


def score(
    items: list[Item],
    judge: Judge,
    folder: Path,
    settings: dict[str, str],
    selection: str = "first",
    batch_size: int = 16,
) -> list[Score]:
    """Score every utterance by every system, in the order of the items; see `select` for candidates.

    Each batch is added to `folder/judged.jsonl` when it is done: the same command goes on from there. What was judged
    with other `settings`, names or paths of the judges, or from a file that has changed, is judged again. Round trips
    are kept in `folder/codec`, and the scores go to `folder/scores.jsonl`.
    """
    _forget_other_settings(folder, settings)
    tasks: dict[str, list[_Task]] = {}
    for item in track(items, "codec round trips"):
        own = tasks[item.id] = []
        if item.reference is not None:
            u, trip = item.reference, folder / "codec" / f"{item.id}.wav"
            judge.round_trip(u, trip)
            own += [_Task(item, "recording", u.path, u.start, u.end), _Task(item, "codec", trip)]
        candidates = item.synthesized if selection != "first" else item.synthesized[:1]
        own += [_Task(item, "synthesized", path) for path in candidates]

    done = {record["stamp"]: Score(**record["score"]) for record in read_records(folder / JUDGED)}
    stamps = {task: task.stamp() for own in tasks.values() for task in own}
    waiting = [task for task, stamp in stamps.items() if stamp not in done]
    for batch in track([waiting[i : i + batch_size] for i in range(0, len(waiting), batch_size)], "scoring"):
        for task, judged in zip(batch, judge(batch), strict=True):
            append_line(folder / JUDGED, json.dumps({"stamp": stamps[task], "score": asdict(judged)}))
            done[stamps[task]] = judged

    found = []
    for own in tasks.values():
        scores = [done[stamps[task]] for task in own]
        found += [s for s in scores if s.system != "synthesized"]
        found.append(select([s for s in scores if s.system == "synthesized"], selection))
    write_text(folder / SCORES, "".join(json.dumps(asdict(s)) + "\n" for s in found))
    return found


def _forget_other_settings(folder: Path, settings: dict[str, str]) -> None:
    """Start afresh where others judged: another name, other weights in a folder or file of that name, other scores."""
    weights = {
        name: sorted(_state(file) for file in (place, *place.glob("*")) if file.is_file())
        for name, place in ((name, Path(value)) for name, value in settings.items())
        if place.exists()
    }
    document = {**settings, "weights": weights, "scores": [field.name for field in fields(Score)]}
    path, text = folder / SETTINGS, json.dumps(document, indent=2) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        (folder / JUDGED).unlink(missing_ok=True)
        shutil.rmtree(folder / "codec", ignore_errors=True)
    write_text(path, text)

"""Scores of synthesized speech beside those of the recordings and of their codec round trip."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
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
from valle.errors import UserError
from valle.evaluation.attempt import attempt, attempt_read, failure_lines
from valle.evaluation.quality import dnsmos
from valle.evaluation.recognizer import SAMPLE_RATE, Recognizer, missing, words
from valle.evaluation.robustness import LOOP, SILENCE, longest_silence, pauses, spoken_loop
from valle.evaluation.similarity import SpeakerEncoder, similarity, unit
from valle.evaluation.test_list import read_test_list
from valle.evaluation.test_set import CODES, PROMPTS, SPEECH, read_prompts
from valle.files import append_line, read_records, write_text

SYSTEMS = ("recording", "codec", "synthesized")
NAMES = {"recording": "recording", "codec": "codec round trip", "synthesized": "synthesized"}
SELECTIONS = ("first", "sort", "max")
ENOUGH_SIMILARITY = 0.3  # VALL-E 2, equation 23: above it, candidates are told apart by their words
SCORES, SCORE_CACHE, SETTINGS = "scores.jsonl", "judged.jsonl", "settings.json"


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
    failures:   measurement -> reason, for each scorer that could not score this utterance; its scores are None
    """

    id: str
    system: str
    speaker: str
    path: str
    start: float
    end: float | None
    text: str
    heard: str | None
    words: int
    word_errors: int | None
    characters: int
    character_errors: int | None
    sim_o: float | None
    sim_r: float | None
    own_voice: bool | None
    dnsmos: float | None
    sig: float | None
    bak: float | None
    seconds: float | None
    pauses: float | None
    silence: float | None
    loop: float | None
    looped: bool | None
    silent: bool | None
    early_stop: bool | None
    no_end: bool | None = None
    work: float | None = None
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def wer(self) -> float | None:
        """Word errors divided by words; None where the recognizer failed."""
        return None if self.word_errors is None else self.word_errors / max(1, self.words)


@dataclass(frozen=True)
class Item:
    """An utterance to be scored: what was to be said, the prompt that gave the voice (None where it is not available),
    a person who says it (None where nobody does), and the candidates that were synthesized."""

    id: str
    speaker: str
    text: str
    prompt: Path | None
    reference: Utterance | None
    synthesized: tuple[Path, ...]


def read_items(source: Path, folder: Path) -> list[Item]:
    """A data directory or test list beside `folder/<id>.wav`, or `<id>-1.wav`, `<id>-2.wav`, ... Raises UserError for
    what is missing.

    Of a data directory those utterances are scored that have a prompt in the folder's prompts.scp; without that file
    all, without similarity to a prompt. Of a list all are scored.
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
        utterances = kaldi.read(source)
        prompts: dict[str, Path | None] = dict.fromkeys(u.id for u in utterances)
        if (folder / PROMPTS).is_file():
            prompts = read_prompts(folder)
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
    best = max(candidates, key=_similarity_then_words)
    if selection == "sort":
        return best
    recognized = [s for s in candidates if s.word_errors is not None]
    rightest = min(recognized, key=lambda s: s.word_errors or 0) if recognized else best
    return replace(
        best,
        word_errors=rightest.word_errors,
        character_errors=min((s.character_errors for s in recognized if s.character_errors is not None), default=None),
        heard=rightest.heard,
        sim_o=_largest([s.sim_o for s in candidates]),
        sim_r=_largest([s.sim_r for s in candidates]),
        own_voice=_largest([s.own_voice for s in candidates]),
        dnsmos=_largest([s.dnsmos for s in candidates]),
    )


def _similarity_then_words(score: Score) -> tuple[float, float]:
    """Sort key of VALL-E 2, equation 23; what was not scored comes last."""
    similar = -np.inf if score.sim_o is None else min(score.sim_o, ENOUGH_SIMILARITY)
    return similar, -np.inf if score.wer is None else 1 - score.wer


def _largest(values: Sequence[Any]) -> Any:
    """The largest value of those that were scored; None where none was."""
    return max((value for value in values if value is not None), default=None)


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
        prompt = [] if self.item.prompt is None else _state(self.item.prompt)
        about = [self.item.id, self.item.text, self.item.speaker, *prompt]
        return json.dumps([self.system, *about, self.start, self.end, *_state(self.path)])


def _state(path: Path) -> list[Any]:
    """Tells whether a file is still what it was."""
    if not path.exists():
        return [str(path), None, None]
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


@dataclass(frozen=True)
class _Voice:
    """Speaker embeddings of a prompt and of its codec round trip; None, with the reason, where one failed."""

    original: np.ndarray | None
    trip: np.ndarray | None
    failure: str


class Judge:
    """Scores sounds, several at once. A scorer that fails for one utterance leaves a reason in `Score.failures`."""

    def __init__(self, items: Sequence[Item], codec: Codec, recognizer: Recognizer, encoder: SpeakerEncoder) -> None:
        self.codec, self.recognizer, self.encoder = codec, recognizer, encoder
        self._said: dict[Path, dict[str, Any]] = {}  # by folder and file, what valle-synth tells of it
        self._prompts: dict[Path, _Voice] = {}
        self._failed_trips: dict[Path, str] = {}  # file of a round trip that failed -> reason
        voices: dict[str, list[np.ndarray]] = {}
        pairs = sorted({(item.prompt, item.speaker) for item in items if item.prompt is not None})
        states = json.dumps([[speaker, *_state(prompt)] for prompt, speaker in pairs])
        self.voices = hashlib.sha256(states.encode()).hexdigest()[:16]  # another set of voices, other scores
        for prompt, speaker in track(pairs, "prompts"):
            self._prompts[prompt] = voice = self._voice(prompt)
            if voice.original is not None:
                voices.setdefault(speaker, []).append(voice.original)
        self._voices = {speaker: unit(np.mean(vectors, axis=0)) for speaker, vectors in voices.items()}

    def _voice(self, prompt: Path) -> _Voice:
        sound, failure = attempt_read(audio.read, prompt)
        if sound is None:
            return _Voice(None, None, f"prompt: {failure}")
        original, failure = attempt(self.encoder.embed, _resampled(sound))
        if original is None:
            return _Voice(None, None, f"prompt {prompt}: {failure}")
        trip, failure = attempt(self._round_trip, sound)
        if trip is not None:
            trip, failure = attempt(self.encoder.embed, audio.resample(trip, self.codec.sample_rate, SAMPLE_RATE))
        return _Voice(original, trip, f"codec round trip of prompt {prompt}: {failure}" if failure else "")

    def _round_trip(self, sound: Audio) -> np.ndarray:
        return self.codec.decode(self.codec.encode(sound.samples, sound.sample_rate))

    def round_trip(self, reference: Utterance, path: Path) -> None:
        """Write the codec's round trip of a recording, unless it is there and younger. Where the recording cannot be
        read or encoded, remember the reason."""
        if not reference.path.is_file() or (
            path.is_file() and path.stat().st_mtime_ns >= reference.path.stat().st_mtime_ns
        ):
            return
        path.unlink(missing_ok=True)
        sound, failure = attempt_read(_read, reference, self.codec.sample_rate)
        if sound is not None:
            samples, failure = attempt(self._round_trip, sound)
            if samples is not None:
                audio.write(path, samples, self.codec.sample_rate)
        if failure:
            self._failed_trips[path] = failure

    def _spoken(self, path: Path) -> dict[str, Any]:
        folder = path.parent
        if folder not in self._said:
            self._said[folder] = {record["file"]: record for record in read_records(folder / SPEECH)}
        return self._said[folder].get(path.name, {})

    def __call__(self, tasks: Sequence[_Task]) -> list[Score]:
        """A score a task."""
        read = [attempt_read(_read, task) for task in tasks]
        readable = [index for index, (sound, _) in enumerate(read) if sound is not None]
        recognized = self._transcribe([_resampled(read[index][0]) for index in readable])
        heard = dict(zip(readable, recognized, strict=True))
        scores = []
        for index, (task, (sound, failure)) in enumerate(zip(tasks, read, strict=True)):
            if sound is None:
                scores.append(self._unreadable(task, self._failed_trips.get(task.path, failure)))
            else:
                scores.append(self._score(task, sound, *heard[index]))
        return scores

    def _transcribe(self, recordings: Sequence[np.ndarray]) -> list[tuple[str | None, str]]:
        """Normalized words of each recording and "", or None and a reason. Where a batch fails, each is tried alone."""
        said, failure = attempt(self.recognizer.transcribe, recordings)
        if said is not None:
            return [(words(text), "") for text in said]
        if len(recordings) == 1:
            return [(None, failure)]
        return [self._transcribe([samples])[0] for samples in recordings]

    def _unreadable(self, task: _Task, reason: str) -> Score:
        """A score without any measurement."""
        text = words(task.item.text)
        return Score(
            **_about(task),
            heard=None,
            words=len(text.split()),
            word_errors=None,
            characters=len(text),
            character_errors=None,
            sim_o=None,
            sim_r=None,
            own_voice=None,
            dnsmos=None,
            sig=None,
            bak=None,
            seconds=None,
            pauses=None,
            silence=None,
            loop=None,
            looped=None,
            silent=None,
            early_stop=None,
            failures={"audio": reason},
        )

    def _score(self, task: _Task, sound: Audio, heard: str | None, failure: str) -> Score:
        text, samples = words(task.item.text), _resampled(sound)
        failures = {"WER": failure} if failure else {}
        silence = longest_silence(samples, SAMPLE_RATE)
        count, errors, early_stop = word_errors(text, heard or "")
        characters, wrong = character_errors(text, heard or "")
        spoken = self._spoken(task.path) if task.system == "synthesized" else {}
        quality, failures["DNSMOS"] = attempt(dnsmos, samples)
        codes, failures["loops"] = attempt(sound_codes, task, sound, self.codec)
        loop = None if codes is None else spoken_loop(codes, samples, SAMPLE_RATE) / self.codec.frame_rate
        return Score(
            **_about(task),
            heard=heard,
            words=count,
            word_errors=None if heard is None else errors,
            characters=characters,
            character_errors=None if heard is None else wrong,
            **self._similarities(task.item, samples, failures),
            **(quality or dict.fromkeys(("dnsmos", "sig", "bak"))),
            seconds=sound.duration,
            pauses=pauses(samples, SAMPLE_RATE),
            silence=silence,
            loop=loop,
            looped=None if loop is None else loop >= LOOP,
            silent=silence >= SILENCE,
            early_stop=None if heard is None else early_stop,
            no_end=spoken.get("no_end"),
            work=spoken["rtf"] * sound.duration if spoken else None,
            failures={name: reason for name, reason in failures.items() if reason},
        )

    def _similarities(self, item: Item, samples: np.ndarray, failures: dict[str, str]) -> dict[str, Any]:
        """Scores of the voice; a reason for each that is missing goes to `failures`. None of an item without prompt."""
        scores: dict[str, Any] = {"sim_o": None, "sim_r": None, "own_voice": None}
        if item.prompt is None:
            return scores
        prompt = self._prompts[item.prompt]
        voice, failures["SIM"] = attempt(self.encoder.embed, samples)
        if voice is None:
            return scores
        if prompt.original is None:
            failures["SIM"] = prompt.failure
            return scores
        scores["sim_o"] = similarity(voice, prompt.original)
        scores["own_voice"] = max(self._voices, key=lambda name: similarity(voice, self._voices[name])) == item.speaker
        if prompt.trip is None:
            failures["SIM-r"] = prompt.failure
        else:
            scores["sim_r"] = similarity(voice, prompt.trip)
        return scores


def _about(task: _Task) -> dict[str, Any]:
    """The fields of a score that name the utterance and its sound file."""
    return {
        "id": task.item.id,
        "system": task.system,
        "speaker": task.item.speaker,
        "path": str(task.path),
        "start": task.start,
        "end": task.end,
        "text": task.item.text,
    }


def _read(source: _Task | Utterance, sample_rate: int | None = None) -> Audio:
    return audio.read(source.path, sample_rate, start=source.start, end=source.end)


def _resampled(sound: Audio) -> np.ndarray:
    return audio.resample(sound.samples, sound.sample_rate, SAMPLE_RATE)


def notes_of(items: Sequence[Item], scores: Sequence[Score]) -> list[str]:
    """What a report says was not scored: utterances without a prompt, and `failures_of` the scorers."""
    alone = sum(item.prompt is None for item in items)
    missing_prompts = []
    if alone:
        reason = f"no {PROMPTS} names another recording of the speaker as the prompt"
        missing_prompts = [f"SIM-o, SIM-r and own voice not scored for {alone} of {len(items)} utterances: {reason}"]
    return missing_prompts + failures_of(scores)


def failures_of(scores: Sequence[Score]) -> list[str]:
    """One line for each scorer, system and reason with which utterances could not be scored."""
    return failure_lines(
        (f"{what} of {NAMES[s.system]}", reason, s.id) for s in scores for what, reason in s.failures.items()
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
    are kept in `folder/codec`, and the scores go to `folder/scores.jsonl`. Utterances with failures are scored again.
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

    read = [(record["stamp"], Score(**record["score"])) for record in read_records(folder / SCORE_CACHE)]
    done = {stamp: judged for stamp, judged in read if not judged.failures}
    stamps = {task: task.stamp() for own in tasks.values() for task in own}
    waiting = [task for task, stamp in stamps.items() if stamp not in done]
    for batch in track([waiting[i : i + batch_size] for i in range(0, len(waiting), batch_size)], "scoring"):
        for task, judged in zip(batch, judge(batch), strict=True):
            append_line(folder / SCORE_CACHE, json.dumps({"stamp": stamps[task], "score": asdict(judged)}))
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
        (folder / SCORE_CACHE).unlink(missing_ok=True)
        shutil.rmtree(folder / "codec", ignore_errors=True)
    write_text(path, text)

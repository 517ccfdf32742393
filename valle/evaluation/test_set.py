"""Speaking a whole test set: a data directory, every utterance in its speaker's voice, or a test list."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from valle import audio
from valle.audio import Audio
from valle.data import kaldi
from valle.data.kaldi import Utterance
from valle.devices import MAX_SEED
from valle.errors import UserError
from valle.evaluation.test_list import read_test_list
from valle.files import append_line, atomic_path, file_in, write_text
from valle.models.sampling import NARSampling, Sampling
from valle.synthesis.pipeline import TTS, Speech
from valle.synthesis.prompt import MAX_PROMPT, MIN_PROMPT, VOICE_PROMPT, Prompt

PROMPTS = "prompts.scp"  # <utterance> <recording of its prompt>, or OWN
OWN = "-"  # of an utterance whose prompt is its own recording: similarity to that would say nothing
SPEECH = "speech.jsonl"  # a line a file: seconds, seconds of work a second (of its batch), whether it found no end
CODES = "codes"  # a folder of <file>.npy (time, codebook)
PROTOCOLS = ("closest", "reference", "continuation")


@dataclass(frozen=True)
class PromptChoice:
    """What gives an utterance its voice.

    utterance: whose recording is the prompt
    seconds:   the first so many of it; None: the whole
    text:      what it says; None when it is not given, "" when the utterance itself begins with it
    """

    utterance: Utterance
    seconds: float | None
    text: str | None

    def read(self) -> Audio:
        """The prompt's audio."""
        u = self.utterance
        sound = audio.read(u.path, start=u.start, end=u.end)
        if self.seconds is None:
            return sound
        return Audio(sound.samples[: round(self.seconds * sound.sample_rate)], sound.sample_rate)


def choose_prompts(
    utterances: list[Utterance], protocol: str = "closest", seconds: float | None = None
) -> dict[str, PromptChoice]:
    """A prompt for each utterance by one of the papers' protocols.

    closest:      another utterance of the speaker, the one whose length is closest to but not over `seconds` (3), or
                  the shortest where all are longer (VALL-E 2, section 4.1.3, VCTK)
    reference:    the speaker's utterance before it, the last one for the first (VALL-E 2, section 4.1.3, LibriSpeech);
                  with `seconds` so many of it, their text not given
    continuation: its own first `seconds` (3); what follows is synthesized (VALL-E, section 4.3)

    A speaker's only utterance is its own prompt: its first 3 seconds, their text not given.
    Raises UserError when an utterance is too short for its protocol.
    """
    if protocol == "continuation":
        return {u.id: _beginning(u, seconds or VOICE_PROMPT) for u in kaldi.with_durations(utterances)}
    by_speaker = defaultdict(list)
    for u in kaldi.with_durations(utterances):
        by_speaker[u.speaker].append(u)
    chosen = {}
    for group in by_speaker.values():
        for index, u in enumerate(group):
            others = [o for o in group if o.id != u.id and MIN_PROMPT <= (o.duration or 0) <= MAX_PROMPT]
            if not others:
                chosen[u.id] = PromptChoice(u, VOICE_PROMPT, None)
            elif protocol == "reference":
                before = group[index - 1]
                chosen[u.id] = PromptChoice(before, seconds, None if seconds else before.text)
            else:
                fitting = [o for o in others if (o.duration or 0) <= (seconds or VOICE_PROMPT)]
                if fitting:
                    other = max(fitting, key=lambda o: o.duration or 0)
                else:
                    other = min(others, key=lambda o: o.duration or 0)
                chosen[u.id] = PromptChoice(other, None, other.text)
    return chosen


def _beginning(u: Utterance, seconds: float) -> PromptChoice:
    if (u.duration or 0) <= seconds:
        raise UserError(
            f"utterance {u.id!r}: lasts {u.duration:.2f} s, so nothing is left to say after a prompt of {seconds} s; "
            "leave short ones out with valle-prepare subset"
        )
    return PromptChoice(u, seconds, "")


@dataclass(frozen=True)
class DirectoryOptions:
    """How a test set is spoken: see `choose_prompts` for protocol and seconds.

    voice_alone: no prompt's text is given
    limit:       so many utterances by a fixed stride over the set; None: all
    attempts:    draws of which the one that says the text best is kept; None: see `TTS.synthesize_batch`
    """

    protocol: str = "closest"
    prompt_seconds: float | None = None
    voice_alone: bool = False
    candidates: int = 1
    batch_size: int = 16
    max_batch_tokens: int | None = None
    limit: int | None = None
    attempts: int | None = None


@dataclass(frozen=True)
class Request:
    """A text to be said and what gives it its voice. The id names files."""

    id: str
    text: str
    prompt: PromptChoice


def requests(source: Path, protocol: str = "closest", prompt_seconds: float | None = None) -> list[Request]:
    """What a data directory, by a protocol of `choose_prompts`, or a test list asks for."""
    if source.is_file():
        return [
            Request(
                line.id,
                line.text,
                PromptChoice(
                    Utterance(line.id, line.prompt, line.prompt_text or "", line.speaker),
                    prompt_seconds,
                    None if prompt_seconds else line.prompt_text,
                ),
            )
            for line in read_test_list(source)
        ]
    utterances = kaldi.read(source)
    prompts = choose_prompts(utterances, protocol, prompt_seconds)
    return [Request(u.id, u.text, prompts[u.id]) for u in utterances]


def speak_all(
    tts: TTS,
    source: Path,
    output: Path,
    seed: int,
    sampling: Sampling,
    nar_sampling: NARSampling = NARSampling(),
    options: DirectoryOptions = DirectoryOptions(),
) -> int:
    """Write `output/<id>.wav` for each request of a data directory or test list that is not there yet, of several
    candidates `<id>-1.wav` and so on; beside them `codes/` (time, codebook), `prompts/`, prompts.scp and speech.jsonl.

    A continuation is written with its prompt before it, as the papers score it.
    Returns how many requests were spoken.
    """
    wanted = requests(source, options.protocol, options.prompt_seconds)
    if options.limit is not None and options.limit < len(wanted):
        wanted = [wanted[i * len(wanted) // options.limit] for i in range(options.limit)]
    folder = output / "prompts"
    recordings = {}
    for request in wanted:
        recordings[request.id] = file_in(folder, request.id, ".wav")
        if not recordings[request.id].is_file():
            request.prompt.read().save(recordings[request.id])
    # A continuation's prompt is its own recording, too, but that is what the papers score it by.
    own = {r.id for r in wanted if source.is_dir() and r.prompt.utterance.id == r.id and r.prompt.text != ""}
    lines = [f"{key} {OWN if key in own else path.resolve()}\n" for key, path in recordings.items()]
    write_text(output / PROMPTS, "".join(sorted(lines, key=str.encode)))

    files = {request.id: output_paths(output, request, options.candidates) for request in wanted}
    missing = [(i, r) for i, r in enumerate(wanted) if not all(path.is_file() for path in files[r.id])]
    with Progress() as progress:
        task = progress.add_task("synthesizing", total=len(missing))
        for start in range(0, len(missing), options.batch_size):
            batch = missing[start : start + options.batch_size]
            begin = time.perf_counter()
            voices = [_voice(tts, r.prompt, recordings[r.id], options.voice_alone) for _, r in batch]
            spoken = tts.synthesize_batch(
                [r.text for _, r in batch],
                voices,
                [(seed + options.candidates * i) % (MAX_SEED + 1) for i, _ in batch],
                sampling,
                options.candidates,
                nar_sampling,
                options.max_batch_tokens,
                options.attempts,
            )
            work = (time.perf_counter() - begin) / sum(speech.audio.duration for speech in spoken)
            if options.protocol == "continuation" and source.is_dir():
                spoken = _with_beginnings(tts, voices, spoken, options.candidates)
            for path, speech in zip([p for _, r in batch for p in files[r.id]], spoken, strict=True):
                _write(path, speech, work)
            progress.advance(task, len(batch))
    return len(missing)


def output_paths(output: Path, request: Request, candidates: int) -> list[Path]:
    """The audio file of each candidate of a request. Raises UserError for an id that would lead out of the folder."""
    endings = [".wav"] if candidates == 1 else [f"-{c + 1}.wav" for c in range(candidates)]
    return [file_in(output, request.id, ending) for ending in endings]


def _write(path: Path, speech: Speech, rtf: float) -> None:
    """Codes, a line in speech.jsonl, and last the audio, which says that all is there."""
    with atomic_path(path.parent / CODES / f"{path.stem}.npy") as temporary:
        np.save(temporary, speech.codes.numpy().astype(np.uint16))
    line = {"file": path.name, "seconds": speech.audio.duration, "rtf": rtf, "no_end": speech.truncated}
    append_line(path.parent / SPEECH, json.dumps(line))
    speech.audio.save(path)


def _voice(tts: TTS, choice: PromptChoice, recording: Path, voice_alone: bool) -> Prompt:
    if choice.text == "":
        return tts.beginning(recording)
    return tts.prompt(recording, None if voice_alone else choice.text)


def _with_beginnings(tts: TTS, voices: list[Prompt], spoken: list[Speech], candidates: int) -> list[Speech]:
    """Each continuation with its prompt before it, decoded as one."""
    prompts = [voice.codes for voice in voices for _ in range(candidates)]
    whole = [torch.cat((p[:, : s.codes.shape[1]], s.codes)) for p, s in zip(prompts, spoken, strict=True)]
    return [
        replace(s, audio=tts.spoken(samples), codes=codes)
        for s, codes, samples in zip(spoken, whole, tts.codec.decode_batch(whole), strict=True)
    ]


def read_prompts(output: Path) -> dict[str, Path | None]:
    """The prompt of each utterance, None where it is the utterance's own recording. Raises UserError when nothing was
    synthesized there."""
    path = output / PROMPTS
    if not path.is_file():
        raise UserError(f"{output}: holds no {PROMPTS}; synthesize with valle-synth --data first")
    pairs = [line.split(" ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    return {key: None if place == OWN else Path(place) for key, place in pairs}

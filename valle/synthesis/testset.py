"""Speaking a whole data directory: every utterance in its speaker's voice."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from rich.progress import Progress

from valle import audio
from valle.audio import Audio
from valle.data import kaldi
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.files import write_text
from valle.models.sampling import Sampling
from valle.synthesis.tts import MAX_PROMPT, MIN_PROMPT, TTS, VOICE_PROMPT

PROMPTS = "prompts.scp"  # <utterance> <recording of its prompt>


def choose_prompts(utterances: list[Utterance]) -> dict[str, Utterance]:
    """For each utterance, another one of the same speaker, as near to 3 seconds as there is.

    Where a speaker has one utterance only, it is its own prompt: its first 3 seconds, their text not given.
    """
    by_speaker = defaultdict(list)
    for u in kaldi.with_durations(utterances):
        by_speaker[u.speaker].append(u)
    chosen = {}
    for group in by_speaker.values():
        for u in group:
            others = [o for o in group if o.id != u.id and MIN_PROMPT <= (o.duration or 0) <= MAX_PROMPT]
            chosen[u.id] = min(others, key=lambda o: abs((o.duration or 0) - VOICE_PROMPT)) if others else u
    return chosen


def speak_directory(
    tts: TTS, directory: Path, output: Path, seed: int, sampling: Sampling, batch_size: int, limit: int | None = None
) -> int:
    """Write `output/<utterance>.wav` for each utterance that is not there yet, its prompts and prompts.scp.

    limit: the first so many utterances by a fixed stride over the directory; None: all
    Returns how many were spoken.
    """
    utterances = kaldi.read(directory)
    prompts = choose_prompts(utterances)
    if limit is not None and limit < len(utterances):
        utterances = [utterances[i * len(utterances) // limit] for i in range(limit)]
    folder = output / "prompts"
    recordings = {}
    for u in utterances:
        prompt = prompts[u.id]
        sound = audio.read(prompt.path, start=prompt.start, end=prompt.end)
        if prompt.id == u.id:
            sound = Audio(sound.samples[: round(VOICE_PROMPT * sound.sample_rate)], sound.sample_rate)
        recordings[u.id] = folder / f"{u.id}.wav"
        if not recordings[u.id].is_file():
            sound.save(recordings[u.id])
    lines = sorted((f"{key} {path.resolve()}\n" for key, path in recordings.items()), key=str.encode)
    write_text(output / PROMPTS, "".join(lines))
    missing = [(i, u) for i, u in enumerate(utterances) if not (output / f"{u.id}.wav").is_file()]
    with Progress() as progress:
        task = progress.add_task("synthesizing", total=len(missing))
        for start in range(0, len(missing), batch_size):
            batch = missing[start : start + batch_size]
            voices = [
                tts.prompt(recordings[u.id], prompts[u.id].text if prompts[u.id].id != u.id else None) for _, u in batch
            ]
            texts, seeds = [u.text for _, u in batch], [seed + i for i, _ in batch]
            for (_, u), speech in zip(batch, tts.synthesize_batch(texts, voices, seeds, sampling), strict=True):
                speech.audio.save(output / f"{u.id}.wav")
            progress.advance(task, len(batch))
    return len(missing)


def read_prompts(output: Path) -> dict[str, Path]:
    """The prompt of each utterance. Raises UserError when nothing was synthesized there."""
    path = output / PROMPTS
    if not path.is_file():
        raise UserError(f"{output}: holds no {PROMPTS}; synthesize with valle-synth --data first")
    return {key: Path(place) for key, _, place in (line.partition(" ") for line in path.read_text().splitlines())}

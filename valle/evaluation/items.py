"""Utterances to be scored, and the audio files of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valle.data import kaldi
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.evaluation.test_list import read_test_list
from valle.evaluation.test_set import PROMPTS, read_prompts


@dataclass(frozen=True)
class ScoringItem:
    """An utterance of the test set.

    Attributes:
        id: Utterance id.
        speaker: Speaker of the prompt.
        text: Words of the scored audio; None where they are not available.
        prompt: Audio file of the prompt; None where it is not available.
        reference: Recording of the text by a person; None where there is none.
        synthesized: Audio files of the synthesized candidates.
        prompt_text: Transcript of the prompt; None where it is not available.
        offset: Seconds at the beginning of recording and codec resynthesis that are not scored.
        synthesized_offset: Seconds at the beginning of the synthesized files that are not scored.
    """

    id: str
    speaker: str
    text: str | None
    prompt: Path | None
    reference: Utterance | None
    synthesized: tuple[Path, ...]
    prompt_text: str | None = None
    offset: float = 0.0
    synthesized_offset: float = 0.0

    def candidates(self, selection: str) -> tuple[Path, ...]:
        """Return the synthesized audio files that a selection (`valle.evaluation.selection.SELECTIONS`) needs."""
        # The first candidate needs no scores of the others.
        return self.synthesized if selection != "first" else self.synthesized[:1]


@dataclass(frozen=True)
class ScoringTask:
    """An audio file to be scored.

    Attributes:
        item: Utterance that it is a rendering of.
        system: Where it comes from, one of `valle.evaluation.score.SYSTEMS`.
        path: Audio file.
        start: Start of the scored part of the file, in seconds.
        end: End of the scored part of the file, in seconds; None: the end of the file.
        transcript: Transcript by an outside recognizer; None: there is none.
    """

    item: ScoringItem
    system: str
    path: Path
    start: float = 0.0
    end: float | None = None
    transcript: str | None = None

    def cache_key(self) -> str:
        """Return a string that changes whenever one of the files or texts changes that the score depends on."""
        prompt = [] if self.item.prompt is None else file_state(self.item.prompt)
        target = [self.item.id, self.item.text, self.item.speaker, *prompt]
        transcript = [] if self.transcript is None else [self.transcript]
        return json.dumps([self.system, *target, self.start, self.end, *file_state(self.path), *transcript])


def file_state(path: Path) -> list[Any]:
    """Return path, modification time in ns and size of a file; None for the latter two where it does not exist."""
    if not path.exists():
        return [str(path), None, None]
    # Size and modification time are read much faster than the content, which a hash would need.
    stat = path.stat()
    return [str(path), stat.st_mtime_ns, stat.st_size]


def read_items(source: Path, folder: Path) -> list[ScoringItem]:
    """Read a test set and find the synthesized audio files of its utterances.

    All utterances of a test list are scored. Of a data directory, those are scored that have a prompt in
    `folder/prompts.scp`; without that file all are, without similarity to a prompt.

    Args:
        source: Data directory or test list.
        folder: Folder with `<id>.wav`, or `<id>-1.wav`, `<id>-2.wav`, ... for several candidates.

    Raises:
        UserError: An audio file is missing, or no utterance has a prompt.
    """
    items = _read_list(source, folder) if source.is_file() else _read_directory(source, folder)
    missing = [item.id for item in items if not item.synthesized]
    if missing:
        raise UserError(
            f"{folder / missing[0]}.wav: does not exist ({len(missing)} of {len(items)} files are missing); "
            "synthesize the test set first"
        )
    return items


def _read_list(source: Path, folder: Path) -> list[ScoringItem]:
    """Read the items of a test list."""
    items = []
    for line in read_test_list(source):
        reference = Utterance(line.id, line.reference, line.text, line.speaker) if line.reference else None
        item = ScoringItem(
            id=line.id,
            speaker=line.speaker,
            text=line.text,
            prompt=line.prompt,
            reference=reference,
            synthesized=_find_candidates(folder, line.id),
            prompt_text=line.prompt_text,
        )
        items.append(item)
    return items


def _read_directory(source: Path, folder: Path) -> list[ScoringItem]:
    """Read the items of a data directory."""
    utterances = kaldi.read(source)
    prompts: dict[str, Path | None] = dict.fromkeys(u.id for u in utterances)
    if (folder / PROMPTS).is_file():
        # Only a part of the data directory may have been synthesized: it is the part with prompts.
        prompts = dict(read_prompts(folder))
    items = [
        ScoringItem(
            id=u.id,
            speaker=u.speaker,
            text=u.text,
            prompt=prompts[u.id],
            reference=u,
            synthesized=_find_candidates(folder, u.id),
        )
        for u in utterances
        if u.id in prompts
    ]
    if not items:
        raise UserError(f"{folder / PROMPTS}: names no utterance of {source}; give the folder synthesized from it")
    return items


def _find_candidates(folder: Path, key: str) -> tuple[Path, ...]:
    """Return `<key>.wav` where it exists, else `<key>-1.wav`, `<key>-2.wav`, ... up to the first missing number."""
    single = folder / f"{key}.wav"
    if single.is_file():
        return (single,)
    candidates: list[Path] = []
    while (path := folder / f"{key}-{len(candidates) + 1}.wav").is_file():
        candidates.append(path)
    return tuple(candidates)

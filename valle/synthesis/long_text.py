"""Synthesize a long text to a file: part by part, in bounded memory, and resumable.

The parts are saved in a folder beside the output, which is removed when the output is complete. A run that was killed
continues there and gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from valle import audio
from valle.audio import AudioWriter
from valle.errors import UserError
from valle.files import write_text
from valle.synthesis.options import SynthesisOptions
from valle.synthesis.pipeline import TTS
from valle.synthesis.planning import TextPart
from valle.synthesis.prompt import Prompt
from valle.synthesis.speech import Speech
from valle.synthesis.timing import TimedWord

SETTINGS = "settings.json"


@dataclass(frozen=True)
class SavedPart:
    """A part of a text that was synthesized.

    Attributes:
        recording: Its audio, with the pause after it.
        seconds: Its duration.
        words: When its words are spoken; None where the model does not tell.
        marks: Name and second of each of its marks; None where the model does not tell.
        warnings: Where it falls short of its text.
        chapter: Title of the chapter that begins with it; None: none begins.
    """

    recording: Path
    seconds: float
    words: list[TimedWord] | None
    marks: list[tuple[str, float]] | None
    warnings: list[str]
    chapter: str | None


class LongText:
    """A text that is synthesized to a file.

    Args:
        folder: Folder of the parts.
        tts: The models.
        parts: Parts of the text, see `TTS.plan`.
        prompt: The voice.
        seed: Of the text.
        options: How it is synthesized.

    Raises:
        UserError: The folder holds the parts of another text, or of other settings.
    """

    def __init__(
        self,
        folder: Path,
        tts: TTS,
        parts: Sequence[TextPart],
        prompt: Prompt,
        seed: int,
        options: SynthesisOptions,
    ) -> None:
        self.folder = folder
        self.tts = tts
        self.parts = parts
        self.prompt = prompt
        self.seed = seed
        self.options = options
        settings = json.dumps({"fingerprint": self._fingerprint()}) + "\n"
        path = folder / SETTINGS
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_text(path, settings)
        elif path.read_text(encoding="utf-8") != settings:
            raise UserError(
                f"{folder}: holds parts of another text, voice, seed or model; remove the folder, or give what they "
                "were made with"
            )

    def _fingerprint(self) -> str:
        """Return a hash of all that the speech depends on."""
        digest = hashlib.sha256()
        weights = hashlib.sha256()
        for model in (self.tts.ar, self.tts.nar):
            for parameter in model.parameters():
                # The sum of each tensor tells models apart without hashing all weights.
                weights.update(parameter.detach().double().sum().cpu().numpy().tobytes())
        digest.update(weights.digest())
        digest.update(self.prompt.codes.numpy().tobytes())
        described = [
            version("valle"),
            self.seed,
            self.options,
            self.prompt.symbols,
            self.prompt.mode,
            self.tts.watermark,
        ]
        digest.update(repr([*described, *self.parts]).encode())
        return digest.hexdigest()

    def num_saved(self) -> int:
        """Return how many parts are saved, from the first on."""
        return next((n for n in range(len(self.parts)) if not self._description(n).is_file()), len(self.parts))

    def synthesize(self) -> Iterator[SavedPart]:
        """Synthesize the parts that are not saved yet.

        Yields:
            Each part when it is saved.
        """
        first = self.num_saved()
        results = self.tts.synthesize_long(
            self.parts, self.prompt, seed=self.seed, options=self.options, first_part=first
        )
        for number, speech in enumerate(results, first):
            self._save(number, speech)
            yield self.read(number)

    def _recording(self, number: int) -> Path:
        return self.folder / f"{number:06}.wav"

    def _description(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"

    def _save(self, number: int, speech: Speech) -> None:
        """Save audio first: the description says that a part is complete."""
        speech.audio.save(self._recording(number))
        description = {
            "seconds": speech.audio.duration,
            "words": None if speech.words is None else [asdict(word) for word in speech.words],
            "marks": speech.marks,
            "warnings": speech.warnings,
            "chapter": speech.chapter,
        }
        write_text(self._description(number), json.dumps(description, ensure_ascii=False) + "\n")

    def read(self, number: int) -> SavedPart:
        """Return a saved part."""
        description = json.loads(self._description(number).read_text(encoding="utf-8"))
        words = description["words"]
        return SavedPart(
            recording=self._recording(number),
            seconds=description["seconds"],
            words=None if words is None else [TimedWord(**word) for word in words],
            marks=None if description["marks"] is None else [(name, at) for name, at in description["marks"]],
            warnings=description["warnings"],
            chapter=description["chapter"],
        )

    def saved(self) -> Iterator[SavedPart]:
        """Yield all saved parts in order."""
        return (self.read(number) for number in range(self.num_saved()))

    def remove(self) -> None:
        """Remove the folder of the parts."""
        shutil.rmtree(self.folder)


@dataclass(frozen=True)
class WrittenAudio:
    """An audio file that was written.

    Attributes:
        path: The file.
        seconds: Its duration.
        words: When its words are spoken; None where the model does not tell.
        chapters: Title and second of each chapter.
    """

    path: Path
    seconds: float
    words: list[TimedWord] | None
    chapters: list[tuple[str, float]]


def write_parts(path: Path, parts: Iterator[SavedPart] | Sequence[SavedPart], sample_rate: int) -> WrittenAudio:
    """Write saved parts to one file, part by part.

    Args:
        path: Audio file; chapters are marked in .m4b and .m4a.
        parts: The parts.
        sample_rate: Hertz.
    """
    words: list[TimedWord] | None = []
    chapters: list[tuple[str, float]] = []
    seconds = 0.0
    with AudioWriter(path, sample_rate) as writer:
        for part in parts:
            if part.chapter is not None:
                chapters.append((part.chapter, seconds))
            if words is not None:
                words = None if part.words is None else words + [word.shifted(seconds) for word in part.words]
            samples = audio.read(part.recording).samples if part.seconds else np.zeros(0, np.float32)
            writer.write(samples)
            seconds += part.seconds
        writer.chapters = chapters
    return WrittenAudio(path, seconds, words, chapters)


def split_chapters(parts: Iterator[SavedPart]) -> Iterator[list[SavedPart]]:
    """Yield the parts of each chapter; what stands before the first one is a chapter too."""
    chapter: list[SavedPart] = []
    for part in parts:
        if part.chapter is not None and chapter:
            yield chapter
            chapter = []
        chapter.append(part)
    if chapter:
        yield chapter

"""Test sets: which texts are synthesized with which prompts, and where the results are saved.

A test set is a data directory, whose utterances get prompts by one of the papers' protocols, or a test list, which
names its prompts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valle import audio
from valle.audio import Audio
from valle.data import kaldi
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.evaluation.test_list import read_test_list
from valle.files import file_in, read_records, write_text

# Seconds: bounds of a prompt, and how much of it is used where its text is not given.
MIN_PROMPT = 0.5
MAX_PROMPT = 30.0
VOICE_PROMPT = 3.0

PROMPTS = "prompts.scp"  # <utterance> <recording of its prompt>, or OWN
OWN = "-"  # the utterance's prompt is its own recording: similarity to that would say nothing
SPEECH = "speech.jsonl"  # a JSON object per file: duration, real-time factor of its batch, whether it was truncated
PROMPT_SECONDS = "prompt_seconds"  # key in it: duration of the prompt with which a continuation begins
CODES = "codes"  # a folder of <file>.npy (time, codebook)
PROTOCOLS = ("closest", "reference", "continuation")


@dataclass(frozen=True)
class PromptChoice:
    """The recording that an utterance is conditioned on.

    Attributes:
        utterance: Utterance whose recording is the prompt.
        seconds: The first seconds of it that are used; None: all of it.
        text: What it says; None when the text is not given, "" when the target's text begins with it.
        language: espeak-ng language tag of the recording; None where the test set does not give it.
    """

    utterance: Utterance
    seconds: float | None
    text: str | None
    language: str | None = None

    def read(self) -> Audio:
        """Read the prompt's audio."""
        source = self.utterance
        recording = audio.read(source.path, start=source.start, end=source.end)
        if self.seconds is None:
            return recording
        return Audio(recording.samples[: round(self.seconds * recording.sample_rate)], recording.sample_rate)


@dataclass(frozen=True)
class TestItem:
    """A text to synthesize, and its prompt.

    Attributes:
        id: Names the files of the result.
        text: What to synthesize.
        prompt: What it is conditioned on.
        language: espeak-ng language tag of the text; None where the test set does not give it.
    """

    __test__ = False  # not a test class of pytest

    id: str
    text: str
    prompt: PromptChoice
    language: str | None = None


def choose_prompts(
    utterances: list[Utterance], protocol: str = "closest", seconds: float | None = None
) -> dict[str, PromptChoice]:
    """Choose a prompt for each utterance by one of the papers' protocols.

    A speaker's only utterance is its own prompt: its first 3 seconds, without text.

    Args:
        utterances: The test set.
        protocol: "closest", another utterance of the speaker, the one whose duration is closest to but not over
            `seconds` (3), or the shortest where all are longer (VALL-E 2, section 4.1.3, VCTK). "reference", the
            speaker's utterance before it, the last one for the first (VALL-E 2, section 4.1.3, LibriSpeech); with
            `seconds`, the first seconds of it, without text. "continuation", its own first `seconds` (3), after which
            synthesis continues (VALL-E, section 4.3).
        seconds: See `protocol`.

    Returns:
        The prompt of each utterance, by its id.

    Raises:
        UserError: An utterance is too short for its protocol.
    """
    with_durations = kaldi.with_durations(utterances)
    if protocol == "continuation":
        return {u.id: _own_prefix(u, seconds or VOICE_PROMPT) for u in with_durations}
    by_speaker = defaultdict(list)
    for utterance in with_durations:
        by_speaker[utterance.speaker].append(utterance)
    chosen = {}
    for group in by_speaker.values():
        for index, utterance in enumerate(group):
            others = [o for o in group if o.id != utterance.id and MIN_PROMPT <= _duration(o) <= MAX_PROMPT]
            if not others:
                chosen[utterance.id] = PromptChoice(utterance, VOICE_PROMPT, None)
            elif protocol == "reference":
                # Index -1 of the first utterance is the speaker's last one.
                before = group[index - 1]
                chosen[utterance.id] = PromptChoice(before, seconds, None if seconds else before.text)
            else:
                closest = _closest(others, seconds or VOICE_PROMPT)
                chosen[utterance.id] = PromptChoice(closest, None, closest.text)
    return chosen


def _closest(utterances: list[Utterance], seconds: float) -> Utterance:
    """The longest utterance of at most `seconds`, or the shortest of all."""
    short_enough = [u for u in utterances if _duration(u) <= seconds]
    return max(short_enough, key=_duration) if short_enough else min(utterances, key=_duration)


def _duration(utterance: Utterance) -> float:
    return utterance.duration or 0.0


def _own_prefix(utterance: Utterance, seconds: float) -> PromptChoice:
    if _duration(utterance) <= seconds:
        raise UserError(
            f"utterance {utterance.id!r}: lasts {_duration(utterance):.2f} s, so nothing is left to synthesize after a "
            f"prompt of {seconds} s; leave short ones out with valle-prepare subset"
        )
    return PromptChoice(utterance, seconds, "")


def read_test_set(
    source: Path, protocol: str = "closest", prompt_seconds: float | None = None, limit: int | None = None
) -> list[TestItem]:
    """Read a test set.

    Args:
        source: Data directory, or test list (`valle.evaluation.test_list`).
        protocol: See `choose_prompts`; of a data directory.
        prompt_seconds: See `choose_prompts`; of a test list, the first seconds of each prompt, without text.
        limit: Number of utterances, evenly spread over the set; None: all.
    """
    if source.is_file():
        items = []
        for line in read_test_list(source):
            utterance = Utterance(line.id, line.prompt, line.prompt_text or "", line.speaker)
            text = None if prompt_seconds else line.prompt_text
            prompt = PromptChoice(utterance, prompt_seconds, text, line.prompt_language)
            items.append(TestItem(line.id, line.text, prompt, line.language))
    else:
        utterances = kaldi.read(source)
        prompts = choose_prompts(utterances, protocol, prompt_seconds)
        items = [TestItem(u.id, u.text, prompts[u.id]) for u in utterances]
    if limit is None or limit >= len(items):
        return items
    return [items[index * len(items) // limit] for index in range(limit)]


def output_paths(output: Path, item: TestItem, candidates: int) -> list[Path]:
    """Return the audio file of each candidate of an item.

    Raises:
        UserError: The id would lead out of the folder.
    """
    endings = [".wav"] if candidates == 1 else [f"-{number + 1}.wav" for number in range(candidates)]
    return [file_in(output, item.id, ending) for ending in endings]


def write_prompts(output: Path, items: Sequence[TestItem], *, own: bool) -> dict[str, Path]:
    """Write the prompts of a test set to `output/prompts` and list them in prompts.scp.

    Args:
        output: Folder of the results.
        items: The test set.
        own: Whether a prompt can be the recording of the item itself, as in a data directory.

    Returns:
        The file of each item's prompt.
    """
    folder = output / "prompts"
    recordings = {}
    for item in items:
        path = file_in(folder, item.id, ".wav")
        recordings[item.id] = path
        if not path.is_file():
            item.prompt.read().save(path)
    # The papers score a continuation by its prompt, although that is its own recording.
    own_prompts = {i.id for i in items if own and i.prompt.utterance.id == i.id and i.prompt.text != ""}
    lines = [f"{key} {OWN if key in own_prompts else path.resolve()}\n" for key, path in recordings.items()]
    write_text(output / PROMPTS, "".join(sorted(lines, key=str.encode)))
    return recordings


def read_prompts(output: Path) -> dict[str, Path | None]:
    """Return the prompt of each utterance, None where it is the utterance's own recording.

    Raises:
        UserError: Nothing was synthesized to `output`.
    """
    path = output / PROMPTS
    if not path.is_file():
        raise UserError(f"{output}: holds no {PROMPTS}; synthesize with valle-synth --data first")
    pairs = [line.split(" ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    return {key: None if prompt == OWN else Path(prompt) for key, prompt in pairs}


def read_synthesis_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what valle-synth recorded of the audio files in a folder, by file name; empty for another system."""
    return {record["file"]: record for record in read_records(folder / SPEECH)}

"""Synthesize a whole test set: a data directory, each utterance in its speaker's voice, or a test list."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from valle import audio
from valle.data import kaldi
from valle.data.kaldi import Utterance
from valle.data.phoneme_timing import symbol_starts
from valle.devices import MAX_SEED
from valle.evaluation.samples import SAMPLES, Sample
from valle.evaluation.test_set import (
    CODES,
    PROMPT_SECONDS,
    SPEECH,
    PromptChoice,
    TestItem,
    output_paths,
    read_test_set,
    write_prompts,
)
from valle.files import append_line, atomic_path
from valle.optional import require
from valle.synthesis.options import SynthesisOptions
from valle.synthesis.pipeline import TTS
from valle.synthesis.prompt import Prompt
from valle.synthesis.selection import SampledSequence
from valle.synthesis.speech import Speech
from valle.text.encoded import EncodedText

Progress = require("rich.progress", "train").Progress


@dataclass(frozen=True, kw_only=True)
class TestSetOptions:
    """How a test set is synthesized.

    Attributes:
        protocol: See `valle.evaluation.test_set.choose_prompts`.
        prompt_seconds: See `valle.evaluation.test_set.choose_prompts`.
        voice_alone: Whether prompts are untranscribed, although their text is available.
        true_first_codes: Whether the first codebook is that of the utterance's recording, so that only the NAR model
            synthesizes (VALL-E, table 4). For data directories.
        batch_size: Texts synthesized together.
        limit: Number of utterances, evenly spread over the set; None: all.
        seed: Of the first utterance; each of the next has a seed of its own.
        language: espeak-ng language tag of the texts where the test set does not give it; None: the model's default.
        prompt_language: The same of the prompts; None: that of the texts.
        synthesis: How each text is synthesized.
        save_samples: Whether samples.jsonl is written, for `valle-prepare preferences`.
    """

    __test__ = False  # not a test class of pytest

    protocol: str = "closest"
    prompt_seconds: float | None = None
    voice_alone: bool = False
    true_first_codes: bool = False
    batch_size: int = 16
    limit: int | None = None
    seed: int = 0
    language: str | None = None
    prompt_language: str | None = None
    synthesis: SynthesisOptions = field(default_factory=SynthesisOptions)
    save_samples: bool = False


def synthesize_test_set(tts: TTS, source: Path, output: Path, options: TestSetOptions) -> int:
    """Synthesize the items of a test set that have no audio yet.

    Writes `output/<id>.wav`, of several candidates `<id>-1.wav` and so on; beside them `codes/` (time, codebook),
    `prompts/`, prompts.scp and speech.jsonl; with `save_samples` also samples.jsonl, without the texts that are split
    into parts. A continuation is written with its prompt before it, as the papers score it.

    Args:
        tts: The model.
        source: Data directory or test list.
        output: Folder of the results.
        options: How it is synthesized.

    Returns:
        How many items were synthesized.
    """
    candidates = options.synthesis.candidates
    items = read_test_set(source, options.protocol, options.prompt_seconds, options.limit)
    for item in items:
        tts.check_language(item.language or options.language)
        tts.check_language(_prompt_language(item, options))
    recordings = write_prompts(output, items, own=source.is_dir())
    files = {item.id: output_paths(output, item, candidates) for item in items}
    missing = [(index, item) for index, item in enumerate(items) if not all(path.is_file() for path in files[item.id])]
    utterances = {utterance.id: utterance for utterance in kaldi.read(source)} if options.true_first_codes else {}
    continues = options.protocol == "continuation" and source.is_dir()
    with Progress() as progress:
        task = progress.add_task("synthesizing", total=len(missing))
        for start in range(0, len(missing), options.batch_size):
            batch = missing[start : start + options.batch_size]
            begin = time.perf_counter()
            texts = [tts.encode_text(item.text, language=item.language or options.language) for _, item in batch]
            prompts = [
                read_prompt(tts, i.prompt, recordings[i.id], options.voice_alone, _prompt_language(i, options))
                for _, i in batch
            ]
            # A seed by the item's position, so that a stopped run continues with the same ones.
            seeds = [(options.seed + candidates * index) % (MAX_SEED + 1) for index, _ in batch]
            first = [encode_recording(tts, utterances[i.id])[:, 0] for _, i in batch] if utterances else None
            results = tts.synthesize_batch(texts, prompts, seeds, options.synthesis, first)
            real_time_factor = (time.perf_counter() - begin) / sum(speech.audio.duration for speech in results)
            lengths: list[float | None] = [None] * len(results)
            if continues:
                lengths = [len(prompt.codes) / tts.codec.frame_rate for prompt in prompts for _ in range(candidates)]
                results = with_prompts(tts, prompts, results, candidates)
            paths = [path for _, item in batch for path in files[item.id]]
            for path, speech, prompt_seconds in zip(paths, results, lengths, strict=True):
                if options.save_samples and speech.sampled is not None:
                    append_line(output / SAMPLES, _sample_line(path, speech, speech.sampled, tts))
                write_speech(path, speech, real_time_factor, prompt_seconds)
            progress.advance(task, len(batch))
    return len(missing)


def _sample_line(path: Path, speech: Speech, sampled: SampledSequence, tts: TTS) -> str:
    """Return the line in samples.jsonl of an audio file."""
    sample = Sample(
        file=path.name,
        phonemes=[tts.vocabulary.symbols[index] for index in sampled.phonemes.tolist()],
        prefix=sampled.prefix.tolist(),
        codes=sampled.codes.tolist(),
        truncated=speech.truncated,
    )
    return json.dumps(asdict(sample), ensure_ascii=False)


def read_prompt(
    tts: TTS, choice: PromptChoice, recording: Path, voice_alone: bool, language: str | None = None
) -> Prompt:
    """Read the prompt of an item from its recording."""
    if choice.text == "":
        return tts.continuation_prompt(recording)
    if voice_alone:
        return tts.prompt(recording, language=language)
    text = text_of_segment(tts, choice, language) if choice.text is None else choice.text
    return tts.prompt(recording, text, language)


def _prompt_language(item: TestItem, options: TestSetOptions) -> str | None:
    """The language of an item's prompt; None: the model's default."""
    return item.prompt.language or options.prompt_language or item.language or options.language


def text_of_segment(tts: TTS, choice: PromptChoice, language: str | None = None) -> EncodedText | None:
    """Return the text of the first seconds of an utterance that are a prompt; None where no alignment tells it."""
    utterance = choice.utterance
    if choice.seconds is None or not utterance.phones or tts.units.bpe is not None:
        return None
    text = tts.encode_text(utterance.text, language=language)
    starts = symbol_starts(list(text.symbols), utterance.phones)
    count = sum(start < choice.seconds for start in starts)
    return replace(text, symbols=text.symbols[:count], ids=text.ids[:count]) if count else None


def encode_recording(tts: TTS, utterance: Utterance) -> Tensor:
    """Encode the recording of an utterance: (time, codebook)."""
    recording = audio.read(utterance.path, start=utterance.start, end=utterance.end)
    return tts.codec.encode(recording.samples, recording.sample_rate)


def with_prompts(tts: TTS, prompts: Sequence[Prompt], results: Sequence[Speech], candidates: int) -> list[Speech]:
    """Put its prompt before each continuation; both are decoded as one."""
    before = [prompt.codes for prompt in prompts for _ in range(candidates)]
    codes = [torch.cat((p[:, : s.codes.shape[1]], s.codes)) for p, s in zip(before, results, strict=True)]
    waveforms = tts.codec.decode_batch(codes)
    return [
        replace(speech, audio=tts.watermarked(samples), codes=whole)
        for speech, whole, samples in zip(results, codes, waveforms, strict=True)
    ]


def write_speech(path: Path, speech: Speech, real_time_factor: float, prompt_seconds: float | None = None) -> None:
    """Write codes, a line in speech.jsonl, and last the audio, whose presence says that all is complete.

    Args:
        path: Audio file.
        speech: Its contents.
        real_time_factor: Synthesis time per second of speech.
        prompt_seconds: Duration of the prompt with which a continuation begins; None: it is no continuation.
    """
    with atomic_path(path.parent / CODES / f"{path.stem}.npy") as temporary:
        np.save(temporary, speech.codes.numpy().astype(np.uint16))
    duration = speech.audio.duration
    line = {"file": path.name, "seconds": duration, "rtf": real_time_factor, "no_end": speech.truncated}
    if prompt_seconds is not None:
        line[PROMPT_SECONDS] = prompt_seconds
    append_line(path.parent / SPEECH, json.dumps(line))
    speech.audio.save(path)

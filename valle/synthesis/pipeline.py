"""Text and a voice prompt in, audio out: the AR model, the NAR model and the codec one after the other.

Over 300 lines, since it documents the public interface.
"""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from valle.audio import Audio
from valle.codec import Codec
from valle.codec.phone_labelled import PhoneLabelledCodec
from valle.devices import check_seed
from valle.errors import UserError
from valle.extensions.phoneme_stream import PhonemeStreamAR
from valle.generation.engine import Engine, LocalEngine
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.synthesis.assembly import Assembler, join_speech
from valle.synthesis.decoding import DecodedPart, PartDecoder
from valle.synthesis.jobs import Text, make_job, text_parts, whole_job
from valle.synthesis.option_checks import check_options
from valle.synthesis.options import SynthesisOptions
from valle.synthesis.parts import PartJob, pause_seconds, silence
from valle.synthesis.planning import Planner, TextPart
from valle.synthesis.prompt import Prompt, PromptMode, PromptWarning, read_prefix, read_prompt
from valle.synthesis.prompt_text import warn_if_text_differs
from valle.synthesis.saved_voices import (
    SavedVoice,
    codec_fingerprint,
    new_voice,
    read_recording,
    read_voice,
    saved_names,
    voice_path,
    write_voice,
)
from valle.synthesis.selection import CandidateSelector, FirstCandidate, PhoneAlignmentSelector
from valle.synthesis.speech import Speech, SpeechChunk
from valle.synthesis.streaming import CHUNK
from valle.synthesis.voices import DEFAULT as DEFAULT_VOICE
from valle.synthesis.voices import find_voice, voices
from valle.text import TextUnits, Vocabulary
from valle.text.encoded import EncodedText
from valle.text.encoding import TextEncoder
from valle.text.lexicon import Lexicon
from valle.text.script import Sentence

ATTEMPTS = 5  # candidates of which the best is selected, where codes stand for phones: docs/experiments.md
PARTS_AT_ONCE = 16  # parts of long texts that are decoded together, at least


@dataclass
class TTS:
    """AR and NAR models with the codec and the vocabulary they were trained with; made by `valle.load`.

    Attributes:
        ar: Autoregressive model.
        nar: Non-autoregressive model.
        nar_prompt_frames: Longest acoustic prompt that the NAR model was trained with.
        codec: Codec whose codes the models predict.
        vocabulary: Symbols of the models' text.
        units: Makes symbols of text.
        languages: espeak-ng language tags of the languages that the models were trained on.
        watermark: Whether audio carries the inaudible mark that says it was synthesized.
        untranscribed_prompts: Whether the AR model was trained with untranscribed prompts; in the papers it is not.
        guided_attention: Whether the AR model was trained with guided attention (`valle.extensions.guided_attention`).
        text_dropout: Whether the AR model was trained with dropped texts (`valle.extensions.guidance`).
        nar_text_dropout: Whether the NAR model was.
        lexicon: Pronunciations by the user that replace those of espeak-ng (`valle.text.lexicon`).
        engine: Decodes the first codebook, for several threads together (`valle.generation.continuous`); None: each
            call by itself.
    """

    ar: AR
    nar: NAR
    nar_prompt_frames: int
    codec: Codec
    vocabulary: Vocabulary
    units: TextUnits
    watermark: bool = True
    untranscribed_prompts: bool = True
    guided_attention: bool = False
    languages: tuple[str, ...] = ()
    text_dropout: bool = False
    nar_text_dropout: bool = False
    lexicon: Lexicon | None = None
    engine: Engine | None = None

    def prompt(
        self, recording: str | Path, text: str | EncodedText | None = None, language: str | None = None
    ) -> Prompt:
        """Read a voice prompt; `valle.synthesis.prompt.read_prompt` tells what is corrected.

        Args:
            recording: 0.5 to 30 seconds with `text`, up to 5 minutes without.
            text: What the recording says. None: its best 3 seconds condition on the voice alone.
            language: espeak-ng language tag of the recording and its text. None: the language of the text that is
                synthesized; of `text`, the model's default.

        Raises:
            UserError: The recording is too short, too long, silent or not a recording, the text cannot be spoken, or
                the model does not have the language.

        Warns:
            PromptWarning: The recording is poor, or does not say the text.
        """
        if language is not None:
            self.check_language(language)
        if text is None:
            audio = read_prompt(recording, self.codec.sample_rate, with_text=False)
            return Prompt(self.codec.encode(audio.samples, audio.sample_rate), language=language)
        try:
            encoded = self.encode_text(text, language=language) if isinstance(text, str) else text
        except UserError as error:
            raise UserError(f"the prompt's text (what the recording says): {error}") from error
        audio = read_prompt(recording, self.codec.sample_rate, with_text=True)
        prompt = Prompt(
            codes=self.codec.encode(audio.samples, audio.sample_rate),
            symbols=encoded.symbols,
            mode="transcribed",
            language=encoded.language,
        )
        warn_if_text_differs(recording, audio, prompt, self.codec, self.units)
        return prompt

    def voice(self, name: str = DEFAULT_VOICE) -> Prompt:
        """Return a voice by its name, as an untranscribed prompt where the model was trained with such prompts.

        Word errors are then fewer than with the voice's text.

        Args:
            name: Of a bundled voice, or of one that was saved with `valle-voice add` or `save_voice`.

        Raises:
            UserError: There is no voice of that name.
        """
        if name in saved_names():
            return self._saved_prompt(read_voice(voice_path(name), name))
        voice = find_voice(name)
        # A model of another language reads the voice's text in its own.
        language = voice.language if voice.language in self.languages else None
        return self.prompt(voice.recording, None if self.untranscribed_prompts else voice.text, language)

    def _saved_prompt(self, voice: SavedVoice) -> Prompt:
        mode: PromptMode = "untranscribed" if self.untranscribed_prompts or not voice.text else "transcribed"
        if mode in voice.codes and voice.codec == codec_fingerprint(self.codec):
            symbols = self.encode_text(voice.text, language=voice.language).symbols if mode == "transcribed" else ()
            return Prompt(voice.codes[mode], symbols, mode, voice.language)
        with voice.as_file() as recording:
            return self.prompt(recording, voice.text if mode == "transcribed" else None, voice.language)

    def save_voice(
        self,
        name: str,
        recording: str | Path,
        text: str | None = None,
        language: str | None = None,
        consent: str = "",
        *,
        replace: bool = False,
    ) -> SavedVoice:
        """Save a voice, which `voice` then finds.

        Args:
            name: Its name.
            recording: 0.5 to 30 seconds of one person speaking.
            text: What the recording says.
            language: espeak-ng language tag of the recording; None: that of the text that is synthesized.
            consent: Note about the speaker's consent.
            replace: Whether a saved voice of that name is replaced.

        Returns:
            The voice; `problems` tells what is wrong with the recording.

        Raises:
            UserError: The recording cannot be used, or the name is none or taken.
        """
        path = voice_path(name)
        if name in voices():
            raise UserError(f"voice {name!r} is bundled; give the new voice another name")
        if path.exists() and not replace:
            raise UserError(f"voice {name!r} is saved already; give another name, or replace it (--replace)")
        audio_file = read_recording(recording)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", PromptWarning)
            prompts = {"untranscribed": self.prompt(recording, None, language)}
            if text:
                prompts["transcribed"] = self.prompt(recording, text, language)
        messages = [str(w.message) for w in caught if issubclass(w.category, PromptWarning)]
        problems = list(dict.fromkeys(message.removeprefix(f"{recording}: ") for message in messages))
        voice = new_voice(
            name,
            audio_file,
            prompts,
            self.codec,
            text=text or "",
            language=language,
            consent=consent,
            problems=problems,
        )
        write_voice(voice, path)
        return voice

    def continuation_prompt(self, recording: str | Path) -> Prompt:
        """Read a prompt that the target continues (VALL-E, section 4.3: VALL-E-continual).

        The text given to `synthesize` then begins with the words of the recording, whose timing stays as it is.

        Raises:
            UserError: As `prompt`.
        """
        audio = read_prefix(recording, self.codec.sample_rate)
        return Prompt(self.codec.encode(audio.samples, audio.sample_rate), mode="continuation")

    @property
    def encoder(self) -> TextEncoder:
        """What encodes text for the models."""
        return TextEncoder(self.units, self.vocabulary, self.languages, self.lexicon)

    def check_language(self, language: str | None) -> str:
        """Return a language of the model, its default for None.

        Raises:
            UserError: The model does not have the language.
        """
        return self.encoder.check_language(language)

    def encode_text(self, text: str | Sentence, *, strict: bool = False, language: str | None = None) -> EncodedText:
        """Normalize a text, make symbols of it, and look them up in the vocabulary.

        Args:
            text: What to synthesize. Pauses and other marks are not read: `plan` does.
            strict: Whether what cannot be spoken is an error and not left out.
            language: espeak-ng language tag of the text. None: the model's default, the language of the first folder of
                tokens that it was trained on.

        Raises:
            UserError: The text cannot be spoken, or the model does not have the language.
        """
        return self.encoder.encode(text, strict=strict, language=language)

    def plan(
        self,
        text: str | Iterable[str],
        options: SynthesisOptions = SynthesisOptions(),
        language: str | None = None,
        *,
        strict: bool = False,
        one_sentence: bool = False,
    ) -> Iterator[TextPart]:
        """Split a text into the parts that are decoded by themselves: some sentences, up to about 10 seconds.

        Args:
            text: Plain text with marks, or SSML (`valle.text.reading.read_script`), whole or in pieces.
            options: Tell whether a pause between sentences was chosen, so that each sentence is a part.
            language: See `encode_text`.
            strict: See `encode_text`.
            one_sentence: Whether each sentence is a part in any case, so that none waits for the next one.

        Yields:
            The parts, each as soon as what follows it is known.

        Raises:
            UserError: The text is malformed, cannot be spoken, or holds nothing to say.
        """
        planner = Planner(
            encoder=self.encoder,
            language=language,
            strict=strict,
            one_sentence=one_sentence or options.pause_sentence is not None,
        )
        return planner.plan(text)

    def synthesize(
        self,
        text: Text,
        prompt: str | Path | Prompt | None = None,
        prompt_text: str | None = None,
        seed: int = 0,
        options: SynthesisOptions = SynthesisOptions(),
        language: str | None = None,
        prompt_language: str | None = None,
        voice: str | None = None,
        **changes: Any,
    ) -> Audio:
        """Synthesize a text in the prompt's voice.

        Args:
            text: What to synthesize, of any length: plain text with marks, SSML (docs/text.md), or what `encode_text`
                or `plan` returns.
            prompt: Recording of 0.5 to 30 seconds, or what `self.prompt` made of it. None: `voice`.
            prompt_text: What the recording says. None: its best 3 seconds condition on the voice alone.
            seed: The same seed gives the same samples on one device and version.
            options: How it is synthesized.
            language: espeak-ng language tag of the text; see `encode_text`.
            prompt_language: espeak-ng language tag of the recording and its text. None: `language`.
            voice: Name of a voice. None: the default voice.
            **changes: Single fields of `options`, as `attempts=1`.

        Raises:
            UserError: The text, the prompt or the seed cannot be used.

        Warns:
            TruncatedWarning, IncompleteWarning, DoubtfulWarning: The result falls short of the text.
        """
        options = replace(options, candidates=1, **changes)
        resolved = self._resolve_prompt(prompt, prompt_text, prompt_language or language, voice)
        parts = list(text_parts(self, text, resolved, options, language))
        (speech,) = self.synthesize_batch([parts], [resolved], [seed], options)
        return speech.audio

    def synthesize_batch(
        self,
        texts: Sequence[Text],
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        options: SynthesisOptions = SynthesisOptions(),
        first_codes: Sequence[Tensor] | None = None,
        durations: Sequence[Sequence[int]] | None = None,
        **changes: Any,
    ) -> list[Speech]:
        """Synthesize each text in its prompt's voice.

        Text is split at sentence ends into parts of at most `valle.synthesis.planning.MAX_PART` units, which are
        decoded together from the same prompt and joined with pauses. Where codes stand for phones, more candidates are
        sampled while the best one is truncated or incomplete (`valle.synthesis.selection`).

        Args:
            texts: What to synthesize, in the model's default language where it is not encoded; see `synthesize`.
            prompts: The voice of each text.
            seeds: Of each text.
            options: How they are synthesized.
            first_codes: (time,) first codebook of each text, which the AR model does not predict then, as that of a
                recording (VALL-E, table 4). No text is split.
            durations: Of each text the frames before its first symbol and of each of its symbols, as those of
                `Speech.durations`, for models with a phoneme stream. Ends of symbols are rounded to whole groups of
                codes. No text is split, and no candidate is selected.
            **changes: Single fields of `options`, as `candidates=5`.

        Returns:
            `options.candidates` results for each text, those of a text next to each other.

        Raises:
            UserError: A text, a prompt or a seed cannot be used.

        Warns:
            TruncatedWarning, IncompleteWarning, DoubtfulWarning: A result falls short of its text, as `Speech` tells.
        """
        options = replace(options, **changes)
        attempts = self._attempts(options) if durations is None else 1
        for seed in seeds:
            check_seed(seed)
        check_options(
            self, options, prompts, has_first_codes=first_codes is not None, has_durations=durations is not None
        )
        jobs: list[PartJob] = []
        for index, (text, prompt, seed) in enumerate(zip(texts, prompts, seeds, strict=True)):
            if first_codes is None and durations is None:
                for number, part in enumerate(text_parts(self, text, prompt, options)):
                    jobs.append(make_job(self, part, prompt, text=index, number=number, seed=seed))
                continue
            if not isinstance(text, str | EncodedText):
                raise UserError("a text with first codes or durations is not split; give a string or encode_text's")
            first = None if first_codes is None else first_codes[index]
            given = None if durations is None else durations[index]
            jobs.append(whole_job(self, text, prompt, number=index, seed=seed, first=first, durations=given))
        parts_at_once = max(len(texts), PARTS_AT_ONCE)
        decoder = self._decoder()
        decoded: list[list[DecodedPart]] = []  # by job, then by candidate
        for start in range(0, len(jobs), parts_at_once):
            decoded += decoder.decode(jobs[start : start + parts_at_once], options, attempts)
        assembler = self._assembler(options)
        results = []
        for index, seed in enumerate(seeds):
            numbers = [number for number, job in enumerate(jobs) if job.text == index]
            for candidate in range(options.candidates):
                parts = []
                for number in numbers:
                    parts.append(
                        assembler.part_speech(
                            jobs[number],
                            decoded[number][candidate],
                            alone=len(numbers) == 1,
                            last=number == numbers[-1],
                            seed=seed + candidate,
                        )
                    )
                results.append(join_speech(parts))
        return results

    def synthesize_long(
        self,
        text: Text,
        prompt: str | Path | Prompt | None = None,
        prompt_text: str | None = None,
        seed: int = 0,
        options: SynthesisOptions = SynthesisOptions(),
        language: str | None = None,
        voice: str | None = None,
        first_part: int = 0,
        parts_at_once: int = PARTS_AT_ONCE,
        **changes: Any,
    ) -> Iterator[Speech]:
        """Synthesize a text of any length in bounded memory; the results joined are what `synthesize` returns.

        Args:
            text: See `synthesize`; also pieces of text as they are read from a file.
            prompt: See `synthesize`.
            prompt_text: See `synthesize`.
            seed: See `synthesize`.
            options: How it is synthesized.
            language: See `synthesize`.
            voice: See `synthesize`.
            first_part: Number of parts that are left out at the beginning, since they were synthesized before.
            parts_at_once: Parts that are decoded together.
            **changes: Single fields of `options`.

        Yields:
            The speech of each part of the text with the pause after it.

        Raises:
            UserError: The text, the prompt or the seed cannot be used.

        Warns:
            TruncatedWarning, IncompleteWarning, DoubtfulWarning: A result falls short of its text.
        """
        options = replace(options, candidates=1, **changes)
        attempts = self._attempts(options)
        check_seed(seed)
        resolved = self._resolve_prompt(prompt, prompt_text, language, voice)
        check_options(self, options, [resolved])
        assembler = self._assembler(options)
        decoder = self._decoder()
        planned = _with_last(text_parts(self, text, resolved, options, language))
        numbered = islice(enumerate(planned), first_part, None)
        while window := list(islice(numbered, parts_at_once)):
            jobs = [make_job(self, part, resolved, text=0, number=n, seed=seed) for n, (part, _) in window]
            for job, (number, (_, last)), (decoded,) in zip(
                jobs, window, decoder.decode(jobs, options, attempts), strict=True
            ):
                yield assembler.part_speech(job, decoded, alone=number == 0 and last, last=last, seed=seed)

    @torch.inference_mode()
    def stream(
        self,
        text: Text,
        prompt: str | Path | Prompt | None = None,
        prompt_text: str | None = None,
        seed: int = 0,
        options: SynthesisOptions = SynthesisOptions(),
        chunk_seconds: float = CHUNK,
        language: str | None = None,
        prompt_language: str | None = None,
        voice: str | None = None,
        **changes: Any,
    ) -> Iterator[SpeechChunk]:
        """Synthesize a text as `synthesize` does, and yield audio while the rest is still being decoded.

        The first codebook is the one that `synthesize` samples from the same seed with one attempt. The NAR model fills
        in each chunk as it comes, with `LOOKAHEAD` seconds of what follows it, and with what came before as acoustic
        prompt. The chunks of a part joined are what the codec decodes from all codes at once, but for the watermark,
        which each chunk carries by itself. Text is streamed part by part, with pauses between them. It may arrive in
        pieces itself, as from a language model; then each sentence is a part and is decoded as soon as it is complete.

        Args:
            text: See `synthesize`; also an iterable of pieces.
            prompt: See `synthesize`.
            prompt_text: See `synthesize`.
            seed: See `synthesize`.
            options: How it is synthesized; one candidate is decoded, whatever `attempts` says.
            chunk_seconds: Length of a chunk.
            language: See `synthesize`.
            prompt_language: See `synthesize`.
            voice: See `synthesize`.
            **changes: Single fields of `options`.

        Yields:
            Audio of about `chunk_seconds`, with the words that are known to end in what was yielded.

        Raises:
            UserError: The text, the prompt or the seed cannot be used.
        """
        options = replace(options, **changes)
        check_seed(seed)
        resolved = self._resolve_prompt(prompt, prompt_text, prompt_language or language, voice)
        check_options(self, options, [resolved])
        rate = self.codec.sample_rate
        decoder = self._decoder()
        # Durations must be known before they can be divided: streams are stretched.
        assembler = replace(self._assembler(options), decoded_speed=False)
        parts = text_parts(self, text, resolved, options, language)
        if not isinstance(text, str | EncodedText | Sequence):
            parts = self.plan(text, options, language, one_sentence=True)
        begin = 0  # samples
        previous: TextPart | None = None
        for number, part in enumerate(parts):
            # The pause after a part waits for the next one, so that no part waits to know whether it is the last.
            pause = part.lead + (0.0 if previous is None else pause_seconds(previous, options, last=False))
            if pause:
                yield SpeechChunk(silence(pause, rate), rate)
                begin += round(pause * rate)
            job = make_job(self, part, resolved, text=0, number=number, seed=seed)
            first = begin
            for chunk in assembler.stream_part(job, decoder.stream(part.encoded.text, job, options, chunk_seconds)):
                if chunk.words is not None:
                    chunk.words = [word.shifted(first / rate) for word in chunk.words]
                begin += len(chunk.samples)
                yield chunk
            previous = part
        if previous is not None and (seconds := pause_seconds(previous, options, last=True)):
            yield SpeechChunk(silence(seconds, rate), rate)

    async def astream(self, text: Text, *args: Any, **options: Any) -> AsyncIterator[SpeechChunk]:
        """Stream a text as `stream` does, with its arguments, without blocking the event loop.

        Args:
            text: See `stream`.
            *args: See `stream`.
            **options: See `stream`.

        Yields:
            See `stream`.
        """
        chunks = self.stream(text, *args, **options)
        lock = threading.Lock()

        def advance() -> SpeechChunk | None:
            with lock:
                return next(chunks, None)

        def close() -> None:
            # A task that was cancelled does not wait for the chunk that a thread is still computing.
            with lock:
                chunks.close()  # type: ignore[attr-defined]

        try:
            while (chunk := await asyncio.to_thread(advance)) is not None:
                yield chunk
        finally:
            await asyncio.shield(asyncio.to_thread(close))

    def watermarked(self, samples: np.ndarray) -> Audio:
        """Return decoded samples, (time,) float32, as audio: marked, unless `watermark` is off."""
        return self._assembler(SynthesisOptions()).watermarked(samples)

    def _assembler(self, options: SynthesisOptions) -> Assembler:
        return Assembler(
            codec=self.codec,
            options=options,
            phones=self._phones(),
            watermark=self.watermark,
            decoded_speed=isinstance(self.ar, PhonemeStreamAR),
        )

    def _resolve_prompt(
        self, prompt: str | Path | Prompt | None, text: str | None, language: str | None, voice: str | None
    ) -> Prompt:
        if prompt is not None and voice is not None:
            raise UserError(f"voice {voice!r} and a prompt: both name the voice; give one of them")
        if isinstance(prompt, Prompt):
            return prompt
        if prompt is not None:
            return self.prompt(prompt, text, language)
        if text is not None:
            raise UserError("the prompt's text was given without its recording; give prompt=, or leave prompt_text out")
        return self.voice() if voice is None else self.voice(voice)

    def _attempts(self, options: SynthesisOptions) -> int:
        """Candidates of the first codebook for each result."""
        selects = self._phones() is not None
        if options.attempts is None:
            return ATTEMPTS if selects and options.sampling.is_random else 1
        if options.attempts > 1 and not selects:
            raise UserError(
                f"attempts {options.attempts}: candidates are selected by phonetic codes and phonemes; give 1"
            )
        return options.attempts

    def _phones(self) -> Tensor | None:
        """Return the class of the phone that each first code stands for; None where no text can be read from codes."""
        if self.units.bpe is not None or not isinstance(self.codec, PhoneLabelledCodec):
            return None
        return self.codec.phones

    def _decoder(self) -> PartDecoder:
        phones = self._phones()
        selector: CandidateSelector
        selector = FirstCandidate() if phones is None else PhoneAlignmentSelector(phones, self.codec.frame_rate)
        return PartDecoder(
            ar=self.ar,
            nar=self.nar,
            nar_prompt_frames=self.nar_prompt_frames,
            codec=self.codec,
            units=self.units,
            selector=selector,
            engine=self.engine or LocalEngine(self.ar),
        )


def _with_last(parts: Iterator[TextPart]) -> Iterator[tuple[TextPart, bool]]:
    """Yield parts, and whether each is the last."""
    previous = next(parts, None)
    for part in parts:
        if previous is not None:
            yield previous, False
        previous = part
    if previous is not None:
        yield previous, True

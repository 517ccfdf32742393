"""Text and a voice prompt in, audio out: the AR model, the NAR model and the codec one after the other.

Over 300 lines, since it documents the public interface.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
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
from valle.extensions.phoneme_path import check_durations
from valle.extensions.phoneme_stream import PhonemeStreamAR
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.synthesis.decoding import DecodedPart, PartDecoder
from valle.synthesis.option_checks import check_options
from valle.synthesis.options import SynthesisOptions
from valle.synthesis.parts import PART_SEED, PartJob, faded, join_parts, pause_after, split_text
from valle.synthesis.prompt import Prompt, read_prefix, read_prompt
from valle.synthesis.prompt_text import warn_if_text_differs
from valle.synthesis.selection import CandidateSelector, FirstCandidate, PhoneAlignmentSelector
from valle.synthesis.speech import Speech, symbol_durations, warn_of_shortfall
from valle.synthesis.streaming import CHUNK, stream_waveform
from valle.synthesis.voices import DEFAULT as DEFAULT_VOICE
from valle.synthesis.voices import find_voice
from valle.synthesis.watermark import mark
from valle.text import TextUnits, Vocabulary, normalize
from valle.text.encoded import EncodedText
from valle.text.phones import nearest_phones
from valle.text.sentences import Part

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
        """Encode a bundled voice, as an untranscribed prompt where the model was trained with such prompts.

        Word errors are then fewer than with the voice's text.

        Raises:
            UserError: There is no voice of that name.
        """
        voice = find_voice(name)
        # A model of another language reads the voice's text in its own.
        language = voice.language if voice.language in self.languages else None
        return self.prompt(voice.recording, None if self.untranscribed_prompts else voice.text, language)

    def continuation_prompt(self, recording: str | Path) -> Prompt:
        """Read a prompt that the target continues (VALL-E, section 4.3: VALL-E-continual).

        The text given to `synthesize` then begins with the words of the recording, whose timing stays as it is.

        Raises:
            UserError: As `prompt`.
        """
        audio = read_prefix(recording, self.codec.sample_rate)
        return Prompt(self.codec.encode(audio.samples, audio.sample_rate), mode="continuation")

    def check_language(self, language: str | None) -> str:
        """Return a language of the model, its default for None.

        Raises:
            UserError: The model does not have the language.
        """
        available = self.languages or (self.units.language,)
        if language is None:
            return self.units.language
        if language not in available:
            raise UserError(f"language {language!r}: the model was trained on {', '.join(available)}; give one of them")
        return language

    def encode_text(self, text: str, *, strict: bool = False, language: str | None = None) -> EncodedText:
        """Normalize a text, make symbols of it, and look them up in the vocabulary.

        Args:
            text: What to synthesize.
            strict: Whether what cannot be spoken is an error and not left out.
            language: espeak-ng language tag of the text. None: the model's default, the language of the first folder of
                tokens that it was trained on.

        Raises:
            UserError: The text cannot be spoken, or the model does not have the language.
        """
        language = self.check_language(language)
        (symbols,) = TextUnits(language, self.units.bpe)([normalize(text, language, strict=strict)])
        # The phones that replace others are those of American English.
        if self.units.bpe is None and any(name.startswith("en") for name in (language, *self.languages)):
            symbols = [phone for symbol in symbols for phone in self._known_phones(symbol)]
        return EncodedText(text, tuple(symbols), tuple(self.vocabulary.encode(symbols)), language)

    def _known_phones(self, symbol: str) -> list[str]:
        """Replace a phone of a foreign word that the model does not have by the nearest ones that it has."""
        available = self.vocabulary.symbols
        return [symbol] if symbol in available else nearest_phones(symbol, available) or [symbol]

    def synthesize(
        self,
        text: str | EncodedText,
        prompt: str | Path | Prompt | None = None,
        prompt_text: str | None = None,
        seed: int = 0,
        options: SynthesisOptions = SynthesisOptions(),
        language: str | None = None,
        prompt_language: str | None = None,
        **changes: Any,
    ) -> Audio:
        """Synthesize a text in the prompt's voice.

        Args:
            text: What to synthesize.
            prompt: Recording of 0.5 to 30 seconds, or what `self.prompt` made of it. None: the default voice.
            prompt_text: What the recording says. None: its best 3 seconds condition on the voice alone.
            seed: The same seed gives the same samples on one device and version.
            options: How it is synthesized.
            language: espeak-ng language tag of the text; see `encode_text`.
            prompt_language: espeak-ng language tag of the recording and its text. None: `language`.
            **changes: Single fields of `options`, as `attempts=1`.

        Raises:
            UserError: The text, the prompt or the seed cannot be used.

        Warns:
            TruncatedWarning, IncompleteWarning, DoubtfulWarning: The result falls short of the text.
        """
        text = self.encode_text(text, language=language) if isinstance(text, str) else text
        voice = self._resolve_prompt(prompt, prompt_text, prompt_language or language)
        (speech,) = self.synthesize_batch([text], [voice], [seed], replace(options, candidates=1), **changes)
        return speech.audio

    def synthesize_batch(
        self,
        texts: Sequence[str | EncodedText],
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        options: SynthesisOptions = SynthesisOptions(),
        first_codes: Sequence[Tensor] | None = None,
        durations: Sequence[Sequence[int]] | None = None,
        **changes: Any,
    ) -> list[Speech]:
        """Synthesize each text in its prompt's voice.

        Text longer than `valle.synthesis.parts.MAX_PART` units is split at sentence ends; its parts are decoded
        together from the same prompt and joined with pauses. Where codes stand for phones, more candidates are sampled
        while the best one is truncated or incomplete (`valle.synthesis.selection`).

        Args:
            texts: What to synthesize, in the model's default language where it is not encoded (`encode_text`).
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
        jobs = self._jobs(texts, prompts, seeds, options, first_codes, durations)
        parts_at_once = max(len(texts), PARTS_AT_ONCE)
        decoder = self._decoder()
        decoded: list[list[DecodedPart]] = []  # by job, then by candidate
        for start in range(0, len(jobs), parts_at_once):
            decoded += decoder.decode(jobs[start : start + parts_at_once], options, attempts)
        results = []
        for index, text in enumerate(texts):
            numbers = [number for number, job in enumerate(jobs) if job.text == index]
            for candidate in range(options.candidates):
                parts = [decoded[number][candidate] for number in numbers]
                results.append(self._speech(_name(text), [jobs[number] for number in numbers], parts))
        return results

    @torch.inference_mode()
    def stream(
        self,
        text: str | EncodedText,
        prompt: str | Path | Prompt | None = None,
        prompt_text: str | None = None,
        seed: int = 0,
        options: SynthesisOptions = SynthesisOptions(),
        chunk_seconds: float = CHUNK,
        language: str | None = None,
        prompt_language: str | None = None,
        **changes: Any,
    ) -> Iterator[Audio]:
        """Synthesize a text as `synthesize` does, and yield audio while the rest is still being decoded.

        The first codebook is the one that `synthesize` samples from the same seed with one attempt. The NAR model fills
        in each chunk as it comes, with `LOOKAHEAD` seconds of what follows it, and with what came before as acoustic
        prompt. The chunks of a part joined are what the codec decodes from all codes at once, but for the watermark,
        which each chunk carries by itself. Long text is streamed part by part, with pauses between them.

        Args:
            text: See `synthesize`.
            prompt: See `synthesize`.
            prompt_text: See `synthesize`.
            seed: See `synthesize`.
            options: How it is synthesized; one candidate is decoded, whatever `attempts` says.
            chunk_seconds: Length of a chunk.
            language: See `synthesize`.
            prompt_language: See `synthesize`.
            **changes: Single fields of `options`.

        Yields:
            Audio of about `chunk_seconds`.

        Raises:
            UserError: The text, the prompt or the seed cannot be used.
        """
        options = replace(options, **changes)
        check_seed(seed)
        text = self.encode_text(text, language=language) if isinstance(text, str) else text
        voice = self._resolve_prompt(prompt, prompt_text, prompt_language or language)
        rate = self.codec.sample_rate
        decoder = self._decoder()
        for job in self._jobs([text], [voice], [seed], options):
            codes = decoder.stream(_name(text), job, options, chunk_seconds)
            for samples in stream_waveform(self.codec, codes):
                yield self.watermarked(samples)
            pause = pause_after(job.part, rate)
            if len(pause):
                yield Audio(pause, rate)

    def watermarked(self, samples: np.ndarray) -> Audio:
        """Return decoded samples, (time,) float32, as audio: marked, unless `watermark` is off."""
        rate = self.codec.sample_rate
        return Audio(mark(samples, rate) if self.watermark else samples, rate)

    def _resolve_prompt(self, prompt: str | Path | Prompt | None, text: str | None, language: str | None) -> Prompt:
        if isinstance(prompt, Prompt):
            return prompt
        if prompt is not None:
            return self.prompt(prompt, text, language)
        if text is not None:
            raise UserError("the prompt's text was given without its recording; give prompt=, or leave prompt_text out")
        return self.voice()

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
        )

    def _jobs(
        self,
        texts: Sequence[str | EncodedText],
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        options: SynthesisOptions,
        first_codes: Sequence[Tensor] | None = None,
        durations: Sequence[Sequence[int]] | None = None,
    ) -> list[PartJob]:
        """Split all texts into parts, in order.

        Raises:
            UserError: An option, the durations or a prompt do not fit the model.

        Warns:
            PromptWarning: See `check_options`.
        """
        check_options(
            self, options, prompts, has_first_codes=first_codes is not None, has_durations=durations is not None
        )
        jobs = []
        for index, (text, prompt, seed) in enumerate(zip(texts, prompts, seeds, strict=True)):
            encoded = self.encode_text(text) if isinstance(text, str) else text
            parts = split_text(encoded.symbols, prompt, self.units)
            if first_codes is not None or durations is not None:
                parts = [Part(list(encoded.symbols), "none")]
            if durations is not None and isinstance(self.ar, PhonemeStreamAR):
                ids = torch.tensor(encoded.ids)
                check_durations(durations[index], ids, self.ar.roles, self.ar.group_size * self.codec.merge)
            for number, part in enumerate(parts):
                joint = self.units.join(list(prompt.symbols), part.symbols)
                jobs.append(
                    PartJob(
                        text=index,
                        part=part,
                        joint=torch.tensor(self.vocabulary.encode(joint)),
                        target=torch.tensor(self.vocabulary.encode(part.symbols)),
                        prompt=prompt,
                        seed=seed + PART_SEED * number,
                        language=self.check_language(encoded.language),
                        first=None if first_codes is None else first_codes[index],
                        durations=None if durations is None else durations[index],
                    )
                )
        return jobs

    def _speech(self, text: str, jobs: Sequence[PartJob], decoded: Sequence[DecodedPart]) -> Speech:
        """Join the parts of a text; warn where they fall short of it."""
        for part in decoded:
            warn_of_shortfall(text, part.selected, self.codec.frame_rate)
        rate = self.codec.sample_rate
        waveforms = [part.samples if len(jobs) == 1 else faded(part.samples, rate) for part in decoded]
        qualities = [part.selected.quality for part in decoded if part.selected.quality is not None]
        return Speech(
            # Each part is marked by itself: the memory that the watermark needs grows with the length.
            audio=join_parts([job.part for job in jobs], [self.watermarked(samples) for samples in waveforms]),
            codes=torch.cat([part.codes for part in decoded]),
            truncated=any(part.selected.truncated for part in decoded),
            quality=reduce(operator.add, qualities) if qualities else None,
            incomplete=any(quality.verdict == "incomplete" for quality in qualities),
            durations=_durations(jobs, decoded),
            sampled=decoded[0].selected.sampled if len(decoded) == 1 else None,
        )


def _durations(jobs: Sequence[PartJob], decoded: Sequence[DecodedPart]) -> list[tuple[str, int]] | None:
    """Return the durations of all symbols of a text's parts, see `Speech`."""
    durations = []
    for job, part in zip(jobs, decoded, strict=True):
        if part.selected.spoken is None:
            return None
        durations += symbol_durations(job.part.symbols, part.selected.spoken)
    return durations


def _name(text: str | EncodedText) -> str:
    return text if isinstance(text, str) else text.text

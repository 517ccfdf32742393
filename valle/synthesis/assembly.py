"""From decoded parts to speech: speed, watermark, pauses, and the times of words."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from valle.audio import Audio
from valle.codec import Codec
from valle.synthesis.decoding import DecodedPart
from valle.synthesis.options import SynthesisOptions
from valle.synthesis.parts import PartJob, faded, pause_seconds, with_silence
from valle.synthesis.speech import Speech, SpeechChunk, symbol_durations, warn_of_shortfall
from valle.synthesis.streaming import stream_waveform
from valle.synthesis.timing import TimedWord, final_words, spoken_frames, symbol_frames, word_times
from valle.synthesis.watermark import mark
from valle.text.encoded import EncodedText
from valle.time_stretch import stretch, stretch_chunks


@dataclass(frozen=True)
class Assembler:
    """Makes speech of decoded parts.

    Attributes:
        codec: The codec.
        options: How the speech is synthesized.
        phones: (codebook_size,) class of the phone that each first code stands for; None where they stand for none.
        watermark: Whether audio carries the watermark.
        decoded_speed: Whether `options.speed` is in the codes already.
    """

    codec: Codec
    options: SynthesisOptions
    phones: Tensor | None
    watermark: bool
    decoded_speed: bool

    def watermarked(self, samples: np.ndarray) -> Audio:
        """Return decoded samples, (time,) float32, as audio."""
        rate = self.codec.sample_rate
        return Audio(mark(samples, rate) if self.watermark else samples, rate)

    def speed(self, job: PartJob) -> float:
        """Return by how much the decoded samples of a part are played faster."""
        return job.part.speed * (1.0 if self.decoded_speed else self.options.speed)

    def part_speech(self, job: PartJob, decoded: DecodedPart, *, alone: bool, last: bool, seed: int) -> Speech:
        """Return the speech of one part, with the pauses before and after it; warn where it falls short of its text.

        Args:
            job: The part.
            decoded: Its codes and samples.
            alone: Whether the text has no other part.
            last: Whether it is the last part of the text.
            seed: Of the text.
        """
        selected = decoded.selected
        rate = self.codec.sample_rate
        encoded = job.part.encoded
        warnings = warn_of_shortfall(encoded.text, selected, self.codec.frame_rate)
        speed = self.speed(job)
        samples = stretch(decoded.samples, rate, speed)
        # Each part is marked by itself: the memory that the watermark needs grows with the length.
        audio = self.watermarked(samples if alone else faded(samples, rate))
        frames = None
        continues = job.prompt.mode == "continuation"
        if selected.spoken is not None:
            frames = spoken_frames(encoded, selected.spoken)
        elif self.phones is not None and not continues:
            frames = symbol_frames(encoded, self.phones[decoded.codes[:, 0]].numpy(), self.codec.frame_rate)
        lead = job.part.lead
        words = marks = durations = None
        if frames is not None:
            words = [word.at_speed(speed).shifted(lead) for word in word_times(encoded, frames, self.codec.frame_rate)]
            marks = _mark_times(encoded, words, lead, audio.duration)
        if selected.spoken is not None:
            durations = symbol_durations(encoded.symbols, selected.spoken)
        return Speech(
            audio=with_silence(audio, lead, pause_seconds(job.part, self.options, last=last)),
            codes=decoded.codes,
            truncated=selected.truncated,
            quality=selected.quality,
            incomplete=selected.quality is not None and selected.quality.verdict == "incomplete",
            durations=durations,
            sampled=selected.sampled if alone else None,
            words=words,
            marks=marks,
            seed=seed,
            warnings=warnings,
            chapter=job.part.chapter,
        )

    def stream_part(self, job: PartJob, codes: Iterator[tuple[Tensor, bool]]) -> Iterator[SpeechChunk]:
        """Yield the speech of one part while it is decoded, without the pauses around it.

        Args:
            job: The part.
            codes: New codes (time, codebook), and whether they are the last.

        Yields:
            Chunks; their words are in seconds from the beginning of the part.
        """
        log = _CodeLog(codes)
        speed = self.speed(job)
        rate = self.codec.frame_rate
        known = 0
        for samples in stretch_chunks(stream_waveform(self.codec, iter(log)), self.codec.sample_rate, speed):
            words = None
            if self.phones is not None and job.prompt.mode != "continuation":
                done = log.codes
                phones = self.phones[done[:, 0]].numpy()
                frames = symbol_frames(job.part.encoded, phones, rate, complete=log.complete)
                timed = word_times(job.part.encoded, frames, rate)
                final = len(timed) if log.complete else max(known, final_words(timed, len(done) / rate))
                words = [word.at_speed(speed) for word in timed[known:final]]
                known = final
            audio = self.watermarked(samples)
            yield SpeechChunk(audio.samples, audio.sample_rate, words, log.take())


@dataclass
class _CodeLog:
    """Passes codes on and keeps them."""

    source: Iterator[tuple[Tensor, bool]]
    pieces: list[Tensor] = field(default_factory=list)
    taken: int = 0
    complete: bool = False

    def __iter__(self) -> Iterator[tuple[Tensor, bool]]:
        for new, last in self.source:
            self.pieces.append(new)
            self.complete = last
            yield new, last

    @property
    def codes(self) -> Tensor:
        return torch.cat(self.pieces)

    def take(self) -> Tensor:
        """Return the codes that were not returned before."""
        new = torch.cat([torch.zeros(0, 8, dtype=torch.long), *self.pieces[self.taken :]])
        self.taken = len(self.pieces)
        return new


def _mark_times(
    encoded: EncodedText, words: Sequence[TimedWord], begin: float, duration: float
) -> list[tuple[str, float]]:
    """Return the second of each mark of a text: where the next word begins."""
    times = []
    for name, symbol in encoded.marks:
        following = [timed for word, timed in zip(encoded.words, words, strict=True) if word.start >= symbol]
        times.append((name, following[0].start if following else begin + duration))
    return times


def join_speech(parts: Sequence[Speech]) -> Speech:
    """Join the speech of the parts of a text."""
    if len(parts) == 1:
        return parts[0]
    qualities = [part.quality for part in parts if part.quality is not None]
    rate = parts[0].audio.sample_rate
    words: list[TimedWord] = []
    marks: list[tuple[str, float]] = []
    durations: list[tuple[str, int]] = []
    begin = 0
    for part in parts:
        words += [word.shifted(begin / rate) for word in part.words or []]
        marks += [(name, second + begin / rate) for name, second in part.marks or []]
        durations += part.durations or []
        begin += len(part.audio.samples)
    return Speech(
        audio=Audio(np.concatenate([part.audio.samples for part in parts]), rate),
        codes=torch.cat([part.codes for part in parts]),
        truncated=any(part.truncated for part in parts),
        quality=reduce(operator.add, qualities) if qualities else None,
        incomplete=any(part.incomplete for part in parts),
        durations=durations if all(part.durations is not None for part in parts) else None,
        words=words if all(part.words is not None for part in parts) else None,
        marks=marks if all(part.marks is not None for part in parts) else None,
        seed=parts[0].seed,
        warnings=[message for part in parts for message in part.warnings],
        chapter=parts[0].chapter,
    )

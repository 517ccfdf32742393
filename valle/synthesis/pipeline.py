"""Text and a voice prompt in, speech out."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from valle import codec
from valle.audio import Audio
from valle.checkpoint import find_checkpoint, load_model, model_directory
from valle.codec import Codec
from valle.devices import check_device, check_seed
from valle.errors import UserError
from valle.extensions.phone_alignment import Quality
from valle.generation import engine
from valle.generation.engine import GenerationOutput, Request, generate
from valle.generation.quantization import pack
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.sampling import SPEECH_TOP_P, NARSampling, Sampling
from valle.synthesis.prompt import Prompt, read_prefix, read_prompt
from valle.synthesis.prompt_text import warn_of_other_text
from valle.synthesis.selection import Selected, select
from valle.synthesis.voices import DEFAULT as DEFAULT_VOICE
from valle.synthesis.voices import find_voice
from valle.synthesis.watermark import mark
from valle.text import TextUnits, Vocabulary, normalize
from valle.text.phones import nearest_phones
from valle.text.sentences import Boundary, Part, split

# Length bounds of one decoding. Upper: three times as slow as usual speech. Lower: the fastest speakers of the training
# data, with the silence around their utterances (benchmarks/speaking_rate.py); EOS is not sampled before.
MAX_SECONDS_PER_UNIT, MAX_SECONDS_MORE = 0.2, 1.0
MIN_SECONDS_PER_PHONE, MIN_SECONDS = 0.05, 0.2
MAX_PART = 150  # text units of one decoding, about 10 seconds as most training utterances; longer text is split
MAX_CONTINUATION = 600  # text units of a text that begins with the prompt's, which cannot be split
PAUSE_AFTER: dict[Boundary, float] = {"sentence": 0.3, "clause": 0.1, "word": 0.0, "none": 0.0}  # seconds
FADE = 0.005  # seconds at either end of a part
ATTEMPTS = 5  # candidates of which the best is selected, where codes stand for phones: egs/bundled/README.md
RETRIES = 2  # times that as many candidates more are sampled while the best one is incomplete or truncated
PARTS_AT_ONCE = 16  # parts of long texts that are decoded together, at least
CHUNK, AHEAD = 0.5, 0.1  # seconds: of a streamed chunk; that the NAR model sees beyond it
# What tells the seeds of the NAR model, of further candidates and of further parts from the AR model's first.
# Generators take 32 bits of a seed.
NAR_SEED, ATTEMPT_SEED, PART_SEED = 2**31, 1_000_003, 7_919


class TruncatedWarning(UserWarning):
    """EOS did not come before the length bound; the speech was cut there."""


class IncompleteWarning(UserWarning):
    """Words of the text are missing in the speech, by the phones that its codes stand for."""


class DoubtfulWarning(UserWarning):
    """Phones of the text are missing, or something else is spoken, by the phones that the speech's codes stand for."""


@dataclass
class Speech:
    """One synthesized text.

    Attributes:
        audio: waveform.
        codes: (time, codebook) of all parts, without the pauses between them.
        truncated: the length bound was reached before EOS, in at least one part.
        quality: alignment of the codes with the text; None where codes stand for no phones.
        incomplete: words of the text are missing in at least one part, as far as `quality` can tell.
    """

    audio: Audio
    codes: Tensor
    truncated: bool
    quality: Quality | None = None
    incomplete: bool = False


@dataclass(frozen=True)
class _Job:
    """A part of a text to decode: its units, with the prompt's before them, and what conditions it."""

    text: int
    part: Part
    symbols: list[str]
    prompt: Prompt
    seed: int


@dataclass
class TTS:
    """AR and NAR models with the codec and the vocabulary they were trained with. `valle.load` makes one.

    nar_prompt_frames: longest acoustic prompt that the NAR model was trained with
    watermark: whether speech carries the inaudible mark that says it was synthesized
    """

    ar: AR
    nar: NAR
    nar_prompt_frames: int
    codec: Codec
    vocabulary: Vocabulary
    units: TextUnits
    watermark: bool = True

    def prompt(self, recording: str | Path, text: str | None = None) -> Prompt:
        """Read a voice prompt, see `valle.synthesis.prompt.read_prompt` for what is corrected.

        Args:
            recording: 0.5 to 30 seconds with `text`, up to 5 minutes without.
            text: what the recording says; None: its best 3 seconds give the voice alone.

        Raises:
            UserError: when the recording is too short, too long, silent, or not a recording, or when the text cannot be
                spoken.

        Warns:
            PromptWarning: when the recording is poor, or does not say the text.
        """
        if text is None:
            sound = read_prompt(recording, self.codec.sample_rate, with_text=False)
            return Prompt(self.codec.encode(sound.samples, sound.sample_rate), None)
        symbols = self._prompt_symbols(text)
        sound = read_prompt(recording, self.codec.sample_rate, with_text=True)
        prompt = Prompt(self.codec.encode(sound.samples, sound.sample_rate), symbols)
        warn_of_other_text(recording, sound, prompt, self.codec, self.units)
        return prompt

    def _prompt_symbols(self, text: str) -> list[str]:
        try:
            return self.symbols([text])[0]
        except UserError as error:
            raise UserError(f"the prompt's text (what the recording says): {error}") from error

    def voice(self, name: str = DEFAULT_VOICE) -> Prompt:
        """Encode a bundled voice as a prompt, without its text: texts are understood better so, in any language.

        Raises UserError when there is none of that name.
        """
        return self.prompt(find_voice(name).recording)

    def beginning(self, recording: str | Path) -> Prompt:
        """A prompt that is the beginning of what will be said (VALL-E, section 4.3: VALL-E-continual): the text then
        given to `synthesize` holds the prompt's words too. Its timing stays as it is. Raises UserError as `prompt`
        does."""
        sound = read_prefix(recording, self.codec.sample_rate)
        return Prompt(self.codec.encode(sound.samples, sound.sample_rate), [])

    def _given(self, prompt: str | Path | Prompt | None, text: str | None) -> Prompt:
        """The prompt of `synthesize` and `stream`: the default voice when none was given."""
        if isinstance(prompt, Prompt):
            return prompt
        if prompt is not None:
            return self.prompt(prompt, text)
        if text is not None:
            raise UserError("the prompt's text was given without its recording; give prompt=, or leave prompt_text out")
        return self.voice()

    def symbols(self, texts: list[str]) -> list[list[str]]:
        """Text units of each text. Raises UserError for text that cannot be spoken."""
        found = self.units([normalize(text, self.units.language) for text in texts])
        if self.units.bpe is None and self.units.language.startswith("en"):
            found = [self._known_phones(symbols) for symbols in found]
        for symbols in found:
            self.vocabulary.encode(symbols)
        return found

    def _known_phones(self, symbols: list[str]) -> list[str]:
        """Phones of foreign words that the model does not have, replaced by the nearest ones that it has."""
        known = self.vocabulary.symbols
        return [
            p
            for symbol in symbols
            for p in ([symbol] if symbol in known else nearest_phones(symbol, known) or [symbol])
        ]

    def synthesize(
        self,
        text: str,
        prompt: str | Path | Prompt | None = None,
        prompt_text: str | None = None,
        seed: int = 0,
        sampling: Sampling = Sampling(top_p=SPEECH_TOP_P),
        attempts: int | None = None,
    ) -> Audio:
        """Say `text` in the prompt's voice.

        prompt:      a recording of 0.5 to 30 seconds, or what `self.prompt` made of it; None: the default voice
        prompt_text: what the recording says; when left out, its best 3 seconds give the voice alone
        seed:        the same seed gives the same samples on one device and version
        attempts:    so many draws of the first codebook, of which what says the text best is kept, see
                     `synthesize_batch`

        Warns (TruncatedWarning) when the length bound was reached. Raises UserError for bad input.
        """
        voice = self._given(prompt, prompt_text)
        return self.synthesize_batch([text], [voice], [seed], sampling, attempts=attempts)[0].audio

    @torch.inference_mode()
    def synthesize_batch(
        self,
        texts: list[str],
        prompts: list[Prompt],
        seeds: list[int],
        sampling: Sampling = Sampling(top_p=SPEECH_TOP_P),
        candidates: int = 1,
        nar_sampling: NARSampling = NARSampling(),
        max_batch_tokens: int | None = None,
        attempts: int | None = None,
    ) -> list[Speech]:
        """Synthesize each text in its prompt's voice.

        Text longer than `MAX_PART` units is split at sentence ends; its parts are decoded together from the same
        prompt and joined with pauses. Where codes stand for phones, more candidates are sampled, up to `RETRIES` times
        as many, while the best one is truncated or lacks words of the text.

        Args:
            candidates: results of each text; they stand next to each other in the list that is returned.
            attempts: candidates of the first codebook for each result, of which the best by their phones is selected
                (`valle.synthesis.selection`). None: `ATTEMPTS` where codes stand for phones, the text is phonemes and
                sampling is random, else 1. With 1 nothing is selected or sampled again.
            max_batch_tokens: bound on what is decoded at once, see `generate` of the engine; None: everything.

        Warns:
            TruncatedWarning, IncompleteWarning: what came out falls short; `Speech` says so too.
        """
        for seed in seeds:
            check_seed(seed)
        jobs = self._jobs(texts, prompts, seeds)
        at_once = max(len(texts), PARTS_AT_ONCE)
        decoded: list[tuple[Selected, Tensor, np.ndarray]] = []  # by job, then by candidate
        for start in range(0, len(jobs), at_once):
            some = jobs[start : start + at_once]
            first = self._first_codebooks(some, candidates, attempts, sampling, max_batch_tokens)
            codes = self._other_codebooks(some, candidates, first, nar_sampling)
            decoded += zip(first, codes, self.codec.decode_batch(codes), strict=True)
        results = []
        for index, text in enumerate(texts):
            numbers = [number for number, job in enumerate(jobs) if job.text == index]
            for candidate in range(candidates):
                parts = [decoded[number * candidates + candidate] for number in numbers]
                results.append(self._speech(text, [jobs[number].part for number in numbers], parts))
        return results

    def _jobs(self, texts: list[str], prompts: list[Prompt], seeds: list[int]) -> list[_Job]:
        """The parts of all texts, in order."""
        jobs = []
        for index, (target, prompt, seed) in enumerate(zip(self.symbols(texts), prompts, seeds, strict=True)):
            for number, part in enumerate(self._parts(target, prompt)):
                both = self.units.join(prompt.symbols or [], part.symbols)
                jobs.append(_Job(index, part, both, prompt, seed + PART_SEED * number))
        return jobs

    def _parts(self, target: list[str], prompt: Prompt) -> list[Part]:
        if prompt.symbols == []:
            if self.units.length(target) > MAX_CONTINUATION:
                raise UserError(
                    f"a text of {self.units.length(target)} units that begins with the prompt's words is too long to "
                    f"continue (at most {MAX_CONTINUATION}); give the prompt's text and the rest apart"
                )
            return [Part(target, "none")]
        return split(target, MAX_PART, self.units.length)

    def _first_codebooks(
        self,
        jobs: list[_Job],
        candidates: int,
        attempts: int | None,
        sampling: Sampling,
        max_batch_tokens: int | None,
    ) -> list[Selected]:
        """The first codebook of each job and each of its candidates."""
        phones = self.codec.phones if self.units.bpe is None else None
        if phones is None and attempts is not None and attempts > 1:
            raise UserError(f"attempts {attempts}: candidates are selected by phonetic codes and phonemes; give 1")
        if attempts is None:
            attempts = ATTEMPTS if phones is not None and sampling.temperature > 0 else 1
        requests = [self._request(job) for job in jobs]
        pools: list[list[list[GenerationOutput]]] = [[[] for _ in range(candidates)] for _ in jobs]
        chosen = [[Selected(job.prompt.codes[:0, 0], False)] * candidates for job in jobs]
        waiting = {number: list(range(candidates)) for number in range(len(jobs))}
        for retry in range(1 + RETRIES if attempts > 1 else 1):
            tries = range(retry * attempts, (retry + 1) * attempts)
            more = [
                replace(requests[n], seeds=[jobs[n].seed + c + ATTEMPT_SEED * a for c in failed for a in tries])
                for n, failed in waiting.items()
            ]
            generated = generate(self.ar, more, sampling, max_batch_tokens)
            for (number, failed), found in zip(waiting.items(), generated, strict=True):
                for index, candidate in enumerate(failed):
                    pool = pools[number][candidate]
                    pool += found[index * attempts : (index + 1) * attempts]
                    chosen[number][candidate] = self._selected(jobs[number], pool)
            waiting = {
                n: failed for n, row in enumerate(chosen) if (failed := [c for c, s in enumerate(row) if s.failed])
            }
            if not waiting:
                break
        return [selected for row in chosen for selected in row]

    def _selected(self, job: _Job, pool: list[GenerationOutput]) -> Selected:
        prefix = job.prompt.codes[: len(job.prompt.codes) if job.prompt.symbols == [] else 0, 0]
        phones = self.codec.phones
        if phones is None or self.units.bpe is not None:
            return Selected(pool[0].codes, pool[0].truncated)
        return select(pool, job.part.symbols, phones, self.codec.frame_rate, prefix)

    def _other_codebooks(
        self, jobs: list[_Job], candidates: int, first: list[Selected], sampling: NARSampling
    ) -> list[Tensor]:
        """All codebooks (time, codebook) of each job and each of its candidates."""
        longest = self.nar_prompt_frames
        if sampling.prompt_seconds is not None:
            longest = max(1, round(sampling.prompt_seconds * self.codec.frame_rate))
        inputs = [self._nar_inputs(job.prompt, job.symbols, job.part.symbols, longest) for job in jobs]
        rows = [inputs[number] for number in range(len(jobs)) for _ in range(candidates)]
        return self._fill_in(
            [text for text, _ in rows],
            [prompt for _, prompt in rows],
            [selected.codes for selected in first],
            [job.seed + candidate for job in jobs for candidate in range(candidates)],
            sampling,
        )

    def _speech(self, text: str, parts: list[Part], decoded: list[tuple[Selected, Tensor, np.ndarray]]) -> Speech:
        """Join the parts of a text; warn of what they lack."""
        selected = [first for first, _, _ in decoded]
        for first in selected:
            self._warn(text, first)
        qualities = [first.quality for first in selected if first.quality is not None]
        return Speech(
            audio=self._joined(parts, [samples for _, _, samples in decoded]),
            codes=torch.cat([codes for _, codes, _ in decoded]),
            truncated=any(first.truncated for first in selected),
            quality=reduce(operator.add, qualities) if qualities else None,
            incomplete=any(quality.verdict == "incomplete" for quality in qualities),
        )

    def _joined(self, parts: list[Part], waveforms: list[np.ndarray]) -> Audio:
        """Waveforms (time,) of the parts of a text, with the pauses between them. Each is marked by itself: the
        watermark's memory grows with the length."""
        if len(parts) == 1:
            return self.spoken(waveforms[0])
        rate = self.codec.sample_rate
        pieces = []
        for part, samples in zip(parts, waveforms, strict=True):
            fade = np.minimum(1, np.arange(1, len(samples) + 1) / (FADE * rate)).astype(np.float32)
            pieces.append(self.spoken(samples * fade * fade[::-1]).samples)
            pieces.append(np.zeros(round(PAUSE_AFTER[part.boundary] * rate), np.float32))
        return Audio(np.concatenate(pieces), rate)

    def spoken(self, samples: np.ndarray) -> Audio:
        """What the codec decoded, (time,) float32, as it is given away: marked, unless `watermark` is off."""
        rate = self.codec.sample_rate
        return Audio(mark(samples, rate) if self.watermark else samples, rate)

    def _warn(self, text: str, first: Selected) -> None:
        if first.truncated:
            seconds = len(first.codes) / self.codec.frame_rate
            warnings.warn(
                f"text {text[:40]!r}: no end was found, cut at {seconds:.1f} s; try another seed or a longer prompt",
                TruncatedWarning,
                stacklevel=4,
            )
        if first.quality is not None and first.quality.verdict != "complete":
            q = first.quality
            what = f"{100 * q.missing_phones:.0f} % of its phones are missing and {100 * q.wrong_frames:.0f} % of the"
            warnings.warn(
                f"text {text[:40]!r}: {what} speech is something else; try another seed, a clearer prompt, or a prompt "
                "with its text",
                IncompleteWarning if q.verdict == "incomplete" else DoubtfulWarning,
                stacklevel=4,
            )

    @torch.inference_mode()
    def stream(
        self,
        text: str,
        prompt: str | Path | Prompt | None = None,
        prompt_text: str | None = None,
        seed: int = 0,
        sampling: Sampling = Sampling(top_p=SPEECH_TOP_P),
        chunk_seconds: float = CHUNK,
    ) -> Iterator[Audio]:
        """Synthesize `text` as `synthesize` does, and yield audio while the rest is still being decoded.

        The first codebook is the one that `synthesize` samples from the same seed with one attempt. The NAR model fills
        in each chunk as it comes, with a little of what follows it in sight and what came before as its acoustic
        prompt. The codec decodes each chunk with its neighbours: the chunks of a part, put together, are what it makes
        of all codes at once, but for the watermark, which each chunk carries by itself. Text longer than `MAX_PART`
        units is streamed part by part, with pauses between them.
        """
        check_seed(seed)
        voice = self._given(prompt, prompt_text)
        for job in self._jobs([text], [voice], [seed]):
            yield from self._stream_part(text, job, sampling, chunk_seconds)
            pause = round(PAUSE_AFTER[job.part.boundary] * self.codec.sample_rate)
            if pause:
                yield Audio(np.zeros(pause, np.float32), self.codec.sample_rate)

    def _stream_part(self, text: str, job: _Job, sampling: Sampling, chunk_seconds: float) -> Iterator[Audio]:
        hop, around, given = self.codec.hop, self.codec.context, 0  # frames given away
        pieces: list[Tensor] = []
        for codes, last in self._stream_codes(text, job, sampling, chunk_seconds):
            pieces.append(codes)
            whole = torch.cat(pieces)
            ready = len(whole) if last else len(whole) - around
            if ready > given:
                left = max(0, given - around)
                left -= left % 2  # Griffin and Lim's iteration begins alike at every other frame
                samples = self.codec.decode(whole[left:])
                yield self.spoken(samples[(given - left) * hop : (ready - left) * hop])
                given = ready

    def _stream_codes(
        self, text: str, job: _Job, sampling: Sampling, chunk_seconds: float
    ) -> Iterator[tuple[Tensor, bool]]:
        """Codes (time, codebook) as they are settled, and whether they are the last."""
        voice = job.prompt
        ahead = round(AHEAD * self.codec.frame_rate)
        chunk = max(1, round(chunk_seconds * self.codec.frame_rate))
        said = voice.codes[:0]
        for spoken in engine.stream(self.ar, replace(self._request(job), seeds=[job.seed]), sampling, chunk):
            last = spoken.ended
            settled = len(spoken.codes) if last else len(spoken.codes) - ahead
            if settled <= len(said) and not last:
                continue
            before = Prompt(torch.cat((voice.codes, said)), voice.symbols)
            phonemes, acoustic = self._nar_inputs(before, job.symbols, job.part.symbols, self.nar_prompt_frames)
            rest = spoken.codes[len(said) :]
            new = self._fill_in([phonemes], [acoustic], [rest], [job.seed], NARSampling())[0][: settled - len(said)]
            said = torch.cat((said, new))
            if last:
                self._warn(text, Selected(spoken.codes, spoken.truncated))
            yield new, last

    def _request(self, job: _Job) -> Request:
        """What the engine decodes for a job; its seeds are still to be given."""
        prefix = self._prefix(job.prompt)
        lower, upper = self._bounds(job.part.symbols, job.prompt, prefix)
        return Request(torch.tensor(self.vocabulary.encode(job.symbols)), prefix, upper, [], lower)

    def _bounds(self, target: list[str], prompt: Prompt, prefix: Tensor) -> tuple[int, int]:
        """Fewest and most new frames: a fast speaker's, and a slow one's or what the models have positions for."""
        rate = self.codec.frame_rate
        upper = round((self.units.length(target) * MAX_SECONDS_PER_UNIT + MAX_SECONDS_MORE) * rate)
        room = [most - len(prefix) for most in (self.ar.max_frames, self.nar.max_frames) if most is not None]
        if min(room, default=1) < 1:
            raise UserError("the prompt is longer than the model has positions for; give about 3 seconds")
        upper = min(upper, *room) if room else upper
        lower = round((self.units.phones(target) * MIN_SECONDS_PER_PHONE + MIN_SECONDS) * rate)
        if prompt.symbols == []:  # a part of the text is in the prompt
            lower -= len(prompt.codes)
        return min(max(1, lower), upper), upper

    def _prefix(self, prompt: Prompt) -> Tensor:
        """The AR model's prefix: the prompt's first codebook, its oldest frames cut so that G divides the length."""
        first = prompt.codes[:, 0]
        first = first[len(first) % self.ar.group_size :]
        return first if prompt.symbols is not None else self.ar.voice_prefix(first[None])[0]

    def _nar_inputs(self, prompt: Prompt, symbols: list[str], target: list[str], longest: int) -> tuple[Tensor, Tensor]:
        """The NAR model's text ids and acoustic prompt.

        A prompt of more than `longest` frames is cut to its middle, which gives the voice alone: the text is the
        target's then.
        """
        spare = max(0, len(prompt.codes) - longest)
        voice = prompt.codes[spare // 2 :][:longest]
        return torch.tensor(self.vocabulary.encode(target if spare else symbols)), voice

    def _fill_in(
        self,
        phonemes: list[Tensor],
        prompts: list[Tensor],
        first: list[Tensor],
        seeds: list[int],
        sampling: NARSampling,
    ) -> list[Tensor]:
        """All codebooks of each row, the first one given."""
        device = self.nar.phoneme_embedding.weight.device
        text, prompt, target = (_padded(rows, device) for rows in (phonemes, prompts, first))
        noise = None
        if sampling.temperature:
            generators = [torch.Generator().manual_seed(NAR_SEED + seed) for seed in seeds]
            drawn = [torch.rand(len(f), 8, generator=g) for f, g in zip(first, generators, strict=True)]
            noise = pad_sequence(drawn, batch_first=True).to(device)
        if device.type == "cpu":
            # Utterance by utterance: with the shapes that it has alone each gets the same codes in any batch, and a
            # pass over many positions is no faster in a batch.
            return [
                self._fill_in_one(row, sampling, None if noise is None else noise[index : index + 1, : len(row[2])])
                for index, row in enumerate(zip(phonemes, prompts, first, strict=True))
            ]
        codes = self.nar.generate(*text, *prompt, *target, sampling, noise).cpu()
        return [item[: len(row)] for item, row in zip(codes, first, strict=True)]

    def _fill_in_one(self, row: tuple[Tensor, Tensor, Tensor], sampling: NARSampling, noise: Tensor | None) -> Tensor:
        """All codebooks (time, codebook) of one utterance on the CPU, from its text, prompt and first codebook."""
        text, prompt, target = (_padded([part], torch.device("cpu")) for part in row)
        return self.nar.generate(*text, *prompt, *target, sampling, noise)[0]


def _padded(rows: list[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows padded on the right, and their lengths."""
    return pad_sequence(rows, batch_first=True).to(device), torch.tensor([len(row) for row in rows]).to(device)


def load(
    name: str | Path,
    codec_dir: str | Path | None = None,
    device: str = "cpu",
    decoder: str | None = None,
    dtype: str = "float32",
    compiled: bool | None = None,
    watermark: bool = True,
) -> TTS:
    """A trained model from its run directory, or a bundled one by name. Raises UserError when it cannot be had.

    codec_dir: where the weights of a pretrained codec and decoder lie
    decoder:   "vocos" turns EnCodec's codes into speech, as in VALL-E 2; None: the codec itself
    dtype:     of the weights: float32, bfloat16, int8 (on a CPU), or auto: the fastest that this machine computes
               correctly. float32 is the default since it gives nearly the same logits on every machine
    compiled:  take the AR model's steps by code compiled for this machine: by its C++ compiler for the CPU, by
               `torch.compile` for a GPU; it is saved in `~/.cache/valle`. None: on a CPU that has a compiler
    watermark: an inaudible mark in all speech, which `valle-eval watermark` finds
    """
    check_device(device)
    directory = model_directory(name)
    paths = {kind: find_checkpoint(directory, kind) for kind in ("ar", "nar")}
    ar, h = load_model(paths["ar"])
    nar, other = load_model(paths["nar"])
    if not isinstance(ar, AR) or not isinstance(nar, NAR):
        raise UserError(f"{directory}: expected an AR model in {paths['ar']} and a NAR model in {paths['nar']}")
    for key in ("codec", "vocabulary", "language", "bpe"):
        if h[key] != other[key]:
            raise UserError(f"{directory}: the AR and the NAR model differ in {key}; train both on the same tokens")
    return TTS(
        pack(ar, dtype, device, compiled),
        pack(nar, dtype, device),
        round(max(other["prompt_seconds"], other["max_prompt_seconds"]) * other["frame_rate"]),
        codec.load(h["codec"], codec_dir, decoder),
        Vocabulary(list(h["vocabulary"])),
        TextUnits(h["language"], h["bpe"]),
        watermark,
    )

"""Text and a voice prompt in, speech out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from valle import codec
from valle.audio import Audio
from valle.codec import Codec
from valle.errors import UserError
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.sampling import SPEECH_TOP_P, NARSampling, Sampling
from valle.synthesis import engine
from valle.synthesis.checkpoint import find_checkpoint, load_model, model_directory
from valle.synthesis.engine import Generated, Request, generate
from valle.synthesis.packing import pack
from valle.synthesis.prompt import Prompt, read_prefix, read_prompt
from valle.synthesis.prompt_text import warn_of_other_text
from valle.synthesis.reading import pauses_cut, phones_of, spliced
from valle.synthesis.voices import DEFAULT as DEFAULT_VOICE
from valle.synthesis.voices import find_voice
from valle.synthesis.watermark import mark
from valle.text import TextUnits, Vocabulary, normalize

MAX_LENGTH = 600  # phonemes or letters of one utterance, about 45 seconds
SECONDS_PER_PHONEME, SECONDS_MORE = 0.2, 1.0  # the length bound: three times as slow as usual speech
ATTEMPTS = 5  # draws of which the best is kept, where that can be told: egs/bundled/README.md
CHUNK, AHEAD = 0.5, 0.1  # seconds: of a streamed chunk; that the NAR model sees beyond it
# What parts the NAR model's draws, and further attempts, from the AR model's first. Generators hear 32 bits of a seed.
NAR_SEED, ATTEMPT_SEED = 2**31, 1_000_003


class TruncatedWarning(UserWarning):
    """The end mark did not come before the length bound; the speech was cut there."""


@dataclass
class Speech:
    """One synthesized utterance: audio, codes (time, codebook), and whether the length bound cut it."""

    audio: Audio
    codes: Tensor
    truncated: bool


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
        """Encode a bundled voice as a prompt. Raises UserError when there is none of that name.

        Its text is left out for models of another language.
        """
        voice = find_voice(name)
        return self.prompt(voice.recording, voice.text if self.units.language[:2] == voice.language[:2] else None)

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
        """Text units of each text. Raises UserError for text that cannot be spoken, or is too long."""
        found = self.units([normalize(text, self.units.language) for text in texts])
        for text, symbols in zip(texts, found, strict=True):
            if self.units.length(symbols) > MAX_LENGTH:
                raise UserError(
                    f"text {text[:30]!r}...: {self.units.length(symbols)} phonemes are too many for one utterance "
                    f"(at most {MAX_LENGTH}); give it sentence by sentence with --text-file"
                )
            self.vocabulary.encode(symbols)
        return found

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
        """Say each text in its prompt's voice; `candidates` draws of a text stand next to each other in the result.

        attempts: so many draws of the AR model for each candidate, of which what says the text best by its codes is
            kept (`valle.synthesis.reading`). None: `ATTEMPTS` where a codec's first codes stand for phones and the text
            is phonemes, else 1
        max_batch_tokens: bound on what is decoded at once, see `generate` of the engine; None: everything
        """
        attempts = attempts or (ATTEMPTS if self.codec.phones is not None and self.units.bpe is None else 1)
        targets = self.symbols(texts)
        symbols = [self.units.join(p.symbols or [], t) for p, t in zip(prompts, targets, strict=True)]
        ids = [torch.tensor(self.vocabulary.encode(row)) for row in symbols]
        prefixes = [self._prefix(p) for p in prompts]
        bounds = [self._bound(t, p) for t, p in zip(targets, prefixes, strict=True)]
        requests = [
            Request(
                row, prefix, bound, [seed + c + ATTEMPT_SEED * a for c in range(candidates) for a in range(attempts)]
            )
            for row, prefix, bound, seed in zip(ids, prefixes, bounds, seeds, strict=True)
        ]
        draws = generate(self.ar, requests, sampling, max_batch_tokens)
        if attempts > 1:
            several = zip(draws, targets, prompts, strict=True)
            draws = [self._clearest(*some, attempts) for some in several]
        spoken = [item for row in draws for item in row]
        for index, item in enumerate(spoken):
            self._warn_if_truncated(texts[index // candidates], item)
        longest = self.nar_prompt_frames
        if nar_sampling.prompt_seconds is not None:
            longest = max(1, round(nar_sampling.prompt_seconds * self.codec.frame_rate))
        inputs = [self._nar_inputs(*row, longest) for row in zip(prompts, symbols, targets, strict=True)]
        rows = [row for row in range(len(texts)) for _ in range(candidates)]
        codes = self._fill_in(
            [inputs[r][0] for r in rows],
            [inputs[r][1] for r in rows],
            [item.codes for item in spoken],
            [seed + c for seed in seeds for c in range(candidates)],
            nar_sampling,
        )
        waveforms = self.codec.decode_batch(codes)
        return [
            Speech(self.spoken(samples), item, first.truncated)
            for samples, item, first in zip(waveforms, codes, spoken, strict=True)
        ]

    def _clearest(self, draws: list[Generated], target: list[str], prompt: Prompt, attempts: int) -> list[Generated]:
        """Of each `attempts` draws what says the target best, its long pauses cut.

        Raises UserError where codes cannot be read.
        """
        phones = self.codec.phones
        if phones is None or self.units.bpe is not None:
            raise UserError(f"attempts {attempts}: only phonetic codes and phonemes tell what was said; give 1")
        text = phones_of(target)
        before = prompt.codes[: len(prompt.codes) if prompt.symbols == [] else 0, 0]  # a beginning of the target
        clearest = []
        for start in range(0, len(draws), attempts):
            some = draws[start : start + attempts]
            codes = [torch.cat((before, draw.codes)) for draw in some]
            said = [phones[row].numpy() for row in codes]
            pieces = spliced(said, text, self.codec.frame_rate, len(before))
            kept = torch.cat([codes[draw][begin:end] for draw, begin, end in pieces])[len(before) :]
            kept = kept[pauses_cut(phones[kept].numpy(), self.codec.frame_rate)]
            clearest.append(Generated(kept, some[pieces[-1][0]].truncated))
        return clearest

    def spoken(self, samples: np.ndarray) -> Audio:
        """What the codec decoded, (time,) float32, as it is given away: marked, unless `watermark` is off."""
        rate = self.codec.sample_rate
        return Audio(mark(samples, rate) if self.watermark else samples, rate)

    def _warn_if_truncated(self, text: str, item: Generated) -> None:
        if item.truncated:
            seconds = len(item.codes) / self.codec.frame_rate
            warnings.warn(
                f"text {text[:40]!r}: no end was found, cut at {seconds:.1f} s; try another seed or a longer prompt",
                TruncatedWarning,
                stacklevel=3,
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
        """Say `text` as `synthesize` does, and give audio away while the rest is still being spoken.

        The first codebook is the one that `synthesize` draws from the same seed in one attempt. The NAR model fills in
        each chunk as it comes, with a little of what follows it in sight and what was said before as its acoustic
        prompt. The codec decodes each chunk with its neighbours: the chunks, put together, are what it makes of all
        codes at once, but for the watermark, which each chunk carries by itself.
        """
        voice = self._given(prompt, prompt_text)
        hop, around, given = self.codec.hop, self.codec.context, 0  # frames given away
        pieces: list[Tensor] = []
        for codes, last in self._stream_codes(text, voice, seed, sampling, chunk_seconds):
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
        self, text: str, voice: Prompt, seed: int, sampling: Sampling, chunk_seconds: float
    ) -> Iterator[tuple[Tensor, bool]]:
        """Codes (time, codebook) as they are settled, and whether they are the last."""
        target = self.symbols([text])[0]
        both = self.units.join(voice.symbols or [], target)
        prefix = self._prefix(voice)
        request = Request(torch.tensor(self.vocabulary.encode(both)), prefix, self._bound(target, prefix), [seed])
        ahead = round(AHEAD * self.codec.frame_rate)
        chunk = max(1, round(chunk_seconds * self.codec.frame_rate))
        said = voice.codes[:0]
        for spoken in engine.stream(self.ar, request, sampling, chunk):
            last = spoken.ended
            settled = len(spoken.codes) if last else len(spoken.codes) - ahead
            if settled <= len(said) and not last:
                continue
            before = Prompt(torch.cat((voice.codes, said)), voice.symbols)
            phonemes, acoustic = self._nar_inputs(before, both, target, self.nar_prompt_frames)
            rest = spoken.codes[len(said) :]
            new = self._fill_in([phonemes], [acoustic], [rest], [seed], NARSampling())[0][: settled - len(said)]
            said = torch.cat((said, new))
            if last:
                self._warn_if_truncated(text, spoken)
            yield new, last

    def _bound(self, target: list[str], prefix: Tensor) -> int:
        """Frames after which speech is cut: a slow speaker's, or what the models have positions for."""
        bound = round((self.units.length(target) * SECONDS_PER_PHONEME + SECONDS_MORE) * self.codec.frame_rate)
        room = [most - len(prefix) for most in (self.ar.most_frames, self.nar.most_frames) if most is not None]
        if min(room, default=1) < 1:
            raise UserError("the prompt is longer than the model has positions for; give about 3 seconds")
        return min(bound, *room) if room else bound

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
        codes = self.nar.generate(*text, *prompt, *target, sampling, noise).cpu()
        return [item[: len(row)] for item, row in zip(codes, first, strict=True)]


def _padded(rows: list[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows padded on the right, and their lengths."""
    return pad_sequence(rows, batch_first=True).to(device), torch.tensor([len(row) for row in rows]).to(device)


def load(
    name: str | Path,
    codec_dir: str | Path | None = None,
    device: str = "cpu",
    decoder: str | None = None,
    dtype: str = "float32",
    compiled: bool = False,
    watermark: bool = True,
) -> TTS:
    """A trained model from its run directory, or a bundled one by name. Raises UserError when it cannot be had.

    codec_dir: where the weights of a pretrained codec and decoder lie
    decoder:   "vocos" turns EnCodec's codes into speech, as in VALL-E 2; None: the codec itself
    dtype:     of the weights: float32, bfloat16, or int8 (on a CPU)
    compiled:  take the AR model's steps by code compiled for this machine: by its C++ compiler for the CPU, by
               `torch.compile` for a GPU; it is kept in `~/.cache/valle`
    watermark: an inaudible mark in all speech, which `valle-eval watermark` finds
    """
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
        round(max(other["prompt_seconds"], other["prompt_seconds_most"]) * other["frame_rate"]),
        codec.load(h["codec"], codec_dir, decoder),
        Vocabulary(list(h["vocabulary"])),
        TextUnits(h["language"], h["bpe"]),
        watermark,
    )

"""Text and a voice prompt in, speech out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from valle import audio, codec
from valle.audio import Audio
from valle.codec import Codec
from valle.errors import UserError
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.sampling import SPEECH_TOP_P, Sampling
from valle.synthesis.checkpoint import find_checkpoint, load_model, model_directory
from valle.synthesis.engine import generate
from valle.text import Vocabulary, normalize, phonemize

MIN_PROMPT, MAX_PROMPT, VOICE_PROMPT = 0.5, 30.0, 3.0  # seconds; the last: what is used of a prompt without text
SILENCE = -60.0  # decibels under full scale
MAX_SYMBOLS = 600  # phoneme symbols of one utterance, about 45 seconds
SECONDS_PER_SYMBOL, SECONDS_MORE = 0.2, 1.0  # the length bound: three times as slow as usual speech


class TruncatedWarning(UserWarning):
    """The end mark did not come before the length bound; the speech was cut there."""


@dataclass
class Prompt:
    """A voice: its codes, and its phonemes when its text was given.

    codes: (time, codebook); symbols: phonemes of the prompt's text, None when it was left out
    """

    codes: Tensor
    symbols: list[str] | None


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
    """

    ar: AR
    nar: NAR
    nar_prompt_frames: int
    codec: Codec
    vocabulary: Vocabulary
    language: str

    def prompt(self, recording: str | Path, text: str | None = None) -> Prompt:
        """Read a voice prompt. Raises UserError when it is too short, too long, silent, or not a recording."""
        sound = audio.read(recording, self.codec.sample_rate, max_duration=MAX_PROMPT)
        if sound.duration < MIN_PROMPT:
            raise UserError(f"{recording}: lasts {sound.duration:.3f} s; a prompt needs {MIN_PROMPT} s, better 3 s")
        if audio.loudness(sound.samples) < SILENCE:
            raise UserError(f"{recording}: is silent; give a recording of a voice")
        if text is not None:
            return Prompt(self.codec.encode(sound.samples, sound.sample_rate), self.phonemes([text])[0])
        samples = sound.samples[: round(VOICE_PROMPT * sound.sample_rate)]
        return Prompt(self.codec.encode(samples, sound.sample_rate), None)

    def phonemes(self, texts: list[str]) -> list[list[str]]:
        """Phoneme symbols of each text. Raises UserError for text that cannot be spoken, or is too long."""
        found = phonemize([normalize(text, self.language) for text in texts], self.language)
        for text, symbols in zip(texts, found, strict=True):
            if len(symbols) > MAX_SYMBOLS:
                raise UserError(
                    f"text {text[:30]!r}...: {len(symbols)} phonemes are too many for one utterance (at most "
                    f"{MAX_SYMBOLS}); give it sentence by sentence with --text-file"
                )
            self.vocabulary.encode(symbols)
        return found

    def synthesize(
        self,
        text: str,
        prompt: str | Path | Prompt,
        prompt_text: str | None = None,
        seed: int = 0,
        sampling: Sampling = Sampling(top_p=SPEECH_TOP_P),
    ) -> Audio:
        """Say `text` in the prompt's voice.

        prompt:      a recording of 0.5 to 30 seconds, or what `self.prompt` made of it
        prompt_text: what the recording says; when left out, its first 3 seconds give the voice alone
        seed:        the same seed gives the same samples on one device and version

        Warns (TruncatedWarning) when the length bound was reached. Raises UserError for bad input.
        """
        voice = prompt if isinstance(prompt, Prompt) else self.prompt(prompt, prompt_text)
        return self.synthesize_batch([text], [voice], [seed], sampling)[0].audio

    @torch.inference_mode()
    def synthesize_batch(
        self,
        texts: list[str],
        prompts: list[Prompt],
        seeds: list[int],
        sampling: Sampling = Sampling(top_p=SPEECH_TOP_P),
        candidates: int = 1,
    ) -> list[Speech]:
        """Say each text in its prompt's voice; `candidates` draws of a text stand next to each other in the result."""
        targets = self.phonemes(texts)
        symbols = [
            [*(p.symbols or []), *([" "] if p.symbols else []), *t] for p, t in zip(prompts, targets, strict=True)
        ]
        ids = [torch.tensor(self.vocabulary.encode(row)) for row in symbols]
        bounds = [
            round((len(row) * SECONDS_PER_SYMBOL + SECONDS_MORE) * self.codec.frame_rate)
            // self.ar.group_size
            * self.ar.group_size
            for row in targets
        ]
        prefixes = [self._prefix(p) for p in prompts]
        spoken = generate(self.ar, ids, prefixes, bounds, seeds, sampling, candidates)
        for index, item in enumerate(spoken):
            if item.truncated:
                seconds = len(item.codes) / self.codec.frame_rate
                warnings.warn(
                    f"text {texts[index // candidates][:40]!r}: no end was found, cut at {seconds:.1f} s; "
                    "try another seed or a longer prompt",
                    TruncatedWarning,
                    stacklevel=2,
                )
        inputs = [self._nar_inputs(p, both, target) for p, both, target in zip(prompts, symbols, targets, strict=True)]
        rows = [row for row in range(len(texts)) for _ in range(candidates)]
        codes = self._fill_in(
            [inputs[r][0] for r in rows], [inputs[r][1] for r in rows], [item.codes for item in spoken]
        )
        waveforms = self.codec.decode_batch(codes)
        return [
            Speech(Audio(samples, self.codec.sample_rate), item, first.truncated)
            for samples, item, first in zip(waveforms, codes, spoken, strict=True)
        ]

    def _prefix(self, prompt: Prompt) -> Tensor:
        """The AR model's prefix: the prompt's first codebook, its oldest frames cut so that G divides the length."""
        first = prompt.codes[:, 0]
        first = first[len(first) % self.ar.group_size :]
        return first if prompt.symbols is not None else self.ar.voice_prefix(first[None])[0]

    def _nar_inputs(self, prompt: Prompt, symbols: list[str], target: list[str]) -> tuple[Tensor, Tensor]:
        """The NAR model's phoneme ids and acoustic prompt.

        A prompt longer than those it was trained with is cut to its middle, which gives the voice alone: the phonemes
        are the target's then.
        """
        spare = max(0, len(prompt.codes) - self.nar_prompt_frames)
        voice = prompt.codes[spare // 2 :][: self.nar_prompt_frames]
        return torch.tensor(self.vocabulary.encode(target if spare else symbols)), voice

    def _fill_in(self, phonemes: list[Tensor], prompts: list[Tensor], first: list[Tensor]) -> list[Tensor]:
        """Codebooks 1 .. 7 of each row."""
        device = self.nar.phoneme_embedding.weight.device
        arguments = []
        for rows in (phonemes, prompts, first):
            arguments += [
                pad_sequence(rows, batch_first=True).to(device),
                torch.tensor([len(r) for r in rows]).to(device),
            ]
        codes = self.nar.generate(*arguments).cpu()
        return [item[: len(row)] for item, row in zip(codes, first, strict=True)]


def load(name: str | Path, codec_dir: str | Path | None = None, device: str = "cpu") -> TTS:
    """A trained model from its run directory, or a bundled one by name. Raises UserError when it cannot be had."""
    directory = model_directory(name)
    paths = {kind: find_checkpoint(directory, kind) for kind in ("ar", "nar")}
    ar, h = load_model(paths["ar"])
    nar, other = load_model(paths["nar"])
    if not isinstance(ar, AR) or not isinstance(nar, NAR):
        raise UserError(f"{directory}: expected an AR model in {paths['ar']} and a NAR model in {paths['nar']}")
    for key in ("codec", "vocabulary", "language"):
        if h[key] != other[key]:
            raise UserError(f"{directory}: the AR and the NAR model differ in {key}; train both on the same tokens")
    return TTS(
        ar.to(device),
        nar.to(device),
        round(other["prompt_seconds"] * other["frame_rate"]),
        codec.load(h["codec"], codec_dir),
        Vocabulary(list(h["vocabulary"])),
        h["language"],
    )

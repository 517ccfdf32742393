"""When each phone of an English recording is spoken: forced alignment by pocketsphinx, whose model comes along."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from valle import audio
from valle.data import kaldi
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.text import normalize, phonemize
from valle.text.phones import ARPABET, PHONE_CLASSES, UNKNOWN, phone_class

SAMPLE_RATE, FRAME_RATE = 16_000, 100  # hertz; of the recogniser


class Aligner:
    """Raises UserError when pocketsphinx is not installed."""

    def __init__(self) -> None:
        try:
            from pocketsphinx import Config, Decoder
        except ImportError as error:
            raise UserError("alignment needs pocketsphinx: pip install 'valle[eval]'") from error
        self.decoder: Any = Decoder(Config(loglevel="FATAL", lm=None))
        self.pronounce = functools.cache(self._pronounce)

    def _pronounce(self, word: str) -> None:
        """Teach the recogniser a word that its dictionary lacks, as espeak-ng says it."""
        if self.decoder.lookup_word(word) is not None:
            return
        names = {ours: name.upper() for name, ours in ARPABET.items() if ours and len(name) < 3}
        phones = [names[_nearest(s)] for s in phonemize([word])[0] if _nearest(s) in names]
        self.decoder.add_word(word, " ".join(phones or ["AH"]), True)

    def align(self, utterance: Utterance) -> Utterance:
        """The utterance with its phones, as espeak-ng writes them; without where it does not say its text."""
        sound = audio.read(utterance.path, SAMPLE_RATE, start=utterance.start, end=utterance.end)
        samples = (np.clip(sound.samples, -1, 1) * 32767).astype(np.int16).tobytes()
        words = "".join(c if c.isalpha() or c == "'" else " " for c in normalize(utterance.text).lower()).split()
        words = [word for word in words if word.strip("'")]
        for word in words:
            self.pronounce(word)
        try:
            self.decoder.set_align_text(" ".join(words))
            self._hear(samples)
            self.decoder.set_alignment()  # a second pass, to the phone
            self._hear(samples)
            found = list(self.decoder.get_alignment().phones())
        except RuntimeError:
            return replace(utterance, phones=None)
        phones = tuple((ARPABET.get(phone.name.lower(), ""), phone.start / FRAME_RATE) for phone in found)
        return replace(utterance, phones=phones if any(phone for phone, _ in phones) else None)

    def _hear(self, samples: bytes) -> None:
        self.decoder.start_utt()
        self.decoder.process_raw(samples, full_utt=True)
        self.decoder.end_utt()


def _nearest(symbol: str) -> str:
    """A phone of the ARPABET for one of espeak-ng's."""
    index = phone_class(symbol)
    return PHONE_CLASSES[index] if index != UNKNOWN else ""


def align(directory: Path) -> tuple[int, int]:
    """Write phones.ctm of a data directory; returns how many utterances say their text, and how many there are. Those
    that do not stay without phones."""
    aligner = Aligner()
    utterances = [aligner.align(u) for u in track(kaldi.with_durations(kaldi.read(directory)), "aligning")]
    kaldi.write(directory, utterances)
    aligned = sum(u.phones is not None for u in utterances)
    if not aligned:
        (directory / "phones.ctm").unlink(missing_ok=True)  # of before
    return aligned, len(utterances)

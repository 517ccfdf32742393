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
SIMILAR = 0.5  # similarity of what is recognized to the text, below which it is another text: benchmarks/alignment.py


class Aligner:
    """Raises UserError when pocketsphinx is not installed."""

    def __init__(self) -> None:
        try:
            from pocketsphinx import Config, Decoder
        except ImportError as error:
            raise UserError("alignment needs pocketsphinx: pip install 'valle[eval]'") from error
        self.decoder: Any = Decoder(Config(loglevel="FATAL", lm=None))
        self.recognizer: Any = Decoder(Config(loglevel="FATAL"))
        self.pronounce = functools.cache(self._pronounce)

    def _pronounce(self, word: str) -> None:
        """Teach the recogniser a word that its dictionary lacks, as espeak-ng says it."""
        if self.decoder.lookup_word(word) is not None:
            return
        names = {ours: name.upper() for name, ours in ARPABET.items() if ours and len(name) < 3}
        phones = [names[_nearest(s)] for s in phonemize([word])[0] if _nearest(s) in names]
        self.decoder.add_word(word, " ".join(phones or ["AH"]), True)

    def align(self, utterance: Utterance) -> Utterance:
        """The utterance with its phones, as espeak-ng writes them; without where its text does not fit its length.

        Nearly any text of the right length fits: `says_its_text` tells another text.
        """
        samples = _samples(utterance)
        words = "".join(c if c.isalpha() or c == "'" else " " for c in normalize(utterance.text).lower()).split()
        words = [word for word in words if word.strip("'")]
        for word in words:
            self.pronounce(word)
        try:
            self.decoder.set_align_text(" ".join(words))
            _decode(self.decoder, samples)
            self.decoder.set_alignment()  # a second pass, to the phone
            _decode(self.decoder, samples)
            found = list(self.decoder.get_alignment().phones())
        except RuntimeError:
            return replace(utterance, phones=None)
        phones = tuple((ARPABET.get(phone.name.lower(), ""), phone.start / FRAME_RATE) for phone in found)
        return replace(utterance, phones=phones if any(phone for phone, _ in phones) else None)

    def says_its_text(self, utterance: Utterance) -> bool:
        """Whether what is recognized without knowing the text is similar enough to it."""
        return similarity(self.recognize(utterance), utterance.text) >= SIMILAR

    def recognize(self, utterance: Utterance) -> list[str]:
        """The phones of what is recognized in the recording, without knowing the text."""
        _decode(self.recognizer, _samples(utterance))
        best = self.recognizer.hyp()
        return _phones(best.hypstr) if best is not None and best.hypstr.strip() else []


def similarity(recognized: list[str], text: str) -> float:
    """How similar recognized phones are to those of a text: 1 less the phone error rate."""
    import jiwer

    expected = _phones(normalize(text))
    if not expected or not recognized:
        return 0.0
    errors = jiwer.process_words(" ".join(expected), " ".join(recognized))
    wrong = errors.substitutions + errors.deletions + errors.insertions
    return 1 - wrong / max(len(expected), len(recognized))


def _samples(utterance: Utterance) -> bytes:
    """Its samples at `SAMPLE_RATE`, 16 bits."""
    sound = audio.read(utterance.path, SAMPLE_RATE, start=utterance.start, end=utterance.end)
    return (np.clip(sound.samples, -1, 1) * 32767).astype(np.int16).tobytes()


def _decode(decoder: Any, samples: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(samples, full_utt=True)
    decoder.end_utt()


def _phones(words: str) -> list[str]:
    """Classes of a text's phones, as words that can be compared."""
    classes = [phone_class(symbol) for symbol in phonemize([words])[0]]
    return [f"p{index}" for index in classes if index > 0]


def _nearest(symbol: str) -> str:
    """A phone of the ARPABET for one of espeak-ng's."""
    index = phone_class(symbol)
    return PHONE_CLASSES[index] if index != UNKNOWN else ""


def align(directory: Path) -> tuple[int, int]:
    """Write phones.ctm of a data directory; returns how many utterances say their text, and how many there are. Those
    that do not stay without phones."""
    aligner = Aligner()
    utterances = [
        aligner.align(u) if aligner.says_its_text(u) else replace(u, phones=None)
        for u in track(kaldi.with_durations(kaldi.read(directory)), "aligning")
    ]
    kaldi.write(directory, utterances)
    aligned = sum(u.phones is not None for u in utterances)
    if not aligned:
        (directory / "phones.ctm").unlink(missing_ok=True)  # of before
    return aligned, len(utterances)

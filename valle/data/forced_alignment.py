"""Forced alignment of English recordings with pocketsphinx and its bundled acoustic model."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from valle import audio
from valle.data import kaldi
from valle.data.utterance import Utterance
from valle.optional import require
from valle.text import normalize, phonemize
from valle.text.phones import ARPABET, PHONE_CLASSES, UNKNOWN, phone_class

track = require("rich.progress", "train").track

# Hertz, of pocketsphinx's acoustic model.
SAMPLE_RATE = 16_000
FRAME_RATE = 100
# Similarity of the recognized phones to those of the transcript below which the recording has another text.
# benchmarks/alignment.py measures how well it separates the two.
MIN_SIMILARITY = 0.5


class Aligner:
    """Aligns recordings with their transcripts, and detects recordings of another text.

    Raises:
        UserError: pocketsphinx is not installed.
    """

    def __init__(self) -> None:
        pocketsphinx = require("pocketsphinx", extra="eval")
        # One decoder is constrained to the transcript; the other has a language model and recognizes freely.
        self._aligner: Any = pocketsphinx.Decoder(pocketsphinx.Config(loglevel="FATAL", lm=None))
        self._recognizer: Any = pocketsphinx.Decoder(pocketsphinx.Config(loglevel="FATAL"))
        self._add_word = functools.cache(self._add_missing_word)

    def align(self, utterance: Utterance) -> Utterance:
        """Align an utterance with its transcript.

        Nearly every transcript of a plausible length can be aligned: use `matches_transcript` to detect another text.

        Args:
            utterance: Utterance in English.

        Returns:
            The utterance with phones in espeak-ng's notation, or without phones if the transcript does not fit the
            length of the recording.

        Raises:
            UserError: The audio cannot be read, or the transcript cannot be normalized.
        """
        alignment = self._alignment(utterance)
        if alignment is None:
            return replace(utterance, phones=None)
        found = list(alignment.phones())
        phones = tuple((ARPABET.get(phone.name.lower(), ""), phone.start / FRAME_RATE) for phone in found)
        return replace(utterance, phones=phones if any(phone for phone, _ in phones) else None)

    def align_words(self, utterance: Utterance) -> list[tuple[str, float, float]] | None:
        """Return the words of an utterance with the seconds of their beginning and end.

        Args:
            utterance: Utterance in English.

        Returns:
            The normalized words in small letters; None if the transcript does not fit the length of the recording.

        Raises:
            UserError: See `align`.
        """
        alignment = self._alignment(utterance)
        if alignment is None:
            return None
        words = []
        for word in alignment.words():
            if not word.name.startswith("<"):
                # A second pronunciation of a word is named "word(2)".
                name = word.name.partition("(")[0]
                words.append((name, word.start / FRAME_RATE, (word.start + word.duration) / FRAME_RATE))
        return words

    def _alignment(self, utterance: Utterance) -> Any | None:
        """Return pocketsphinx's alignment of an utterance with its transcript, if there is one."""
        samples = _pcm(utterance)
        text = normalize(utterance.text).lower()
        words = "".join(c if c.isalpha() or c == "'" else " " for c in text).split()
        words = [word for word in words if word.strip("'")]
        for word in words:
            self._add_word(word)
        try:
            self._aligner.set_align_text(" ".join(words))
            _decode(self._aligner, samples)
            # The first pass aligns words; the second one, within these, phones.
            self._aligner.set_alignment()
            _decode(self._aligner, samples)
            return self._aligner.get_alignment()
        except RuntimeError:
            return None

    def matches_transcript(self, utterance: Utterance) -> bool:
        """Whether the phones recognized without the transcript are similar to those of the transcript."""
        return similarity(self.recognize(utterance), utterance.text) >= MIN_SIMILARITY

    def recognize(self, utterance: Utterance) -> list[str]:
        """Recognize the phones of a recording without using its transcript.

        Returns:
            Names of phone classes, as `similarity` compares them; none if nothing is recognized.
        """
        _decode(self._recognizer, _pcm(utterance))
        best = self._recognizer.hyp()
        return _phone_names(best.hypstr) if best is not None and best.hypstr.strip() else []

    def _add_missing_word(self, word: str) -> None:
        """Add a word to the aligner's dictionary, with espeak-ng's pronunciation, unless it is there."""
        if self._aligner.lookup_word(word) is not None:
            return
        arpabet = {ipa: name.upper() for name, ipa in ARPABET.items() if ipa and len(name) < 3}
        nearest = [_nearest_phone(symbol) for symbol in phonemize([word])[0]]
        phones = [arpabet[phone] for phone in nearest if phone in arpabet]
        # The decoder refuses a word without phones.
        self._aligner.add_word(word, " ".join(phones or ["AH"]), True)


def similarity(recognized: list[str], text: str) -> float:
    """Compare recognized phones with those of a text.

    Args:
        recognized: Names of phone classes, see `Aligner.recognize`.
        text: Transcript.

    Returns:
        1 minus the number of phone errors divided by the length of the longer sequence; 0 if one is empty.
    """
    import jiwer

    expected = _phone_names(normalize(text))
    if not expected or not recognized:
        return 0.0
    errors = jiwer.process_words(" ".join(expected), " ".join(recognized))
    count = errors.substitutions + errors.deletions + errors.insertions
    return 1 - count / max(len(expected), len(recognized))


def align(directory: Path) -> tuple[int, int]:
    """Write phones.ctm of a data directory.

    Args:
        directory: Data directory of English recordings. Utterances whose recording has another text than the
            transcript get no phones.

    Returns:
        The number of aligned utterances, and the number of all utterances.

    Raises:
        UserError: pocketsphinx is not installed, or the directory or an audio file cannot be read.
    """
    aligner = Aligner()
    utterances = []
    for utterance in track(kaldi.with_durations(kaldi.read(directory)), "aligning"):
        if aligner.matches_transcript(utterance):
            utterances.append(aligner.align(utterance))
        else:
            utterances.append(replace(utterance, phones=None))
    kaldi.write(directory, utterances)
    return sum(u.phones is not None for u in utterances), len(utterances)


def _pcm(utterance: Utterance) -> bytes:
    """The samples of an utterance at `SAMPLE_RATE`, as signed 16-bit integers."""
    waveform = audio.read(utterance.path, SAMPLE_RATE, start=utterance.start, end=utterance.end)
    return (np.clip(waveform.samples, -1, 1) * 32767).astype(np.int16).tobytes()


def _decode(decoder: Any, samples: bytes) -> None:
    """Run a decoder over a whole utterance."""
    decoder.start_utt()
    decoder.process_raw(samples, full_utt=True)
    decoder.end_utt()


def _phone_names(words: str) -> list[str]:
    """The phone classes of a text as words, which is what jiwer compares."""
    classes = [phone_class(symbol) for symbol in phonemize([words])[0]]
    return [f"p{index}" for index in classes if index > 0]


def _nearest_phone(symbol: str) -> str:
    """The ARPABET phone, in IPA, of the class of one of espeak-ng's symbols; "" if it has none."""
    index = phone_class(symbol)
    return PHONE_CLASSES[index] if index != UNKNOWN else ""

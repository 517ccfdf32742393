"""Speech synthesis by espeak-ng, through the shared library in the `espeakng-loader` wheel."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import espeakng_loader
import numpy as np

# Constants of espeak-ng's speak_lib.h: of espeak_AUDIO_OUTPUT,
_SYNCHRONOUS = 2
# the options of espeak_Initialize (phoneme events, as IPA),
_PHONEME_EVENTS_IN_IPA = 1 | 2
# of espeak_EVENT_TYPE,
_LIST_TERMINATED = 0
_PHONEME = 7
# the arguments of espeak_Synth,
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
# and of espeak_PARAMETER.
_RATE = 1
_PITCH = 3
_RANGE = 4


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class EspeakVoice:
    """A voice of espeak-ng.

    Attributes:
        accent: Language tag such as "en-us" or "en-gb-scotland".
        variant: Voice variant such as "f3" or "michael".
        pitch: Pitch from 0 to 100, on espeak-ng's scale.
        pitch_range: Pitch range from 0 to 100, on espeak-ng's scale.
        rate: Words per minute.
    """

    accent: str
    variant: str
    pitch: int
    pitch_range: int
    rate: int


@dataclass(frozen=True)
class EspeakSpeech:
    """Synthesized speech.

    Attributes:
        samples: (time,) float32 in [-1, 1].
        phones: `(phone, start)` pairs: the phone in IPA, or "" for a pause, and its start in seconds.
    """

    samples: np.ndarray
    phones: tuple[tuple[str, float], ...]


class Espeak:
    """The espeak-ng library, which can be initialized once per process: use `espeak()`.

    The synthesizer has a state that one utterance leaves to the next, so that only a whole process is reproducible: the
    same utterances in the same order give the same samples in a new process.

    Attributes:
        sample_rate: Hertz of the synthesized speech.

    Raises:
        RuntimeError: The library cannot be initialized.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.sample_rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONEME_EVENTS_IN_IPA)
        if self.sample_rate <= 0:
            raise RuntimeError(f"espeak-ng could not be initialized from {data.decode()}")
        # The noise in breathy voices is seeded from the clock otherwise.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(0))
        self._chunks: list[np.ndarray] = []
        self._phones: list[tuple[str, float]] = []
        # Assigned to an attribute, because ctypes frees a callback that nothing refers to.
        self._callback = _Callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        """Collect the samples and the phones that the library passes on; returns 0 for it to continue."""
        if samples and count > 0:
            # The library reuses the memory for the next chunk.
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != _LIST_TERMINATED:
            if events[index].type == _PHONEME:
                symbol = events[index].string.decode(errors="ignore").strip("ˈˌ")
                self._phones.append((symbol, events[index].sample / self.sample_rate))
            index += 1
        return 0

    def synthesize(self, text: str, voice: EspeakVoice) -> EspeakSpeech:
        """Synthesize a text.

        Args:
            text: English text.
            voice: Voice.

        Returns:
            Speech at `sample_rate` hertz.

        Raises:
            ValueError: The library has no such voice.
            RuntimeError: The library returns no samples.
        """
        name = f"{voice.accent}+{voice.variant}"
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {name!r}")
        for parameter, value in ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._chunks.clear()
        self._phones.clear()
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        if not self._chunks:
            raise RuntimeError(f"espeak-ng returned no samples for {text!r}")
        samples = np.concatenate(self._chunks).astype(np.float32) / 32768.0
        return EspeakSpeech(samples, tuple(self._phones))


@cache
def espeak() -> Espeak:
    """The library, initialized at the first call."""
    return Espeak()

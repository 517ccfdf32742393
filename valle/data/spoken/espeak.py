"""Speech from espeak-ng, straight from the shared library in the `espeakng-loader` wheel (no external program)."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import espeakng_loader
import numpy as np

_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: AUDIO_OUTPUT_SYNCHRONOUS
_PHONEME_EVENTS_IN_IPA = 1 | 2  # options of espeak_Initialize
_PHONEME = 7  # espeak_EVENT_TYPE: espeakEVENT_PHONEME
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER


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
    """One speaker: an accent, one of espeak's voice variants, and its settings.

    accent:  an espeak language tag such as "en-us" or "en-gb-scotland"
    variant: a voice variant such as "f3" or "michael"
    pitch, pitch_range: 0 to 100, espeak's own scale
    rate:    words a minute
    """

    accent: str
    variant: str
    pitch: int
    pitch_range: int
    rate: int


@dataclass(frozen=True)
class Spoken:
    """samples: float32 in [-1, 1]; phones: each phone (IPA, "" for a pause) and the second at which it begins."""

    samples: np.ndarray
    phones: tuple[tuple[str, float], ...]


class Espeak:
    """The espeak-ng library, initialised once a process. Use `espeak()`.

    The synthesizer keeps state between utterances, so what a process speaks is repeatable as a whole: the same
    utterances in the same order from a fresh process give the same samples.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.sample_rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONEME_EVENTS_IN_IPA)
        if self.sample_rate <= 0:
            raise RuntimeError(f"espeak-ng could not be initialised from {data.decode()}")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(0))  # it seeds its breath noise from the clock
        self._chunks: list[np.ndarray] = []
        self._phones: list[tuple[str, float]] = []
        self._callback = _Callback(self._receive)  # kept: ctypes frees a callback that nothing refers to
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples, count: int, events) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type:  # the list ends with type 0
            if events[index].type == _PHONEME:
                symbol = events[index].string.decode(errors="ignore").strip("ˈˌ")
                self._phones.append((symbol, events[index].sample / self.sample_rate))
            index += 1
        return 0

    def speak(self, text: str, voice: EspeakVoice) -> Spoken:
        """Speak `text` at `self.sample_rate` hertz.

        Raises ValueError when the library knows no such voice, RuntimeError when it makes no sound.
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
            raise RuntimeError(f"espeak-ng made no sound of {text!r}")
        return Spoken(np.concatenate(self._chunks).astype(np.float32) / 32768.0, tuple(self._phones))


@cache
def espeak() -> Espeak:
    """The library, loaded at the first call."""
    return Espeak()

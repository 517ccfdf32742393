"""Speech from espeak-ng, straight from the shared library in the `espeakng-loader` wheel (no external program)."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import espeakng_loader
import numpy as np

_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: AUDIO_OUTPUT_SYNCHRONOUS
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


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


class Espeak:
    """The espeak-ng library, initialised once a process. Use `espeak()`.

    The synthesizer keeps state between utterances, so what a process speaks is repeatable as a whole: the same
    utterances in the same order from a fresh process give the same samples.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.sample_rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
        if self.sample_rate <= 0:
            raise RuntimeError(f"espeak-ng could not be initialised from {data.decode()}")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(0))  # it seeds its breath noise from the clock
        self._chunks: list[np.ndarray] = []
        self._callback = _Callback(self._receive)  # kept: ctypes frees a callback that nothing refers to
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples, count: int, _events) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def speak(self, text: str, voice: EspeakVoice) -> np.ndarray:
        """Speak `text`: float32 samples in [-1, 1] at `self.sample_rate` hertz.

        Raises ValueError when the library knows no such voice, RuntimeError when it makes no sound.
        """
        name = f"{voice.accent}+{voice.variant}"
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {name!r}")
        for parameter, value in ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._chunks.clear()
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        if not self._chunks:
            raise RuntimeError(f"espeak-ng made no sound of {text!r}")
        return np.concatenate(self._chunks).astype(np.float32) / 32768.0


@cache
def espeak() -> Espeak:
    """The library, loaded at the first call."""
    return Espeak()

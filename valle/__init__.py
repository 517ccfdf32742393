"""valle: neural codec language model text-to-speech (VALL-E and VALL-E 2).

tts = valle.load("small")
audio = tts.synthesize("Hello there.", prompt="3s.wav")
audio.save("hello.wav")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from valle import codec as codec
    from valle.audio import Audio as Audio
    from valle.errors import UserError as UserError
    from valle.synthesis import TTS as TTS
    from valle.synthesis import load as load

_LATE = {
    "Audio": ("valle.audio", "Audio"),
    "TTS": ("valle.synthesis", "TTS"),
    "UserError": ("valle.errors", "UserError"),
    "codec": ("valle.codec", None),
    "load": ("valle.synthesis", "load"),
}
__all__ = ["TTS", "Audio", "UserError", "codec", "load"]


def __getattr__(name: str) -> Any:
    """Import late: a command's `--help` should not wait for torch."""
    if name not in _LATE:
        raise AttributeError(f"module 'valle' has no attribute {name!r}")
    module, attribute = _LATE[name]
    found = importlib.import_module(module)
    return found if attribute is None else getattr(found, attribute)

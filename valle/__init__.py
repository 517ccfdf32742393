"""valle: neural codec language model text-to-speech (VALL-E and VALL-E 2).

>>> tts = valle.load("small")
>>> audio = tts.synthesize("Hello there.", prompt="3s.wav")
>>> audio.save("hello.wav")
"""

from __future__ import annotations

import gc
import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from valle import codec as codec
    from valle.audio import Audio as Audio
    from valle.errors import UserError as UserError
    from valle.models.sampling import NARSampling as NARSampling
    from valle.models.sampling import Sampling as Sampling
    from valle.synthesis import TTS as TTS
    from valle.synthesis import DoubtfulWarning as DoubtfulWarning
    from valle.synthesis import IncompleteWarning as IncompleteWarning
    from valle.synthesis import Prompt as Prompt
    from valle.synthesis import PromptWarning as PromptWarning
    from valle.synthesis import Speech as Speech
    from valle.synthesis import SynthesisOptions as SynthesisOptions
    from valle.synthesis import TruncatedWarning as TruncatedWarning
    from valle.synthesis import load as load
    from valle.synthesis.voices import Voice as Voice
    from valle.text import TextWarning as TextWarning

# The module of each public name. It is imported when the name is first used, so that a command's `--help` does not wait
# for torch.
_MODULES = {
    "TTS": "valle.synthesis",
    "Audio": "valle.audio",
    "DoubtfulWarning": "valle.synthesis",
    "IncompleteWarning": "valle.synthesis",
    "NARSampling": "valle.models.sampling",
    "Prompt": "valle.synthesis",
    "PromptWarning": "valle.synthesis",
    "Sampling": "valle.models.sampling",
    "Speech": "valle.synthesis",
    "SynthesisOptions": "valle.synthesis",
    "TextWarning": "valle.text",
    "TruncatedWarning": "valle.synthesis",
    "UserError": "valle.errors",
    "Voice": "valle.synthesis.voices",
    "load": "valle.synthesis",
}
__all__ = [
    "TTS",
    "Audio",
    "DoubtfulWarning",
    "IncompleteWarning",
    "NARSampling",
    "Prompt",
    "PromptWarning",
    "Sampling",
    "Speech",
    "SynthesisOptions",
    "TextWarning",
    "TruncatedWarning",
    "UserError",
    "Voice",
    "codec",
    "load",
]


def _import(module: str) -> Any:
    """Import a module without garbage collection.

    torch creates some hundred thousand objects that live as long as the process: passes over them free nothing and take
    a tenth of the time of `valle.load`.
    """
    collects = gc.isenabled() and gc.get_freeze_count() == 0
    if not collects:
        return importlib.import_module(module)
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        # Together they move all objects to the oldest generation without a pass over them.
        gc.freeze()
        gc.unfreeze()
        gc.enable()


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "codec":
        return _import("valle.codec")
    if name not in _MODULES:
        raise AttributeError(f"module 'valle' has no attribute {name!r}")
    return getattr(_import(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Synthesis: text and a voice prompt in, audio out."""

from valle.synthesis.loading import load
from valle.synthesis.options import SynthesisOptions
from valle.synthesis.pipeline import TTS
from valle.synthesis.prompt import Prompt, PromptWarning
from valle.synthesis.speech import DoubtfulWarning, IncompleteWarning, Speech, TruncatedWarning

__all__ = [
    "TTS",
    "DoubtfulWarning",
    "IncompleteWarning",
    "Prompt",
    "PromptWarning",
    "Speech",
    "SynthesisOptions",
    "TruncatedWarning",
    "load",
]

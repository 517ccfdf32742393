"""Synthesis: text and prompt in, audio out."""

from valle.synthesis.pipeline import TTS, Speech, TruncatedWarning, load
from valle.synthesis.prompt import Prompt, PromptWarning

__all__ = ["TTS", "Prompt", "PromptWarning", "Speech", "TruncatedWarning", "load"]

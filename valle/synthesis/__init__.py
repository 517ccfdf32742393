"""Synthesis: text and prompt in, audio out."""

from valle.synthesis.prompt import Prompt, PromptWarning
from valle.synthesis.tts import TTS, Speech, TruncatedWarning, load

__all__ = ["TTS", "Prompt", "PromptWarning", "Speech", "TruncatedWarning", "load"]

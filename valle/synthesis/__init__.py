"""Synthesis: text and prompt in, audio out."""

from valle.synthesis.tts import TTS, Prompt, Speech, TruncatedWarning, load

__all__ = ["TTS", "Prompt", "Speech", "TruncatedWarning", "load"]

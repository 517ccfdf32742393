"""Voices that users save: a recording with its text, in one safetensors file each.

The file holds the recording, so that every model can encode it with its own codec, and the codes by the codec that it
was saved with, so that this model need not.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from valle import audio
from valle.codec import Codec
from valle.errors import UserError
from valle.files import atomic_path
from valle.synthesis.prompt import MAX_PROMPT, Prompt

SUFFIX = ".safetensors"
FORMAT = "valle-voice-1"
MAX_BYTES = 20_000_000
# Of the codes of a prompt: `MAX_PROMPT` seconds at 100 hertz.
MAX_FRAMES = 3000
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class SavedVoice:
    """A voice that was saved.

    Attributes:
        name: Its name.
        text: Transcript of the recording; "" where there is none.
        language: espeak-ng language tag of the recording; None: the language of the text that is synthesized.
        consent: Note about the speaker's consent.
        problems: What is wrong with the recording, as `valle.synthesis.prompt.PromptWarning` tells.
        seconds: Duration of the recording.
        created: Time at which it was saved, as ISO 8601 in UTC.
        codec: Fingerprint of the codec of its codes.
        recording: FLAC file.
        codes: (time, codebook) codes of the prompt that the recording gives, without text and with it.
    """

    name: str
    text: str
    language: str | None
    consent: str
    problems: list[str]
    seconds: float
    created: str
    codec: str
    recording: bytes = field(repr=False)
    codes: dict[str, Tensor] = field(repr=False)

    def describe(self) -> dict[str, object]:
        """Return all but the recording and the codes."""
        return {k: v for k, v in asdict(self).items() if k not in ("recording", "codes")}

    @contextmanager
    def as_file(self) -> Iterator[Path]:
        """Write the recording to a temporary file for the duration of the block."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"{self.name}.flac"
            path.write_bytes(self.recording)
            yield path


def voices_folder() -> Path:
    """Return the folder of saved voices: `voices` in $VALLE_HOME, or in the user's folder of application data."""
    home = os.environ.get("VALLE_HOME")
    if home:
        return Path(home) / "voices"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "valle" / "voices"


def check_name(name: str) -> None:
    """Raise UserError for a name that is no file name, or could lead out of the folder."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"voice name {name!r}: use 1 to 64 letters, digits, hyphens, underscores and points, not beginning with a "
            "point"
        )


def voice_path(name: str) -> Path:
    """Return the file of a saved voice, which need not exist.

    Raises:
        UserError: The name is no name of a voice.
    """
    check_name(name)
    return voices_folder() / f"{name}{SUFFIX}"


def saved_names() -> list[str]:
    """Return the names of the saved voices, sorted."""
    folder = voices_folder()
    files = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(file.stem for file in files if file.suffix == SUFFIX and not file.name.startswith("."))


def codec_fingerprint(codec: Codec) -> str:
    """Return what tells codecs apart: a hash of their codebooks and of the codes of a test signal."""
    signal = np.random.default_rng(0).normal(0, 0.1, codec.sample_rate // 2).astype(np.float32)
    digest = hashlib.sha256(codec.codebooks.detach().cpu().float().numpy().tobytes())
    digest.update(codec.encode(signal, codec.sample_rate).numpy().tobytes())
    return digest.hexdigest()[:16]


def read_recording(path: str | Path) -> tuple[bytes, float]:
    """Read a recording of at most `MAX_PROMPT` seconds for a voice.

    Returns:
        It as a FLAC file of 16 bits, mono, and its duration in seconds.

    Raises:
        UserError: It cannot be read, or is too long.
    """
    recording = audio.read(path, max_duration=MAX_PROMPT)
    buffer = io.BytesIO()
    samples = np.clip(recording.samples, -1.0, 1.0)
    soundfile.write(buffer, samples, recording.sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue(), recording.duration


def new_voice(
    name: str,
    recording: tuple[bytes, float],
    prompts: dict[str, Prompt],
    codec: Codec,
    *,
    text: str = "",
    language: str | None = None,
    consent: str = "",
    problems: list[str] | None = None,
) -> SavedVoice:
    """Return a voice to be saved.

    Args:
        name: Its name.
        recording: What `read_recording` returns.
        prompts: The prompt that the recording gives without text ("untranscribed") and with it ("transcribed").
        codec: Codec of the prompts' codes.
        text: Transcript of the recording.
        language: espeak-ng language tag of the recording.
        consent: Note about the speaker's consent.
        problems: What is wrong with the recording.
    """
    check_name(name)
    return SavedVoice(
        name=name,
        text=" ".join(text.split()),
        language=language,
        consent=" ".join(consent.split()),
        problems=problems or [],
        seconds=recording[1],
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        codec=codec_fingerprint(codec),
        recording=recording[0],
        codes={mode: prompt.codes for mode, prompt in prompts.items()},
    )


def write_voice(voice: SavedVoice, path: Path) -> None:
    """Write a voice to a file, atomically."""
    tensors = {f"codes.{mode}": codes.to(torch.int16).contiguous() for mode, codes in voice.codes.items()}
    tensors["recording"] = torch.frombuffer(bytearray(voice.recording), dtype=torch.uint8)
    metadata = {"format": FORMAT, "voice": json.dumps(voice.describe(), ensure_ascii=False)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)


def read_voice(path: Path, name: str | None = None) -> SavedVoice:
    """Read the file of a voice.

    Args:
        path: The file.
        name: Name of the voice; None: the one that it was saved with.

    Raises:
        UserError: The file is missing, or is no voice.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: is larger than {MAX_BYTES // 1_000_000} MB, so it is no voice")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(f"{path}: is no voice of valle, or of another version; save it with valle-voice export")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return _checked_voice(json.loads(metadata["voice"]), tensors, name)
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: is no voice of valle, or damaged; save it with valle-voice export") from error


def _checked_voice(description: dict[str, object], tensors: dict[str, Tensor], name: str | None) -> SavedVoice:
    """Return a voice whose parts have the right types, shapes and ranges. Raises ValueError or UserError."""
    recording = tensors.pop("recording")
    if recording.dtype != torch.uint8 or any(value.dtype != torch.int16 for value in tensors.values()):
        raise ValueError
    codes = {key.removeprefix("codes."): value.long() for key, value in tensors.items()}
    problems = description["problems"]
    texts = [description[key] for key in ("name", "text", "consent", "created", "codec")]
    if not isinstance(problems, list) or not all(isinstance(text, str) for text in (*texts, *problems)):
        raise ValueError
    # Control characters would change what a terminal shows of other voices.
    if not all(str(text).isprintable() for text in (*texts, *problems)):
        raise ValueError
    for mode, value in codes.items():
        if mode not in ("untranscribed", "transcribed") or value.ndim != 2 or value.shape[1] != 8:
            raise ValueError
        if not 0 < len(value) <= MAX_FRAMES or int(value.min()) < 0 or int(value.max()) > 1023:
            raise ValueError
    voice = SavedVoice(
        name=name or str(description["name"]),
        text=str(description["text"]),
        language=None if description["language"] is None else str(description["language"]),
        consent=str(description["consent"]),
        problems=[str(problem) for problem in problems],
        seconds=float(description["seconds"]),  # type: ignore[arg-type]
        created=str(description["created"]),
        codec=str(description["codec"]),
        recording=recording.numpy().tobytes(),
        codes=codes,
    )
    check_name(voice.name)
    with voice.as_file() as file:
        audio.read(file, max_duration=MAX_PROMPT)
    return voice

"""Reading, writing and resampling of audio files."""

from __future__ import annotations

import codecs
import io
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from valle.audio_writer import AudioWriter
from valle.errors import UserError
from valle.files import atomic_path
from valle.streamed_headers import complete_header

# A file of floats with a larger peak holds integers.
MAX_FLOAT_PEAK = 16.0
# Channels whose mean has less than this share of the loudest channel's power are inverses of each other.
MIN_MIX_POWER = 1e-2

logger = logging.getLogger("valle")


@dataclass
class Audio:
    """A mono waveform.

    Attributes:
        samples: (time,) float32; full scale is [-1, 1].
        sample_rate: Sample rate in hertz.
    """

    samples: np.ndarray
    sample_rate: int

    @property
    def duration(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.sample_rate

    def save(self, path: str | Path) -> None:
        """Write an audio file; see `write`."""
        write(path, self.samples, self.sample_rate)


def resample(samples: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Resample (time,) float32 samples with a band limit.

    Args:
        samples: The samples.
        source_rate: Their rate in hertz.
        target_rate: The rate of the result in hertz.
    """
    if source_rate == target_rate:
        return samples
    return soxr.resample(samples, source_rate, target_rate, quality="HQ").astype(np.float32)


def duration(path: str | Path) -> float:
    """Return the duration of an audio file in seconds, from its header.

    Raises:
        UserError: The file is missing or cannot be read.
    """
    with _open(path) as file:
        return file.frames / file.samplerate


def read(
    path: str | Path,
    sample_rate: int | None = None,
    *,
    start: float = 0.0,
    end: float | None = None,
    max_duration: float | None = None,
) -> Audio:
    """Read an audio file that libsndfile supports (WAV, FLAC, OGG, Opus, MP3, ...) as a mono waveform.

    Args:
        path: The file.
        sample_rate: Rate in hertz to resample to; None: the file's own.
        start: Start of the segment to read in seconds.
        end: Its end in seconds; None: the end of the file.
        max_duration: Maximum duration of the segment in seconds, checked before anything is decoded.

    Raises:
        UserError: The file is missing, is not an audio file, holds no samples, or is too long.
    """
    with _open(path) as file:
        rate = file.samplerate
        first = round(start * rate)
        last = file.frames if end is None else min(round(end * rate), file.frames)
        if first >= last:
            span = f" from {start:g} s to {end:g} s" if end is not None else ""
            raise UserError(f"{path}: holds no samples{span}; give a recording with speech in it")
        seconds = (last - first) / rate
        if max_duration is not None and seconds > max_duration:
            raise UserError(f"{path}: lasts {seconds:.1f} s, at most {max_duration:g} s are taken; cut it shorter")
        file.seek(first)
        channels = file.read(last - first, dtype="float32", always_2d=True)
        samples = _mix_to_mono(path, _scale_integers(path, channels, file.subtype))
    if len(samples) == 0:
        raise UserError(f"{path}: holds no samples that can be decoded; give a recording with speech in it")
    # Float files can hold infinities and NaN.
    samples = np.nan_to_num(samples)
    target = sample_rate or rate
    return Audio(resample(samples, rate, target), target)


def _scale_integers(path: str | Path, samples: np.ndarray, subtype: str) -> np.ndarray:
    """Scale a float file that holds integers, such as -32768 to 32767, to [-1, 1].

    Args:
        path: The file, for the log.
        samples: (time, channel) float32.
        subtype: Name of the file's sample format in libsndfile.
    """
    if subtype not in ("FLOAT", "DOUBLE"):
        return samples
    peak = float(np.abs(samples).max(initial=0.0))
    # Some float files exceed full scale a little. A quiet segment of integers is recognized by its lack of fractions.
    are_integers = peak > MAX_FLOAT_PEAK or (peak > 1 and bool((samples == np.rint(samples)).all()))
    if not np.isfinite(peak) or not are_integers:
        return samples
    bits = next((bits for bits in (16, 24, 32) if peak <= 2 ** (bits - 1)), None)
    if bits is None:
        raise UserError(f"{path}: its samples reach {peak:.3g}, full scale is 1; give a file of 16-bit samples")
    logger.info("%s: samples in the range of %d-bit integers scaled to full scale", path, bits)
    return samples / np.float32(2 ** (bits - 1))


def _mix_to_mono(path: str | Path, channels: np.ndarray) -> np.ndarray:
    """Mix (time, channel) to (time,): the mean, or the loudest channel where channels cancel one another."""
    mixed = channels.mean(axis=1)
    if channels.shape[1] == 1:
        return mixed
    power = np.square(channels, dtype=np.float64).mean(axis=0)
    if power.max() == 0 or np.square(mixed, dtype=np.float64).mean() > MIN_MIX_POWER * power.max():
        return mixed
    logger.info("%s: channels cancel one another, reading the loudest one", path)
    return channels[:, int(power.argmax())]


def _is_text(path: Path) -> bool:
    """Whether a file begins with UTF-8 text. Audio files begin with binary numbers, except for NIST SPHERE.

    libmpg123 would search text for MP3 frames and print notes on standard error.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not head or head.startswith(b"NIST_1A"):
        return False
    try:
        # The last character may be cut in two.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)


def _open(path: str | Path) -> soundfile.SoundFile:
    """Open an audio file. Raises UserError where it is missing or of another kind."""
    path = Path(path)
    if not path.is_file():
        reason = "is a directory, not an audio file" if path.is_dir() else "no such file"
        raise UserError(f"{path}: {reason}")
    if _is_text(path):
        raise UserError(f"{path}: is a web page or text, not an audio file; download the recording itself")
    try:
        return soundfile.SoundFile(complete_header(path) or path)
    except soundfile.LibsndfileError as error:
        unreadable = f"not an audio file that can be read ({error.error_string})"
        reason = "is empty" if path.stat().st_size == 0 else unreadable
        raise UserError(f"{path}: {reason}; give WAV, FLAC, OGG, Opus or MP3") from error


def write(path: str | Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write an audio file atomically.

    Args:
        path: The file; its suffix determines the format: .wav and .flac with 16 bits, or one of
            `valle.audio_writer.SUFFIXES`.
        samples: (time,) float32 samples; what exceeds [-1, 1] is clipped.
        sample_rate: Sample rate in hertz.

    Raises:
        UserError: The suffix is another one, or the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("wav", "flac"):
        with AudioWriter(path, sample_rate) as writer:
            writer.write(samples)
        return
    # libsndfile does not distinguish a full disk from an error of its own, so it encodes to memory.
    encoded = io.BytesIO()
    soundfile.write(encoded, np.clip(samples, -1.0, 1.0), sample_rate, format=kind.upper(), subtype="PCM_16")
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        stream.write(encoded.getbuffer())
        stream.flush()
        os.fsync(stream.fileno())


def mp3(audio: Audio) -> bytes:
    """Encode audio as MP3, which every browser plays."""
    encoded = io.BytesIO()
    samples = np.clip(audio.samples, -1.0, 1.0)
    soundfile.write(encoded, samples, audio.sample_rate, format="MP3", subtype="MPEG_LAYER_III")
    return encoded.getvalue()


def loudness(samples: np.ndarray) -> float:
    """Return the root mean square level of (time,) samples in decibels relative to full scale; -inf for silence."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return 10 * np.log10(power) if power > 0 else -np.inf

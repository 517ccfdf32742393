"""Reading, writing and resampling sound: the only place that touches sound files."""

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

from valle.errors import UserError
from valle.files import atomic_path
from valle.streamed_headers import complete_header

LARGEST_FLOAT = 16.0  # a float file that goes beyond it holds integers
CANCELLED = 1e-2  # of the loudest channel's power: channels whose mean has less are each other's inverse

logger = logging.getLogger("valle")


@dataclass
class Audio:
    """A mono waveform.

    samples:     (time,) float32, full scale is [-1, 1]
    sample_rate: hertz
    """

    samples: np.ndarray
    sample_rate: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate

    def save(self, path: str | Path) -> None:
        """Write a WAV or FLAC file; see `write`."""
        write(path, self.samples, self.sample_rate)


def resample(samples: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Band-limited resampling of (time,) float32 samples; rates in hertz."""
    if source_rate == target_rate:
        return samples
    return soxr.resample(samples, source_rate, target_rate, quality="HQ").astype(np.float32)


def duration(path: str | Path) -> float:
    """Length of a sound file in seconds, from its header. Raises UserError as `read` does."""
    with _open(path) as sound:
        return sound.frames / sound.samplerate


def read(
    path: str | Path,
    sample_rate: int | None = None,
    *,
    start: float = 0.0,
    end: float | None = None,
    max_duration: float | None = None,
) -> Audio:
    """Read any file libsndfile reads (WAV, FLAC, OGG, Opus, MP3, ...), mixed to mono and resampled to `sample_rate`.

    start, end:   seconds of the stretch to read, for segments of a long recording
    max_duration: seconds; a longer stretch is refused before anything is decoded

    Raises UserError when the file is missing, is not a sound file, holds no samples, or is too long.
    """
    with _open(path) as sound:
        rate = sound.samplerate
        first = round(start * rate)
        last = sound.frames if end is None else min(round(end * rate), sound.frames)
        if first >= last:
            span = f" from {start:g} s to {end:g} s" if end is not None else ""
            raise UserError(f"{path}: holds no samples{span}; give a recording with speech in it")
        seconds = (last - first) / rate
        if max_duration is not None and seconds > max_duration:
            raise UserError(f"{path}: lasts {seconds:.1f} s, at most {max_duration:g} s are taken; cut it shorter")
        sound.seek(first)
        channels = sound.read(last - first, dtype="float32", always_2d=True)
        samples = _mono(path, _full_scale(path, channels, sound.subtype))
    if len(samples) == 0:
        raise UserError(f"{path}: holds no samples that can be decoded; give a recording with speech in it")
    samples = np.nan_to_num(samples)
    target = sample_rate or rate
    return Audio(resample(samples, rate, target), target)


def _full_scale(path: str | Path, samples: np.ndarray, subtype: str) -> np.ndarray:
    """Scale a float file that holds integers, such as -32768 to 32767, to [-1, 1].

    Args:
        path: for the log.
        samples: (time, channel) float32.
        subtype: libsndfile's name of the file's sample format.
    """
    if subtype not in ("FLOAT", "DOUBLE"):
        return samples
    peak = float(np.abs(samples).max(initial=0.0))
    # Of float files some go a little over full scale. A quiet stretch of integers is known by having no fractions.
    if not np.isfinite(peak) or not (peak > LARGEST_FLOAT or (peak > 1 and bool((samples == np.rint(samples)).all()))):
        return samples
    bits = next((bits for bits in (16, 24, 32) if peak <= 2 ** (bits - 1)), None)
    if bits is None:
        raise UserError(f"{path}: its samples reach {peak:.3g}, full scale is 1; give a file of 16-bit samples")
    logger.info("%s: samples in the range of %d-bit integers scaled to full scale", path, bits)
    return samples / np.float32(2 ** (bits - 1))


def _mono(path: str | Path, channels: np.ndarray) -> np.ndarray:
    """Mix (time, channel) to (time,): the mean, or the loudest channel where channels cancel one another."""
    mixed = channels.mean(axis=1)
    if channels.shape[1] == 1:
        return mixed
    power = np.square(channels, dtype=np.float64).mean(axis=0)
    if power.max() == 0 or np.square(mixed, dtype=np.float64).mean() > CANCELLED * power.max():
        return mixed
    logger.info("%s: its channels cancel one another, the loudest is taken", path)
    return channels[:, int(power.argmax())]


def _is_text(path: Path) -> bool:
    """Whether a file begins as UTF-8 text does. Audio files have binary numbers there, except for NIST SPHERE.

    Decoders are not given text: libmpg123 searches it for MP3 frames and prints notes to standard error.
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
    path = Path(path)
    if not path.is_file():
        reason = "is a directory, not a sound file" if path.is_dir() else "no such file"
        raise UserError(f"{path}: {reason}")
    if _is_text(path):
        raise UserError(f"{path}: is a web page or text, not a sound file; download the recording itself")
    try:
        return soundfile.SoundFile(complete_header(path) or path)
    except soundfile.LibsndfileError as error:
        reason = "is empty" if path.stat().st_size == 0 else f"not a sound file that can be read ({error.error_string})"
        raise UserError(f"{path}: {reason}; give WAV, FLAC, OGG, Opus or MP3") from error


def write(path: str | Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write (time,) float32 samples as 16-bit WAV or FLAC (by the name's ending), whole or not at all.

    Raises UserError for another ending or when the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("wav", "flac"):
        raise UserError(f"{path}: can only write .wav and .flac")
    encoded = io.BytesIO()  # libsndfile does not tell a full disk from a fault of its own
    soundfile.write(encoded, np.clip(samples, -1.0, 1.0), sample_rate, format=kind.upper(), subtype="PCM_16")
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        stream.write(encoded.getbuffer())
        stream.flush()
        os.fsync(stream.fileno())


def mp3(sound: Audio) -> bytes:
    """As MP3, which every browser plays."""
    out = io.BytesIO()
    soundfile.write(out, np.clip(sound.samples, -1.0, 1.0), sound.sample_rate, format="MP3", subtype="MPEG_LAYER_III")
    return out.getvalue()


def loudness(samples: np.ndarray) -> float:
    """Root mean square level of (time,) samples in decibels relative to full scale; -inf for silence."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return 10 * np.log10(power) if power > 0 else -np.inf

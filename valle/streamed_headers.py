"""Sound files that were written to a pipe: their header says that they hold no samples."""

from __future__ import annotations

import bisect
import io
from pathlib import Path

import soundfile

_FLAC_MAX = 2**36 - 1  # samples that a FLAC header can name


def complete_header(path: Path) -> io.BytesIO | None:
    """Complete the header of a WAV or FLAC file that names a length of 0.

    Args:
        path: an existing file of any kind.

    Returns:
        The file with a header from which libsndfile reads it to its end; None when nothing is to be completed.
    """
    with open(path, "rb") as file:
        start = file.read(1 << 16)
        if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
            place = _data_chunk(start)
            if start[place : place + 8] != b"data\0\0\0\0" or len(start) == place + 8:
                return None
            # The longest length: libsndfile takes what is there.
            return io.BytesIO(start[: place + 4] + b"\xff" * 4 + start[place + 8 :] + file.read())
        if start[:4] == b"fLaC" and len(start) > 26 and _flac_samples(start) == 0:
            whole = start + file.read()
            return _flac(whole, bisect.bisect_left(range(_FLAC_MAX), True, key=lambda count: _is_beyond(whole, count)))
    return None


def _data_chunk(start: bytes) -> int:
    """Offset of the chunk that holds the samples; len(start) when it is further away."""
    place = 12
    while place + 8 <= len(start) and start[place : place + 4] != b"data":
        size = int.from_bytes(start[place + 4 : place + 8], "little")
        place += 8 + size + size % 2
    return min(place, len(start))


def _flac_samples(whole: bytes) -> int:
    """The number of samples, the last 36 bits of the first 18 bytes of STREAMINFO."""
    return int.from_bytes(whole[21:26], "big") & _FLAC_MAX


def _flac(whole: bytes, count: int) -> io.BytesIO:
    """The file with `count` in its header."""
    kept = int.from_bytes(whole[21:26], "big") & ~_FLAC_MAX
    return io.BytesIO(whole[:21] + (kept | count).to_bytes(5, "big") + whole[26:])


def _is_beyond(whole: bytes, sample: int) -> bool:
    """Whether the file ends before a sample: libFLAC cannot seek there."""
    with soundfile.SoundFile(_flac(whole, _FLAC_MAX)) as sound:
        try:
            sound.seek(sample)
        except soundfile.LibsndfileError:
            return True
        return False

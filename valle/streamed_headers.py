"""Headers of audio files that were written to a pipe, which name a length of 0."""

from __future__ import annotations

import bisect
import io
from pathlib import Path

import soundfile

# Largest number of samples that a FLAC header can name.
_FLAC_MAX = 2**36 - 1


def complete_header(path: Path) -> io.BytesIO | None:
    """Complete the header of a WAV or FLAC file that names a length of 0.

    A program that writes to a pipe cannot go back to the header when it knows the length.

    Args:
        path: An existing file of any kind.

    Returns:
        The file with a header from which libsndfile reads it to its end; None when nothing is to be completed.
    """
    with open(path, "rb") as file:
        head = file.read(1 << 16)
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            offset = _data_chunk(head)
            if head[offset : offset + 8] != b"data\0\0\0\0" or len(head) == offset + 8:
                return None
            # Name the maximum length: libsndfile stops at the end of the file.
            return io.BytesIO(head[: offset + 4] + b"\xff" * 4 + head[offset + 8 :] + file.read())
        if head[:4] == b"fLaC" and len(head) > 26 and _flac_samples(head) == 0:
            whole = head + file.read()
            # libFLAC needs the true length, which is found by bisection on positions that it can seek to.
            length = bisect.bisect_left(range(_FLAC_MAX), True, key=lambda sample: _is_after_end(whole, sample))
            return _with_flac_samples(whole, length)
    return None


def _data_chunk(head: bytes) -> int:
    """Offset of the WAV chunk that holds the samples; len(head) when it begins after `head`."""
    offset = 12
    while offset + 8 <= len(head) and head[offset : offset + 4] != b"data":
        size = int.from_bytes(head[offset + 4 : offset + 8], "little")
        offset += 8 + size + size % 2
    return min(offset, len(head))


def _flac_samples(whole: bytes) -> int:
    """Number of samples that a FLAC header names: the last 36 bits of the first 18 bytes of STREAMINFO."""
    return int.from_bytes(whole[21:26], "big") & _FLAC_MAX


def _with_flac_samples(whole: bytes, count: int) -> io.BytesIO:
    """A FLAC file whose header names `count` samples."""
    other_bits = int.from_bytes(whole[21:26], "big") & ~_FLAC_MAX
    return io.BytesIO(whole[:21] + (other_bits | count).to_bytes(5, "big") + whole[26:])


def _is_after_end(whole: bytes, sample: int) -> bool:
    """Whether a FLAC file ends before a sample: libFLAC cannot seek to it."""
    with soundfile.SoundFile(_with_flac_samples(whole, _FLAC_MAX)) as file:
        try:
            file.seek(sample)
        except soundfile.LibsndfileError:
            return True
        return False

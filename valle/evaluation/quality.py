"""How clean speech sounds: by itself (DNSMOS), and beside the recording it was made from (STOI, PESQ, mel distance)."""

from __future__ import annotations

import warnings

import numpy as np

from valle.evaluation.recognizer import missing

SAMPLE_RATE = 16_000


def dnsmos(samples: np.ndarray) -> dict[str, float]:
    """Microsoft's DNSMOS P.835 of (time,) samples at `SAMPLE_RATE`: overall, speech and background, 1 to 5.

    C. Reddy et al., arXiv 2110.01763; the weights come with the package speechmos.
    """
    try:
        from speechmos import dnsmos as model
    except ImportError as error:
        raise missing(error.name or "speechmos") from error
    found = model.run(np.clip(samples, -1, 1), SAMPLE_RATE)
    return {name: float(found[f"{key}_mos"]) for name, key in (("dnsmos", "ovrl"), ("sig", "sig"), ("bak", "bak"))}


def stoi(reference: np.ndarray, samples: np.ndarray) -> float:
    """Short-time objective intelligibility, to 1: both (time,) at `SAMPLE_RATE`, of one length.

    Raises RuntimeWarning for too little speech, where pystoi would warn and return a placeholder.
    """
    try:
        from pystoi import stoi as measure
    except ImportError as error:
        raise missing("pystoi") from error
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        return float(measure(reference, samples, SAMPLE_RATE))


def pesq(reference: np.ndarray, samples: np.ndarray) -> float:
    """Wide-band PESQ, to 4.64: both (time,) at `SAMPLE_RATE`, of one length. NaN where it finds no speech."""
    try:
        from pesq import NoUtterancesError
        from pesq import pesq as measure
    except ImportError as error:
        raise missing("pesq") from error
    try:
        return float(measure(SAMPLE_RATE, reference, samples, "wb"))
    except NoUtterancesError:
        return float("nan")


def mel(samples: np.ndarray, bands: int = 80) -> np.ndarray:
    """(time,) samples at `SAMPLE_RATE` -> (bands, frames), decibels, a frame every 10 ms."""
    try:
        import librosa
    except ImportError as error:
        raise missing("librosa") from error
    power = librosa.feature.melspectrogram(y=samples, sr=SAMPLE_RATE, n_fft=1024, hop_length=160, n_mels=bands)
    return 10 * np.log10(np.maximum(power, 1e-8))


def mel_distance(reference: np.ndarray, samples: np.ndarray) -> float:
    """Mean distance of two `mel` spectrograms in decibels: both (time,) at `SAMPLE_RATE`, of one length."""
    return float(np.abs(mel(reference) - mel(samples)).mean())

"""Audio quality: of speech alone (DNSMOS), and against the original recording (STOI, PESQ, mel distance)."""

from __future__ import annotations

import warnings

import numpy as np

from valle.optional import require

SAMPLE_RATE = 16_000


def dnsmos(samples: np.ndarray) -> dict[str, float]:
    """Predict the quality of speech by Microsoft's DNSMOS.

    The models are P.835 (C. Reddy et al., arXiv 2110.01763), and P.808 (arXiv 2010.15258), whose values VALL-E 2
    reports.

    Args:
        samples: (time,) samples at `SAMPLE_RATE`.

    Returns:
        Overall quality by P.835 ("dnsmos_p835") and by P.808 ("dnsmos_p808"), and by P.835 the quality of the speech
        ("sig") and of the background ("bak"); 1 to 5 each.
    """
    scores = require("speechmos.dnsmos", "eval").run(np.clip(samples, -1, 1), SAMPLE_RATE)
    names = {"dnsmos_p835": "ovrl", "dnsmos_p808": "p808", "sig": "sig", "bak": "bak"}
    return {name: float(scores[f"{key}_mos"]) for name, key in names.items()}


def stoi(reference: np.ndarray, samples: np.ndarray) -> float:
    """Compute the short-time objective intelligibility, at most 1.

    Args:
        reference: (time,) samples of the original at `SAMPLE_RATE`.
        samples: (time,) samples of the same length.

    Raises:
        RuntimeWarning: The recording has too little speech; pystoi alone would warn and return a placeholder.
    """
    pystoi = require("pystoi", "eval")
    with warnings.catch_warnings():
        # pystoi warns of too little speech and returns 1e-5, which would count as a score.
        warnings.simplefilter("error", RuntimeWarning)
        return float(pystoi.stoi(reference, samples, SAMPLE_RATE))


def pesq(reference: np.ndarray, samples: np.ndarray) -> float:
    """Compute wide-band PESQ, at most 4.64.

    Args:
        reference: (time,) samples of the original at `SAMPLE_RATE`.
        samples: (time,) samples of the same length.

    Returns:
        The score; NaN where PESQ detects no speech.
    """
    package = require("pesq", "eval")
    try:
        return float(package.pesq(SAMPLE_RATE, reference, samples, "wb"))
    except package.NoUtterancesError:
        return float("nan")


def mel(samples: np.ndarray, bands: int = 80) -> np.ndarray:
    """Compute a mel spectrogram with a frame every 10 ms.

    Args:
        samples: (time,) samples at `SAMPLE_RATE`.
        bands: Number of mel bands.

    Returns:
        (bands, frames) in decibels.
    """
    librosa = require("librosa", "eval")
    power = librosa.feature.melspectrogram(y=samples, sr=SAMPLE_RATE, n_fft=1024, hop_length=160, n_mels=bands)
    return 10 * np.log10(np.maximum(power, 1e-8))


def mel_distance(reference: np.ndarray, samples: np.ndarray) -> float:
    """Compute the mean absolute difference of two mel spectrograms, in decibels.

    Args:
        reference: (time,) samples of the original at `SAMPLE_RATE`.
        samples: (time,) samples of the same length.
    """
    return float(np.abs(mel(reference) - mel(samples)).mean())

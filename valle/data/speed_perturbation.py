"""Speed perturbation: every recording at other speeds, as additional speakers.

Ko, Peddinti, Povey and Khudanpur: Audio augmentation for speech recognition, Interspeech 2015. As in Kaldi's
utils/data/perturb_data_dir_speed.sh, pitch, formants and tempo change together, so that a factor gives a new voice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from valle import audio
from valle.data import kaldi
from valle.data.utterance import Utterance
from valle.errors import UserError
from valle.files import write_text
from valle.optional import require

track = require("rich.progress", "train").track

# Factors that change a voice without making it implausible.
DEFAULT_FACTORS = (0.92, 1.08)
# Factors beyond these give no plausible voice; a mistyped one could also make recordings of any length.
MIN_FACTOR = 0.5
MAX_FACTOR = 2.0


def perturb_speed(data: Path, output: Path, factors: Iterable[float] = DEFAULT_FACTORS) -> int:
    """Write a data directory with every utterance of another one at each speed.

    The speaker `S` becomes `SxF` and the utterance `U` becomes `SxF-U`, where F is the factor. Kaldi's script names
    them `spF-S` and `spF-U`; the names here begin with the speaker even if `U` does not. As in Kaldi's output,
    utt2uniq maps each new id to that of the original. Texts stay the same and the times of phones are scaled.
    Untranscribed prompts are left out, since they have the voice of the original speaker.

    Args:
        data: Data directory.
        output: Data directory to write, with the recordings in its folder `wav`.
        factors: Speed factors; 1.1 makes recordings shorter and voices higher.

    Returns:
        The number of utterances written.

    Raises:
        UserError: A factor is out of range or occurs twice, or a file cannot be read or written.
    """
    factors = list(factors)
    for factor in factors:
        if not MIN_FACTOR <= factor <= MAX_FACTOR:
            raise UserError(f"--factors {factor:g}: choose speeds from {MIN_FACTOR:g} to {MAX_FACTOR:g}")
    if len({_format(factor) for factor in factors}) < len(factors):
        raise UserError("--factors: a speed occurs twice; give each once")
    perturbed = []
    original_ids = {}
    for utterance in track(kaldi.read(data), "perturbing"):
        waveform = audio.read(utterance.path, start=utterance.start, end=utterance.end)
        for factor in factors:
            result = _perturb(utterance, waveform, factor, output / "wav")
            perturbed.append(result)
            original_ids[result.id] = utterance.id
    kaldi.write(output, perturbed)
    lines = [f"{key} {original_ids[key]}\n" for key in sorted(original_ids, key=str.encode)]
    write_text(output / "utt2uniq", "".join(lines))
    return len(perturbed)


def _perturb(utterance: Utterance, waveform: audio.Audio, factor: float, folder: Path) -> Utterance:
    """Write an utterance at another speed."""
    # Resampled from a higher rate than it has, a recording is shorter and, at its own rate, faster.
    source_rate = round(waveform.sample_rate * factor)
    samples = audio.resample(waveform.samples, source_rate, waveform.sample_rate)
    speaker = f"{utterance.speaker}x{_format(factor)}"
    utterance_id = f"{speaker}-{utterance.id}"
    path = folder / f"{utterance_id}.flac"
    audio.write(path, samples, waveform.sample_rate)
    return replace(
        utterance,
        id=utterance_id,
        path=path,
        speaker=speaker,
        start=0.0,
        end=None,
        duration=len(samples) / waveform.sample_rate,
        phones=tuple((phone, start / factor) for phone, start in utterance.phones or ()) or None,
        recording=None,
        prompt=None,
    )


def _format(factor: float) -> str:
    """A factor in the names of speakers."""
    return f"{factor:g}"

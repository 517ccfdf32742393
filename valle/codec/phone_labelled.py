"""Codecs each of whose first codes stands for a phone.

This is not part of VALL-E. The idea that the first codebook should hold the content of speech, and the codebooks after
it the rest, is SpeechTokenizer's (arXiv 2308.16692), whose teacher is HuBERT; here it is a phone alignment
(`valle.training.codec.CodecModule`, `phone_loss`). The label of an entry is the class of the phone that it stands for,
an integer whose meaning the codec does not need to know.

Measured worth (docs/experiments.md): on 15 recordings of unseen speakers, decoded from the first codebook alone, the
WER of Whisper tiny.en is 29 % with the codes of `encode` and 13 % with those of `encode_with_phones`; with all eight
codebooks 4 % and 2 %.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from valle.codec.encodec_package import ResidualVectorQuantizer
from valle.codec.quantizer import NO_PHONE, codebook_vectors, mean_of_frames, quantize, quantize_remainder
from valle.codec.trained import TrainedCodec

# Squared distance per dimension by which an entry of another phone must be nearer to be chosen.
PHONE_MISMATCH_COST = 0.5


class PhoneLabelledCodec(TrainedCodec):
    """A trained codec whose first codes stand for phones."""

    @property
    def phones(self) -> Tensor:
        """Class of the phone that each entry of the first codebook stands for, (entry,) int64; -100 for none."""
        return self.network.quantizer.get_buffer("phones")

    @torch.inference_mode()
    def encode_with_phones(
        self, waveforms: list[np.ndarray], sample_rate: int, phones: list[np.ndarray]
    ) -> list[Tensor]:
        """Encode waveforms with first codes that stand for the phones spoken.

        A model that is trained on these codes learns clearer speech than the encoder recognizes; the codebooks after
        the first compensate for the change.

        Args:
            waveforms: (time,) float32 samples each.
            sample_rate: Their rate in hertz.
            phones: Of each waveform the class of the phone in each frame, (frames,) int64 or longer; -100 where it is
                not known.

        Returns:
            Codes (time, codebook) int64 of each waveform.

        Raises:
            ValueError: A waveform is empty or not one-dimensional.
        """
        waveforms = self._prepare(waveforms, sample_rate)
        if self._is_too_long(waveforms):
            return [
                self.encode_with_phones([samples], self.sample_rate, [classes])[0]
                for samples, classes in zip(waveforms, phones, strict=True)
            ]
        rows = [
            torch.from_numpy(classes[: self.num_frames(len(samples))])
            for samples, classes in zip(waveforms, phones, strict=True)
        ]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=NO_PHONE)

        def encode(samples: Tensor, frames: Tensor, start: int) -> Tensor:
            latent = self.network.encode_latent(samples, frames)
            classes = padded[:, start : start + latent.shape[1]]
            return quantize_with_phones(self.network.quantizer, latent, classes, self.merge)

        return self._encode_chunks(waveforms, encode)


def quantize_with_phones(quantizer: ResidualVectorQuantizer, latent: Tensor, phones: Tensor, merge: int = 1) -> Tensor:
    """Quantize latent vectors with first codes that stand for the phones spoken.

    The first code of a frame is the nearest entry that stands for the phone of the frame or of a neighbouring one,
    unless an entry of another phone is much nearer (`PHONE_MISMATCH_COST`). Boundaries of phones are known to about a
    frame, hence the neighbours.

    Args:
        quantizer: Quantizer with the labels of its first codebook in the buffer `phones`.
        latent: (batch, time, latent_dim).
        phones: Classes of the phones spoken, (batch, time) int64; -100 where they are not known.
        merge: Consecutive frames that share their first code (`valle.codec.merging`).

    Returns:
        Codes (batch, time, codebook) int64.
    """
    labels = quantizer.get_buffer("phones")
    # Without any phone or label this is ordinary quantization, exactly.
    if not bool((phones != NO_PHONE).any() and (labels != NO_PHONE).any()):
        return quantize(quantizer, latent, merge)
    previous = F.pad(phones, (1, 0), value=NO_PHONE)[:, :-1]
    following = F.pad(phones, (0, 1), value=NO_PHONE)[:, 1:]
    matches = (torch.stack((phones, previous, following))[..., None] == labels).any(0)
    mismatch = (phones != NO_PHONE)[..., None] & ~matches
    vectors = codebook_vectors(quantizer)[0]
    # Without merging the means are the vectors themselves.
    merged = latent if merge == 1 else mean_of_frames(latent, merge)
    cost = mismatch.to(latent.dtype) if merge == 1 else mean_of_frames(mismatch.to(latent.dtype), merge)
    distance = torch.cdist(merged, vectors.expand(len(latent), -1, -1)).square()
    first = (distance + PHONE_MISMATCH_COST * latent.shape[2] * cost).argmin(-1)
    # The following codebooks quantize the remainder, as in ordinary residual quantization.
    return quantize_remainder(quantizer, latent, first)

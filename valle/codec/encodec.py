"""The pretrained EnCodec at 24 kHz and 6 kbps (arXiv 2210.13438), the codec of the papers."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from valle.codec.base import Codec
from valle.codec.encodec_package import EncodecModel
from valle.codec.quantizer import codebook_vectors, quantize
from valle.codec.vocos import VocosDecoder, load_vocos
from valle.codec.weights import find_weights
from valle.errors import UserError

WEIGHTS = "encodec_24khz-d7cc33bc.th"
URL = f"https://dl.fbaipublicfiles.com/encodec/v0/{WEIGHTS}"
BANDWIDTH = 6.0  # kbps: 8 codebooks


class EncodecCodec(Codec):
    """EnCodec 24 kHz: 75 frames per second, 8 codebooks of 1024 entries.

    EnCodec's LSTM has unlimited memory. A recording longer than a chunk is coded with five seconds of context, which
    gives the same codes up to rare near-ties.

    Args:
        weights: The checkpoint file of the `encodec` package.
        decoder: Decoder to use in place of EnCodec's own.
    """

    name = "encodec_24khz"
    sample_rate = 24_000
    hop = 320
    num_codebooks = 8
    codebook_size = 1024
    context = 375

    def __init__(self, weights: Path, decoder: VocosDecoder | None = None) -> None:
        self.model = EncodecModel.encodec_model_24khz(pretrained=False)
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state)
        except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
            raise UserError(f"{weights}: not EnCodec's 24 kHz weights ({str(error).splitlines()[0]})") from error
        self.model.set_target_bandwidth(BANDWIDTH)
        self.model.eval()
        self.decoder = decoder

    @property
    def codebooks(self) -> Tensor:
        """The vector of each entry, (codebook, entry, latent_dim)."""
        return codebook_vectors(self.model.quantizer)[: self.num_codebooks]

    # The package pads by reflection at the ends, so the rows of a batch are coded one by one.

    def _encode(self, waveforms: Tensor, frames: Tensor) -> Tensor:
        codes = torch.zeros(len(waveforms), waveforms.shape[1] // self.hop, self.num_codebooks, dtype=torch.long)
        for row, samples, length in zip(codes, waveforms, frames.tolist(), strict=True):
            if length > 0:
                samples = samples[None, None, : length * self.hop]
                if self.merge > 1:
                    latent = self.model.encoder(samples).transpose(1, 2)
                    row[:length] = quantize(self.model.quantizer, latent, self.merge)[0, :, : self.num_codebooks]
                    continue
                ((encoded, _),) = self.model.encode(samples)
                row[:length] = rearrange(encoded, "1 q t -> t q")
        return codes

    def _decode(self, codes: Tensor, frames: Tensor) -> Tensor:
        waveforms = torch.zeros(len(codes), codes.shape[1] * self.hop)
        for row, item, length in zip(waveforms, codes, frames.tolist(), strict=True):
            if length > 0:
                row[: length * self.hop] = self._decode_row(item[:length])
        return waveforms

    def _decode_row(self, codes: Tensor) -> Tensor:
        """Decode codes (time, codebook) to samples (time * hop,)."""
        if self.decoder is not None:
            return self.decoder(codes)
        decoded = self.model.decode([(rearrange(codes, "t q -> 1 q t"), None)])
        return decoded[0, 0, : len(codes) * self.hop]


def load_encodec(codec_dir: Path | None, decoder: str | None = None) -> EncodecCodec:
    """Load EnCodec from a folder, from torch's download cache, or by download.

    Args:
        codec_dir: Folder with the weights; None: the cache, and a download where they are not in it.
        decoder: "vocos", or None for EnCodec's own.

    Raises:
        UserError: Weights are missing or damaged.
    """
    vocos = load_vocos(codec_dir) if decoder == "vocos" else None
    weights = find_weights("codec 'encodec_24khz'", WEIGHTS, URL, codec_dir, instead="use --codec mini")
    return EncodecCodec(weights, vocos)

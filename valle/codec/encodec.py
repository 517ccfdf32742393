"""The pretrained EnCodec at 24 kHz and 6 kbps (arXiv 2210.13438), the codec of the papers."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from valle.codec.base import Codec
from valle.codec.encodec_package import EncodecModel
from valle.codec.quantizer import codebook_vectors
from valle.codec.vocos import VocosDecoder, load_vocos
from valle.codec.weights import find_weights
from valle.errors import UserError

WEIGHTS = "encodec_24khz-d7cc33bc.th"
URL = f"https://dl.fbaipublicfiles.com/encodec/v0/{WEIGHTS}"


class EncodecCodec(Codec):
    """EnCodec 24 kHz: 75 frames a second, 8 codebooks of 1024.

    weights: the package's own checkpoint file
    decoder: turns codes into speech in the place of EnCodec's own decoder

    EnCodec's LSTM remembers without a limit, so a file longer than a chunk is coded with five seconds of context: the
    same codes up to rare near-ties.
    """

    name = "encodec_24khz"
    sample_rate, hop, num_codebooks, codebook_size, context = 24_000, 320, 8, 1024, 375

    def __init__(self, weights: Path, decoder: VocosDecoder | None = None) -> None:
        self.model = EncodecModel.encodec_model_24khz(pretrained=False)
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state)
        except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
            raise UserError(f"{weights}: not EnCodec's 24 kHz weights ({str(error).splitlines()[0]})") from error
        self.model.set_target_bandwidth(6.0)
        self.model.eval()
        self.decoder = decoder

    @property
    def codebooks(self) -> Tensor:
        return codebook_vectors(self.model.quantizer)[: self.num_codebooks]

    def _encode(self, waveforms: Tensor, frames: Tensor, phones: Tensor | None) -> Tensor:
        codes = torch.zeros(len(waveforms), waveforms.shape[1] // self.hop, self.num_codebooks, dtype=torch.long)
        for row, samples, length in zip(codes, waveforms, frames.tolist(), strict=True):
            if length > 0:
                ((coded, _),) = self.model.encode(samples[None, None, : length * self.hop])
                row[:length] = rearrange(coded, "1 q t -> t q")
        return codes

    def _decode(self, codes: Tensor, frames: Tensor) -> Tensor:
        samples = torch.zeros(len(codes), codes.shape[1] * self.hop)
        for row, item, length in zip(samples, codes, frames.tolist(), strict=True):
            if length > 0:
                if self.decoder is not None:
                    row[: length * self.hop] = self.decoder(item[:length])
                    continue
                decoded = self.model.decode([(rearrange(item[:length], "t q -> 1 q t"), None)])
                row[: length * self.hop] = decoded[0, 0, : length * self.hop]
        return samples


def load_encodec(codec_dir: Path | None, decoder: str | None = None) -> EncodecCodec:
    """Weights from `codec_dir`, else from torch's download cache, else downloaded to it; decoder: "vocos" or None."""
    vocos = load_vocos(codec_dir) if decoder == "vocos" else None
    weights = find_weights("codec 'encodec_24khz'", WEIGHTS, URL, codec_dir, instead="use --codec mini")
    return EncodecCodec(weights, vocos)

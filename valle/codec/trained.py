"""Codecs that were trained by `valle-train`."""

from __future__ import annotations

from torch import Tensor

from valle.codec.base import Codec
from valle.codec.network import CodecNetwork
from valle.codec.quantizer import codebook_vectors, quantize


class TrainedCodec(Codec):
    """A codec around a trained network.

    Args:
        name: Name as in `valle.codec.load(name)`.
        network: The network; it is put into evaluation mode.
    """

    def __init__(self, name: str, network: CodecNetwork) -> None:
        self.name = name
        self.network = network.eval()
        self.sample_rate = network.sample_rate
        self.hop = network.hop
        self.context = network.context
        self.chunk_multiple = network.chunk_multiple
        self.num_codebooks = network.num_codebooks
        self.codebook_size = network.codebook_size

    @property
    def codebooks(self) -> Tensor:
        """The vector of each entry, (codebook, entry, latent_dim)."""
        return codebook_vectors(self.network.quantizer)

    def _encode(self, waveforms: Tensor, frames: Tensor) -> Tensor:
        return quantize(self.network.quantizer, self.network.encode_latent(waveforms, frames), self.merge)

    def _decode(self, codes: Tensor, frames: Tensor) -> Tensor:
        return self.network.decode(codes, frames)

"""The interface of trainable codec networks."""

from __future__ import annotations

from abc import ABC, abstractmethod

from einops import rearrange
from torch import Tensor, nn

from valle.codec.encodec_package import ResidualVectorQuantizer
from valle.codec.quantizer import quantize
from valle.codec.reconstruction_loss import ReconstructionLoss


class CodecNetwork(nn.Module, ABC):
    """An encoder, a residual vector quantizer and a decoder.

    Attributes:
        sample_rate: Sample rate in hertz.
        hop: Samples per frame.
        num_codebooks: Number of codebooks.
        codebook_size: Entries per codebook.
        context: Frames on either side that can change a frame, see `valle.codec.Codec`.
        chunk_multiple: Multiple of frames at which a chunk has to start, see `valle.codec.Codec`.
        phases: Whether codes hold phases. Without them the decoder predicts magnitudes alone.
        quantizer: The quantizer.
    """

    sample_rate: int
    hop: int
    num_codebooks: int
    codebook_size: int
    context: int
    chunk_multiple: int = 1
    phases: bool = True
    quantizer: ResidualVectorQuantizer

    @abstractmethod
    def encode_latent(self, audio: Tensor, frames: Tensor | None = None) -> Tensor:
        """Encode audio before quantization.

        Args:
            audio: (batch, time * hop) samples in [-1, 1].
            frames: Length of each row in frames, (batch,); None: all rows are whole.

        Returns:
            (batch, time, latent_dim); undefined after the end of a row.
        """

    @abstractmethod
    def decode_latent(self, latent: Tensor, frames: Tensor | None = None) -> Tensor:
        """Decode latent vectors (batch, time, latent_dim) to audio (batch, time * hop)."""

    def encode(self, audio: Tensor, frames: Tensor | None = None) -> Tensor:
        """Encode audio (batch, time * hop) as codes (batch, time, codebook) int64; see `encode_latent`."""
        return quantize(self.quantizer, self.encode_latent(audio, frames))

    def decode(self, codes: Tensor, frames: Tensor | None = None) -> Tensor:
        """Decode codes (batch, time, codebook) to audio (batch, time * hop); see `decode_latent`."""
        latent = self.quantizer.vq.decode(rearrange(codes, "b t q -> q b t"))
        return self.decode_latent(latent.transpose(1, 2), frames)

    @abstractmethod
    def build_loss(self, envelope: bool = False) -> ReconstructionLoss:
        """Build the loss that this network's reconstructions are trained on.

        Args:
            envelope: Whether it includes the envelope loss, which is defined for magnitudes only.
        """

    def reconstruct(self, latent: Tensor) -> Tensor:
        """Decode latent vectors (batch, time, latent_dim) to what the loss compares: by default audio."""
        return self.decode_latent(latent)

    def reconstruction_target(self, audio: Tensor) -> Tensor:
        """Return what `reconstruct` should give for audio (batch, time * hop)."""
        return audio

    def convert_weights(self, other: CodecNetwork) -> dict[str, Tensor]:
        """Return the weights of another network in the form that this one loads."""
        return other.state_dict()

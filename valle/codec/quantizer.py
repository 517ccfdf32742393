"""The residual vector quantizer of the `encodec` package, with a correction for restarted codes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from valle.codec.encodec_package import EuclideanCodebook, ResidualVectorQuantizer

# Label of an entry that stands for no phone; cross entropy ignores it as a target.
NO_PHONE = -100


class RestartingCodebook(EuclideanCodebook):
    """A codebook that restarts the moving averages of a dead code together with its vector.

    The package replaces a dead code's vector but leaves its moving averages as they were, and then computes the vector
    from those averages again, so that the replacement is lost.
    """

    embed: Tensor
    embed_avg: Tensor
    cluster_size: Tensor

    def replace_(self, samples: Tensor, mask: Tensor) -> None:
        """Replace the entries in `mask` (entry,) by random vectors of `samples` (n, latent_dim)."""
        super().replace_(samples, mask)
        self.embed_avg[mask] = self.embed[mask]
        self.cluster_size[mask] = 1.0


def build_quantizer(
    latent_dim: int, num_codebooks: int, codebook_size: int, dead_code_threshold: float
) -> ResidualVectorQuantizer:
    """Build a residual quantizer whose codebooks are learned as moving averages.

    Args:
        latent_dim: Width of the vectors.
        num_codebooks: Number of codebooks.
        codebook_size: Entries per codebook.
        dead_code_threshold: Uses per step (moving average) under which an entry is replaced by a vector of the batch.

    Returns:
        A quantizer of (batch, latent_dim, time) vectors. Its buffer `phones` (entry,) holds the class of the phone
        that each entry of the first codebook stands for, or NO_PHONE; see `valle.codec.phone_labelled`.
    """
    quantizer: Any = ResidualVectorQuantizer(latent_dim, n_q=num_codebooks, bins=codebook_size)
    for layer in quantizer.vq.layers:
        layer._codebook = RestartingCodebook(
            latent_dim,
            codebook_size,
            kmeans_init=True,
            kmeans_iters=20,
            # The package declares an int and compares only.
            threshold_ema_dead_code=dead_code_threshold,  # type: ignore[arg-type]
        )
    quantizer.register_buffer("phones", torch.full((codebook_size,), NO_PHONE))
    return quantizer


def codebook_vectors(quantizer: ResidualVectorQuantizer) -> Tensor:
    """Return the vector of each entry, (codebook, entry, latent_dim)."""
    layers: Any = quantizer.vq.layers
    return torch.stack([layer.codebook.detach() for layer in layers])


def mean_of_frames(latent: Tensor, factor: int) -> Tensor:
    """Replace each `factor` vectors of (batch, time, dim) by their mean; the last ones may be fewer."""
    time = latent.shape[1]
    missing = -time % factor
    sums = F.pad(latent, (0, 0, 0, missing)).unflatten(1, (-1, factor)).sum(2)
    counts = F.pad(latent.new_ones(time), (0, missing)).unflatten(0, (-1, factor)).sum(1)
    return repeat(sums / counts[:, None], "b t d -> b (t f) d", f=factor)[:, :time]


def quantize(quantizer: ResidualVectorQuantizer, latent: Tensor, merge: int = 1) -> Tensor:
    """Quantize latent vectors (batch, time, latent_dim): codes (batch, time, codebook) int64.

    Args:
        quantizer: The quantizer.
        latent: The vectors.
        merge: Consecutive frames that share their first code (`valle.codec.merging`).
    """
    if merge == 1:
        return rearrange(quantizer.vq.encode(latent.transpose(1, 2)), "q b t -> b t q")
    layers: Any = quantizer.vq.layers
    first = layers[0].encode(mean_of_frames(latent, merge).transpose(1, 2))
    return quantize_remainder(quantizer, latent, first)


def quantize_remainder(quantizer: ResidualVectorQuantizer, latent: Tensor, first: Tensor) -> Tensor:
    """Quantize what the first codes (batch, time) leave of latent vectors (batch, time, latent_dim).

    Returns:
        Codes (batch, time, codebook) int64 that begin with the first ones.
    """
    layers: Any = quantizer.vq.layers
    codes = [first]
    remainder = latent - layers[0].decode(first).transpose(1, 2)
    for layer in layers[1:]:
        codes.append(layer.encode(remainder.transpose(1, 2)))
        remainder = remainder - layer.decode(codes[-1]).transpose(1, 2)
    return torch.stack(codes, dim=-1)

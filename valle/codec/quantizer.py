"""The residual vector quantizer of the `encodec` package, with codes that really come back to life."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from valle.codec.encodec_package import EuclideanCodebook, ResidualVectorQuantizer


class RestartingCodebook(EuclideanCodebook):
    """A codebook whose restarted codes survive.

    The package replaces a dead code's vector but leaves its moving averages as they were, and the very next line
    computes the vector from those averages again. Here the averages are restarted with the vector.
    """

    embed: Tensor
    embed_avg: Tensor
    cluster_size: Tensor

    def replace_(self, samples: Tensor, mask: Tensor) -> None:
        super().replace_(samples, mask)
        self.embed_avg[mask] = self.embed[mask]
        self.cluster_size[mask] = 1.0


def build_quantizer(
    latent_dim: int, num_codebooks: int, codebook_size: int, dead_code_threshold: float
) -> ResidualVectorQuantizer:
    """Residual quantizer of (batch, latent_dim, time) vectors, its codebooks learned as moving averages.

    dead_code_threshold: uses a step (moving average) under which a code is replaced by a vector of the batch
    """
    quantizer: Any = ResidualVectorQuantizer(latent_dim, n_q=num_codebooks, bins=codebook_size)
    for layer in quantizer.vq.layers:
        layer._codebook = RestartingCodebook(
            latent_dim,
            codebook_size,
            kmeans_init=True,
            kmeans_iters=20,
            threshold_ema_dead_code=dead_code_threshold,  # type: ignore[arg-type]  # a float works
        )
    return quantizer


def codebook_vectors(quantizer: ResidualVectorQuantizer) -> Tensor:
    """What the codes stand for: (codebook, entry, latent_dim)."""
    layers: Any = quantizer.vq.layers
    return torch.stack([layer.codebook.detach() for layer in layers])

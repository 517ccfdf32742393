"""The residual vector quantizer of the `encodec` package, with codes that really come back to life."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from valle.codec.encodec_package import EuclideanCodebook, ResidualVectorQuantizer
from valle.text.phones import UNKNOWN

OTHER_PHONE = 0.5  # squared distance a dimension that a first code of another phone must be nearer by


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

    Its buffer `phones` (codebook_size,) holds the class of the phone that each first code stands for, UNKNOWN if none.
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
    quantizer.register_buffer("phones", torch.full((codebook_size,), UNKNOWN))
    return quantizer


def codebook_vectors(quantizer: ResidualVectorQuantizer) -> Tensor:
    """What the codes stand for: (codebook, entry, latent_dim)."""
    layers: Any = quantizer.vq.layers
    return torch.stack([layer.codebook.detach() for layer in layers])


def quantize(quantizer: ResidualVectorQuantizer, latent: Tensor, phones: Tensor | None = None) -> Tensor:
    """latent (batch, time, latent_dim) -> codes (batch, time, codebook).

    phones: (batch, time) classes of the phones spoken, UNKNOWN where they are not. There the first code is one that
        stands for the phone of its frame or of one beside it, if none of another is much nearer. So a model that is
        trained on the codes learns clearer speech than the encoder hears; the codebooks after it make up for it.
    """
    layers: Any = quantizer.vq.layers
    names = quantizer.get_buffer("phones")
    if phones is None or not bool((phones != UNKNOWN).any() and (names != UNKNOWN).any()):
        return rearrange(quantizer.vq.encode(latent.transpose(1, 2)), "q b t -> b t q")
    vectors = codebook_vectors(quantizer)[0]
    before, after = (F.pad(phones, pad, value=UNKNOWN) for pad in ((1, 0), (0, 1)))
    said = torch.stack((phones, before[:, :-1], after[:, 1:]))[..., None] == names
    other = (phones != UNKNOWN)[..., None] & ~said.any(0)
    distance = torch.cdist(latent, vectors.expand(len(latent), -1, -1)).square()
    first = (distance + OTHER_PHONE * latent.shape[2] * other).argmin(-1)
    codes, rest = [first], latent - vectors[first]
    for layer in layers[1:]:
        codes.append(layer.encode(rest.transpose(1, 2)))
        rest = rest - layer.decode(codes[-1]).transpose(1, 2)
    return torch.stack(codes, dim=-1)

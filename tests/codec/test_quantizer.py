"""The residual vector quantizer."""

from __future__ import annotations

import torch

from valle.codec.quantizer import build_quantizer


def test_dead_codes_are_restarted() -> None:
    quantizer = build_quantizer(latent_dim=4, num_codebooks=8, codebook_size=8, dead_code_threshold=0.5)
    codebook = quantizer.train().vq.layers[0]._codebook
    vectors = torch.randn(1, 200, 4, generator=torch.Generator().manual_seed(0))
    codebook(vectors)
    codebook.cluster_size[3] = 0.0
    codebook.embed[3] = torch.full((4,), 1e3)
    codebook(vectors)
    assert codebook.embed[3].abs().max() < 10

"""Low-rank adapters (LoRA, arXiv 2106.09685): a new voice or language from minutes of speech, few weights to train."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.transformer import Block


class LowRank(nn.Module):
    """W + B A: `down` A (rank, input), `up` B (output, rank), which begins as zero (section 4.1)."""

    def __init__(self, outputs: int, inputs: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def add_adapters(model: AR | NAR, rank: int) -> None:
    """Give every linear layer of the blocks an adapter, and let nothing else be trained but the phonemes' embeddings,
    which a new language adds to."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("phoneme_embedding"))
    for block in model.transformer.blocks:
        assert isinstance(block, Block)
        for layer in (block.qkv, block.out, block.ffn_in, block.ffn_out):
            adapter = LowRank(layer.out_features, layer.in_features, rank)
            parametrize.register_parametrization(layer, "weight", adapter)


ORIGINAL = ".parametrizations.weight.original"  # how torch names a weight that has an adapter


def merged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a model with adapters -> those of the model without that does the same; others stay as they are."""
    plain = {name: value for name, value in state.items() if ".parametrizations." not in name}
    for name, weight in state.items():
        if name.endswith(ORIGINAL):
            layer = name.removesuffix(ORIGINAL)
            up, down = (state[f"{layer}.parametrizations.weight.0.{part}"] for part in ("up", "down"))
            plain[f"{layer}.weight"] = weight + (up.float() @ down.float()).to(weight.dtype)
    return plain


def with_adapters(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a plain model under the names of a model with adapters, whose adapters stay as in `own`."""
    found = dict(state)
    for name, value in own.items():
        if name.endswith(ORIGINAL):
            found[name] = found.pop(f"{name.removesuffix(ORIGINAL)}.weight")
        elif ".parametrizations." in name:
            found[name] = value
    return found

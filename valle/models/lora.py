"""Low-rank adapters (LoRA, arXiv 2106.09685), to fine-tune on minutes of speech."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.transformer import Block


class LowRank(nn.Module):
    """The parametrization W + B A of a weight (section 4.1).

    Args:
        outputs: Rows of W.
        inputs: Columns of W.
        rank: Rank of the adapter.

    Attributes:
        down: A, (rank, inputs).
        up: B, (outputs, rank), initialized with zeros.
        enabled: Whether the weight is W + B A; else it is W.
    """

    def __init__(self, outputs: int, inputs: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        self.enabled = True

    def forward(self, weight: Tensor) -> Tensor:
        """Return W + B A, of the shape of W; without the adapter W itself."""
        return weight + self.up @ self.down if self.enabled else weight


def add_adapters(model: AR | NAR, rank: int) -> None:
    """Add an adapter to every linear layer of the blocks, and freeze all other weights but some embeddings.

    Those of phonemes and languages are trained, since a new language adds some.

    Args:
        model: The model, which is changed.
        rank: Rank of the adapters.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(("phoneme_embedding", "language_embedding")))
    for block in model.transformer.blocks:
        assert isinstance(block, Block)
        for layer in (block.qkv, block.out, block.ffn_in, block.ffn_out):
            adapter = LowRank(layer.out_features, layer.in_features, rank)
            parametrize.register_parametrization(layer, "weight", adapter)


@contextmanager
def without_adapters(model: AR | NAR) -> Iterator[None]:
    """Switch the adapters of a model off: within the block it computes what it did before they were trained."""
    adapters = [module for module in model.modules() if isinstance(module, LowRank)]
    for adapter in adapters:
        adapter.enabled = False
    try:
        yield
    finally:
        for adapter in adapters:
            adapter.enabled = True


# The name that torch gives to a weight with a parametrization.
ORIGINAL = ".parametrizations.weight.original"


def merged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Merge adapters into the weights: the state dict of a model without adapters that computes the same."""
    plain = {name: value for name, value in state.items() if ".parametrizations." not in name}
    for name, weight in state.items():
        if name.endswith(ORIGINAL):
            layer = name.removesuffix(ORIGINAL)
            up = state[f"{layer}.parametrizations.weight.0.up"].float()
            down = state[f"{layer}.parametrizations.weight.0.down"].float()
            plain[f"{layer}.weight"] = weight + (up @ down).to(weight.dtype)
    return plain


def with_adapters(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert the state dict of a model without adapters to that of a model with adapters.

    Args:
        state: Weights of the model without adapters.
        own: Weights of the model with adapters, whose adapters are used.
    """
    converted = dict(state)
    for name, value in own.items():
        if name.endswith(ORIGINAL):
            converted[name] = converted.pop(f"{name.removesuffix(ORIGINAL)}.weight")
        elif ".parametrizations." in name:
            converted[name] = value
    return converted

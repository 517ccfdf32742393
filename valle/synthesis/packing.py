"""Weights laid out for decoding on a CPU, where a step is as fast as its weights can be read.

The linear layers of a model are replaced by layers that hold their weights in the order in which oneDNN's or FBGEMM's
kernels read them: float32, bfloat16, or int8. What lies between them, attention with its cache too, stays in float32:
it is little work, and torch's attention of one query is slow in bfloat16 on a CPU.
"""

from __future__ import annotations

import warnings
from typing import TypeVar

import torch
from torch import Tensor, nn

from valle.errors import UserError

Model = TypeVar("Model", bound=nn.Module)
DTYPES = ("float32", "bfloat16", "int8")


class PackedLinear(nn.Module):
    """A linear layer in oneDNN's own layout, float32 or bfloat16; its input and output are float32."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().to(dtype), 1)
        self.offset = None if layer.bias is None else layer.bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x.to(self.dtype), self.packed, self.offset, "none", [], "").float()


class Int8Linear(nn.Module):
    """A linear layer with int8 weights, one scale an output, and an input that is rounded to 8 bits as it comes."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scales = weight.abs().amax(1).clamp(min=1e-8) / 127
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zero = torch.zeros(len(weight), dtype=torch.long)
            quantized = torch.quantize_per_channel(weight, scales, zero, 0, torch.qint8)
        bias = None if layer.bias is None else layer.bias.detach().float()
        self.packed = torch.ops.quantized.linear_prepack(quantized, bias)
        self.reduce_range = not torch.cpu._is_vnni_supported()  # without VNNI, sums of full 8 bits overflow

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_dynamic(x, self.packed, self.reduce_range)


@torch.no_grad()
def pack(model: Model, dtype: str, device: str = "cpu") -> Model:
    """Make a model ready to decode: move it to the device and lay out its linear layers there.

    dtype: float32, bfloat16 or int8; on a GPU the first two, by the usual layers
    Raises UserError for what the device cannot do.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not known; use {', '.join(DTYPES)}")
    if not device.startswith("cpu"):
        if dtype == "int8":
            raise UserError(f"dtype int8 is for the CPU; use bfloat16 on {device}")
        return model.to(device, torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    if dtype == "float32" and not torch.backends.mkldnn.is_available():
        return model
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, _packed(child, dtype))
    return model


def _packed(layer: nn.Linear, dtype: str) -> nn.Module:
    if dtype != "int8":
        return PackedLinear(layer, getattr(torch, dtype))
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        raise UserError("dtype int8 needs torch's FBGEMM kernels, which this machine has not; use bfloat16")
    torch.backends.quantized.engine = "fbgemm"
    return Int8Linear(layer)

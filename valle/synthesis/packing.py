"""Weights laid out for decoding on a CPU, where a step is as fast as its weights can be read.

The linear layers of a model are replaced by layers that hold their weights in the order in which oneDNN's or FBGEMM's
kernels read them: float32, bfloat16, or int8. What lies between them stays in float32: it is little work, and torch's
attention of one query is slow in bfloat16 on a CPU. The NAR model's attention, of all positions at once, is much work;
with smaller weights it is done in bfloat16.
"""

from __future__ import annotations

import warnings
from typing import TypeVar

import torch
from torch import Tensor, nn

from valle.errors import UserError
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.transformer import Block
from valle.synthesis.graphs import GraphTransformer
from valle.synthesis.native import NativeTransformer, quantize

Model = TypeVar("Model", bound=nn.Module)
DTYPES = ("float32", "bfloat16", "int8")
HEADS = 4  # whose attention is worked out at once


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
        weight, scales = quantize(layer.weight.detach())
        zero = torch.zeros(len(weight), dtype=torch.long)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantized = torch._make_per_channel_quantized_tensor(weight, scales.double(), zero, 0)
        bias = None if layer.bias is None else layer.bias.detach().float()
        self.packed = torch.ops.quantized.linear_prepack(quantized, bias)
        self.reduce_range = not torch.cpu._is_vnni_supported()  # without VNNI, sums of full 8 bits overflow

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_dynamic(x, self.packed, self.reduce_range)


def attend_in_bfloat16(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, is_causal: bool
) -> Tensor:
    """Scaled dot-product attention of (batch, heads, time, head_dim), for inference without a causal mask.

    Written out, and for HEADS heads at a time so that their scores stay in the processor's cache, it takes two thirds
    of the time of torch's fused kernel.
    """
    assert dropout == 0
    assert not is_causal
    low = [x.bfloat16() for x in (query / query.shape[-1] ** 0.5, key.transpose(2, 3), value)]
    out = torch.empty_like(query)
    for row in range(len(query)):
        for head in range(0, query.shape[1], HEADS):
            q, k, v = (x[row, head : head + HEADS] for x in low)
            scores = torch.bmm(q, k)
            if mask is not None:
                scores = scores.masked_fill(~mask[row], -torch.inf)
            out[row, head : head + HEADS] = torch.bmm(scores.softmax(-1), v)
    return out


@torch.no_grad()
def pack(model: Model, dtype: str, device: str = "cpu", compiled: bool = False) -> Model:
    """Make a model ready to decode: move it to the device and lay out its linear layers there.

    dtype:    float32, bfloat16 or int8; on a GPU the first two, by the usual layers
    compiled: an AR model's steps are taken by compiled code, made by this machine's C++ compiler, or on a GPU by graphs
    Raises UserError for what the device or the machine cannot do.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not known; use {', '.join(DTYPES)}")
    if not device.startswith("cpu"):
        if dtype == "int8":
            raise UserError(f"dtype int8 is for the CPU; use bfloat16 on {device}")
        model = model.to(device, torch.bfloat16 if dtype == "bfloat16" else torch.float32)
        if compiled and isinstance(model, AR):
            model.transformer = GraphTransformer(model.transformer)  # type: ignore[assignment]
        return model
    native = NativeTransformer(model.transformer, dtype) if compiled and isinstance(model, AR) else None
    if dtype != "float32" or torch.backends.mkldnn.is_available():
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(module, name, _packed(child, dtype, one_position=isinstance(model, AR)))
            if dtype != "float32" and isinstance(module, Block) and isinstance(model, NAR):
                module.attend = attend_in_bfloat16
    if native is not None:
        model.transformer = native  # type: ignore[assignment]
    return model


def _packed(layer: nn.Linear, dtype: str, one_position: bool) -> nn.Module:
    """one_position: whether the layer mostly sees one, as the AR model's do, or all at once, as the NAR model's do."""
    if dtype != "int8":
        return PackedLinear(layer, getattr(torch, dtype))
    engine = "fbgemm" if one_position else "onednn"  # each the faster at its own
    if engine not in torch.backends.quantized.supported_engines:
        raise UserError(f"dtype int8 needs torch's {engine} kernels, which this machine has not; use bfloat16")
    torch.backends.quantized.engine = engine
    return Int8Linear(layer)

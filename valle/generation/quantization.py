"""Linear layers for inference on a CPU, where the speed of a decode step is that of reading its weights.

Over 300 lines, since each kernel of torch needs a layer of its own.

The linear layers of a model are replaced by layers that store their weights in float32, bfloat16 or int8, in the order
in which the library's kernels read them. Everything between them stays in float32.

Batch invariance: a matrix product of eight rows need not be bitwise equal to eight products of one row, and no library
promises it. Most layers here and the attention of a decode step therefore compute each item of a batch by a call of its
own, with the shapes that it would have alone. Batches are decoded fast by the compiled step
(`valle.generation.cpu_step`), whose sums do not depend on the number of rows.
"""

from __future__ import annotations

import functools
import platform
import warnings
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from valle.devices import check_device
from valle.errors import UserError
from valle.generation.cpu_step import CompiledStep, can_compile, quantize
from valle.generation.cuda_graphs import GraphStep
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.transformer import Block

Model = TypeVar("Model", bound=nn.Module)
DTYPES = ("float32", "bfloat16", "int8", "auto")
HEADS = 4  # attention heads that are computed together in bfloat16
# Positions of an item up to which torch's kernels for bfloat16 and int8 weights are faster than widening the weights to
# float32 for one matrix product, which reads more but multiplies faster.
FEW_BFLOAT16 = 8
FEW_INT8 = 64

KERNEL_INPUTS = 32  # inputs that torch's kernel for int8 weights reads at once, at most


class ItemwiseLinear(nn.Module):
    """Base class of linear layers that compute each item of the first dimension by itself.

    Input and output are float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Compute (batch, ..., inputs) -> (batch, ..., outputs), item by item."""
        if len(x) == 1:
            return self.item(x)
        return torch.cat([self.item(part) for part in x.split(1)])

    def item(self, x: Tensor) -> Tensor:
        """Compute one item: (1, ..., inputs) -> (1, ..., outputs)."""
        raise NotImplementedError


class PlainLinear(ItemwiseLinear):
    """A float32 layer by torch's own kernels, where torch has no oneDNN."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def item(self, x: Tensor) -> Tensor:
        """Compute one item: (1, ..., inputs) -> (1, ..., outputs)."""
        return self.layer(x)


class PackedLinear(nn.Module):
    """A layer in oneDNN's own layout, float32 or bfloat16, of all positions in one call.

    oneDNN has a kernel of its own for one position, whose sums are in another order; those for several give a position
    the same bits whatever their number (tests/generation/test_capabilities.py). So one position is computed as two.
    """

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().to(dtype), 1)
        self.offset = None if layer.bias is None else layer.bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Compute (..., inputs) -> (..., outputs), float32."""
        flat = x.reshape(-1, x.shape[-1]).to(self.dtype)
        padded = F.pad(flat, (0, 0, 0, 1)) if len(flat) == 1 else flat
        y = torch.ops.mkldnn._linear_pointwise(padded, self.packed, self.offset, "none", [], "")
        return y[: len(flat)].float().unflatten(0, x.shape[:-1])


class BFloat16Linear(ItemwiseLinear):
    """A layer with bfloat16 weights for processors where oneDNN has no bfloat16 products (before AVX-512).

    Few positions are multiplied by torch's own kernel, which reads bfloat16; many in float32, which is faster there.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = layer.weight.detach().bfloat16()
        self.offset = None if layer.bias is None else layer.bias.detach().bfloat16()

    def item(self, x: Tensor) -> Tensor:
        """Compute one item: (1, ..., inputs) -> (1, ..., outputs)."""
        dtype = torch.bfloat16 if x.numel() <= FEW_BFLOAT16 * x.shape[-1] else torch.float32
        offset = None if self.offset is None else self.offset.to(dtype)
        return F.linear(x.to(dtype), self.weight.to(dtype), offset).float()


class Int8Linear(ItemwiseLinear):
    """A layer with int8 weights, one scale per output, and inputs rounded to 8 bits with one scale per item.

    For processors with VNNI: without it the sums of full 8-bit products overflow.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight, scales = quantize(layer.weight.detach())
        zero = torch.zeros(len(weight), dtype=torch.long)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantized = torch._make_per_channel_quantized_tensor(weight, scales.double(), zero, 0)
        bias = None if layer.bias is None else layer.bias.detach().float()
        self.packed = torch.ops.quantized.linear_prepack(quantized, bias)

    def item(self, x: Tensor) -> Tensor:
        """Compute one item: (1, ..., inputs) -> (1, ..., outputs)."""
        return torch.ops.quantized.linear_dynamic(x, self.packed, False)


class Int8WeightLinear(ItemwiseLinear):
    """A layer with int8 weights, one scale per output, on any processor.

    Few positions are multiplied by torch's kernel for int8 weights and bfloat16 inputs, many in float32. Only the
    weights are rounded to 8 bits, and sums are float32, so nothing overflows. torch's kernel reads inputs by whole
    vectors and past the end of a row that does not fill them, so rows are padded with zeros.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight, self.scales = quantize(layer.weight.detach())
        self.padding = -layer.in_features % KERNEL_INPUTS
        self.weight = F.pad(weight, (0, self.padding))
        self.offset = None if layer.bias is None else layer.bias.detach().float()

    def item(self, x: Tensor) -> Tensor:
        """Compute one item: (1, ..., inputs) -> (1, ..., outputs)."""
        if x.numel() > FEW_INT8 * x.shape[-1]:
            y = F.linear(x, self.weight[:, : x.shape[-1]].float()) * self.scales
        else:
            inputs = F.pad(x.flatten(0, -2).bfloat16(), (0, self.padding))
            y = torch._weight_int8pack_mm(inputs, self.weight, self.scales.bfloat16()).float()
            y = y.unflatten(0, x.shape[:-1])
        return y if self.offset is None else y + self.offset


@functools.cache
def has_bfloat16_kernels() -> bool:
    """Return whether oneDNN multiplies bfloat16 matrices here.

    It is tried, since oneDNN's own answer ignores a lowered instruction set.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    try:
        torch.ops.mkldnn._reorder_linear_weight(torch.zeros(16, 16, dtype=torch.bfloat16), 1)
    except RuntimeError:
        return False
    return True


@functools.cache
def has_exact_int8_kernels(engine: str) -> bool:
    """Return whether this engine's products of int8 weights and 8-bit inputs are exact here.

    They are with VNNI only: without it, the 16-bit sums of two products overflow. It is tried with the largest values.
    """
    if engine not in torch.backends.quantized.supported_engines or not torch.cpu._is_vnni_supported():
        return False
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2"):
        return False
    torch.backends.quantized.engine = engine
    largest = nn.Linear(64, 64, bias=False)
    largest.weight = nn.Parameter(torch.ones(64, 64), requires_grad=False)
    layer = Int8Linear(largest)
    return all(bool((layer(torch.ones(1, rows, 64)) - 64).abs().max() < 1) for rows in (1, 32))


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


def attend_by_row(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, is_causal: bool
) -> Tensor:
    """Scaled dot-product attention of (batch, heads, time, head_dim), each row over its own keys only.

    mask: (batch, 1, 1, key) bool, a prefix of each row; None: all keys
    """
    lengths = [key.shape[2]] * len(query) if mask is None else mask.flatten(1).sum(1).tolist()
    rows = []
    for row, length in enumerate(lengths):
        own = slice(row, row + 1)
        rows.append(
            F.scaled_dot_product_attention(
                query[own], key[own, :, :length], value[own, :, :length], None, dropout, is_causal
            )
        )
    return torch.cat(rows)


def choose_dtype(device: str, compiled: bool) -> str:
    """Return what `auto` stands for: the fastest dtype whose kernels have exact sums on this machine.

    On a GPU bfloat16 where it computes in it. On a CPU int8, which reads the fewest bytes per step; float32 where
    neither the compiled step nor torch has vectorized kernels for int8 weights.
    """
    if check_device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    arm = platform.machine().lower() in ("aarch64", "arm64")
    vectorized = arm or torch.backends.cpu.get_cpu_capability() != "DEFAULT"
    return "int8" if compiled or vectorized else "float32"


@torch.no_grad()
def pack(model: Model, dtype: str, device: str = "cpu", compiled: bool | None = False) -> Model:
    """Prepare a model for inference: move it to the device and replace its linear layers.

    Args:
        model: Changed in place.
        dtype: float32, bfloat16, int8 or auto (`choose_dtype`); on a GPU float32 and bfloat16, by the usual layers.
        device: cpu, cuda or cuda:N.
        compiled: Whether decode steps of an AR model run in code compiled by this machine's C++ compiler, or on a GPU
            as CUDA graphs. None: on a CPU, where there is a compiler and the model's sizes fit.

    Returns:
        The model.

    Raises:
        UserError: The device or the machine does not support it.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not known; use {', '.join(DTYPES)}")
    target = check_device(device)
    if compiled is None:
        compiled = target.type == "cpu" and isinstance(model, AR) and can_compile(model.config)
    if dtype == "auto":
        dtype = choose_dtype(device, compiled)
    if target.type != "cpu":
        if dtype == "int8":
            raise UserError(f"dtype int8 is for the CPU; use bfloat16 on {device}")
        model = model.to(target, torch.bfloat16 if dtype == "bfloat16" else torch.float32)
        if compiled and isinstance(model, AR):
            model.step_backend = GraphStep(model.transformer)
        return model
    if compiled and isinstance(model, AR):
        # It reads the weights of the linear layers, which are replaced next.
        model.step_backend = CompiledStep(model.transformer, dtype)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, _packed(child, dtype, one_position=isinstance(model, AR)))
        if isinstance(module, Block) and isinstance(model, AR):
            module.attend = attend_by_row
        if isinstance(module, Block) and isinstance(model, NAR) and dtype != "float32" and has_bfloat16_kernels():
            module.attend = attend_in_bfloat16
    return model


def _packed(layer: nn.Linear, dtype: str, one_position: bool) -> nn.Module:
    """Return the layer that replaces a linear layer.

    Args:
        layer: The linear layer.
        dtype: Of its weights.
        one_position: Whether most calls are decode steps, as in the AR model, not whole sequences: it decides which
            engine is the faster one.
    """
    if dtype == "int8":
        engine = "fbgemm" if one_position else "onednn"
        if has_exact_int8_kernels(engine):
            torch.backends.quantized.engine = engine
            return Int8Linear(layer)
        return Int8WeightLinear(layer)
    if dtype == "bfloat16" and not has_bfloat16_kernels():
        return BFloat16Linear(layer)
    if not torch.backends.mkldnn.is_available():
        return PlainLinear(layer)
    return PackedLinear(layer, getattr(torch, dtype))

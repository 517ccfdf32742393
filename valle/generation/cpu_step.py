"""Decode steps of the AR model on a CPU as one call of compiled C++ code, `step.cpp`.

Enabled by `--compile`, and by default where there is a C++ compiler. The library is saved in the user's cache folder
under a name that depends on source, compiler and processor, so that it is compiled once, in about two seconds.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import mmap
import os
import platform
import shutil
import subprocess
from ctypes import POINTER, Structure, c_int64, c_void_p
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn

from valle.errors import UserError
from valle.files import atomic_path, cache_directory
from valle.models.config import TransformerConfig
from valle.models.kv_cache import KVCache
from valle.models.transformer import Block, Transformer

SOURCE = Path(__file__).with_name("step.cpp")
BLOCK_OUTPUTS = 4  # outputs of a block of weights, as in the source
ALIGNMENT = 64  # divides all sizes, so that rows fill whole vectors of any instruction set
# No -ffast-math: the order of sums must not depend on the number of rows.
OPTIONS = ["-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC"]


class _Linear(Structure):
    _fields_ = [(name, c_void_p) for name in ("weight", "scale", "weight_sum", "bias")] + [
        (name, c_int64) for name in ("outputs", "inputs")
    ]


class _Layer(Structure):
    _fields_ = [
        (name, c_void_p)
        for name in ("attention_norm_weight", "attention_norm_bias", "ffn_norm_weight", "ffn_norm_bias")
    ] + [(name, _Linear) for name in ("qkv", "out", "ffn_in", "ffn_out")]


class _Step(Structure):
    _fields_ = [(name, c_int64) for name in ("layers", "rows", "heads", "dim", "ffn_dim", "max_length")] + [
        (name, c_void_p) for name in ("lengths", "keys", "values", "x")
    ]


def target_option() -> str:
    """Return the compiler's option for the instruction set that torch uses here.

    The environment variable ATEN_CPU_CAPABILITY can lower it.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "-mcpu=native"
    return {"DEFAULT": "-march=x86-64-v2", "AVX2": "-march=x86-64-v3"}.get(
        torch.backends.cpu.get_cpu_capability(), "-march=native"
    )


def compile_step() -> Path:
    """Compile `step.cpp` unless the cache directory has the library already.

    Returns:
        The shared library.

    Raises:
        UserError: there is no compiler, or it failed.
    """
    target = target_option()
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        raise UserError("--compile needs a C++ compiler, and there is none; install g++, or leave --compile out")
    # Predefined macros: they identify the compiler's version and the processor.
    macros = _run([compiler, target, "-E", "-dM", "-x", "c++", os.devnull])
    identity = hashlib.sha256(SOURCE.read_bytes() + repr([target, *OPTIONS]).encode() + macros.encode())
    library = cache_directory() / f"step-{identity.hexdigest()[:16]}.so"
    if not library.is_file():
        with atomic_path(library) as temporary:
            object_file = temporary.with_suffix(".o")
            try:
                _run([compiler, target, *OPTIONS, "-c", str(SOURCE), "-o", str(object_file)])
                _run([compiler, "-shared", "-fopenmp", str(object_file), "-o", str(temporary)])
            finally:
                object_file.unlink(missing_ok=True)
    return library


def can_compile(config: TransformerConfig) -> bool:
    """Return whether decode steps of a transformer of these sizes can be compiled here."""
    if config.dim % ALIGNMENT or config.ffn_dim % ALIGNMENT:
        return False
    try:
        _library()
    except (UserError, OSError):
        # There is no compiler, or the cache folder cannot be written.
        return False
    return True


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8", errors="replace")
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["?"]
        raise UserError(
            f"--compile: {command[0]} failed ({lines[0][:160]}); set CXX to another, or leave --compile out"
        )
    return done.stdout


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(str(compile_step()))


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round weights (outputs, inputs) to int8; returns them and the (outputs,) scales to multiply them by."""
    scales = weight.float().abs().amax(1).clamp(min=1e-8) / 127
    return (weight.float() / scales[:, None]).round_().to(torch.int8), scales


def huge_pages(size: int) -> Tensor:
    """Allocate bytes, (size,) uint8, in pages of 2 MB where the system has them, for fewer misses of the TLB."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(size, dtype=torch.uint8)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)


class CompiledStep:
    """A `StepBackend` of compiled code.

    Args:
        transformer: The AR model's transformer; its linear layers' weights are copied.
        dtype: float32, bfloat16 or int8, of the linear layers' weights in a step. Keys and values are stored in float32
            with float32 weights, in bfloat16 with the others.

    Attributes:
        cache_dtype: Dtype of the `KVCache` that a step reads.
    """

    def __init__(self, transformer: Transformer, dtype: str) -> None:
        self.config = transformer.config
        self.norm = transformer.norm
        if self.config.dim % ALIGNMENT or self.config.ffn_dim % ALIGNMENT:
            raise UserError(
                f"--compile: dim {self.config.dim} and ffn_dim {self.config.ffn_dim} must divide by {ALIGNMENT}"
            )
        self.cache_dtype = torch.float32 if dtype == "float32" else torch.bfloat16
        self._vector_bytes = _library().vector_bytes()
        self._step = getattr(_library(), f"step_{dtype}")
        self._step.argtypes = (POINTER(_Step), POINTER(_Layer))
        self._step.restype = None
        blocks = [block for block in transformer.blocks if isinstance(block, Block)]
        linears = [layer for block in blocks for layer in (block.qkv, block.out, block.ffn_in, block.ffn_out)]
        # Tensors that the structures point to, so that they are not freed.
        self._referenced: list[Tensor] = []
        self.memory = huge_pages(sum(layer.weight.numel() for layer in linears) * getattr(torch, dtype).itemsize)
        self._used = 0
        self._layers = (_Layer * len(blocks))(*(self._layer(block, dtype) for block in blocks))

    def _pointer(self, tensor: Tensor) -> int:
        self._referenced.append(tensor.detach().contiguous())
        return self._referenced[-1].data_ptr()

    def _linear(self, layer: nn.Linear, dtype: str) -> _Linear:
        weight = layer.weight.detach()
        scale = None
        weight_sum = None
        if dtype == "int8":
            weight, scales = quantize(weight)
            scale = self._pointer(scales)
            weight_sum = self._pointer(weight.sum(1, dtype=torch.int32))
        low = weight.to(getattr(torch, dtype))
        storage = self.memory[self._used : self._used + low.numel() * low.itemsize]
        self._used += len(storage)
        blocks = rearrange(low, "(n o) (k i) -> n k o i", o=BLOCK_OUTPUTS, i=self._vector_bytes // low.itemsize)
        storage.view(low.dtype).view(blocks.shape).copy_(blocks)
        bias = self._pointer(layer.bias.float())
        return _Linear(storage.data_ptr(), scale, weight_sum, bias, layer.out_features, layer.in_features)

    def _layer(self, block: Block, dtype: str) -> _Layer:
        norms = (block.attention_norm, block.ffn_norm)
        parameters = [self._pointer(p.float()) for norm in norms for p in (norm.weight, norm.bias)]  # type: ignore[arg-type]
        linears = (block.qkv, block.out, block.ffn_in, block.ffn_out)
        return _Layer(*parameters, *(self._linear(layer, dtype) for layer in linears))

    def __call__(self, x: Tensor, *, mask: Tensor | None, cache: KVCache) -> Tensor:
        """Run one decode step, see `StepBackend`. The cache's lengths tell what a row attends to, not the mask."""
        if cache.max_position >= cache.max_length or cache.keys.dtype != self.cache_dtype:
            raise ValueError(
                f"a cache of {cache.keys.dtype} with {cache.max_position} of {cache.max_length} positions filled"
            )
        config = self.config
        x = x.float().contiguous().clone()
        step = _Step(
            config.layers, len(x), config.heads, config.dim, config.ffn_dim, cache.max_length,
            cache.lengths.data_ptr(), cache.keys.data_ptr(), cache.values.data_ptr(), x.data_ptr(),
        )  # fmt: skip
        self._step(ctypes.byref(step), self._layers)
        return self.norm(x)

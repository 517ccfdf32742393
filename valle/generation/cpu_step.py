"""The AR model's transformer on a CPU in one call a step: `step.cpp`, made by this machine's C++ compiler.

Asked for by `--compile`. The library is kept in the user's cache folder under a name that says what it was made from
and for, so it is compiled once, in about two seconds.
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
from valle.models.transformer import Block, KVCache, Transformer, TransformerConfig

SOURCE = Path(__file__).with_name("step.cpp")
TOGETHER = 4  # outputs of a block of weights, as in the source
ALIGNED = 64  # sizes divide by it, so that rows fill whole vectors of any instruction set
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
    """The compiler's option for the instruction set that torch uses here, which ATEN_CPU_CAPABILITY can lower."""
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
    described = _run([compiler, target, "-E", "-dM", "-x", "c++", os.devnull])  # its version, its processor
    identity = hashlib.sha256(SOURCE.read_bytes() + repr([target, *OPTIONS]).encode() + described.encode()).hexdigest()[
        :16
    ]
    library = cache_directory() / f"step-{identity}.so"
    if not library.is_file():
        with atomic_path(library) as temporary:
            made = temporary.with_suffix(".o")
            try:
                _run([compiler, target, *OPTIONS, "-c", str(SOURCE), "-o", str(made)])
                _run([compiler, "-shared", "-fopenmp", str(made), "-o", str(temporary)])
            finally:
                made.unlink(missing_ok=True)
    return library


def can_compile(config: TransformerConfig) -> bool:
    """Whether decode steps of a transformer of these sizes can be compiled here."""
    if config.dim % ALIGNED or config.ffn_dim % ALIGNED:
        return False
    try:
        _library()
    except (UserError, OSError):  # no compiler, or no place for what it makes
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
    """(output, input) -> int8 weights and the (output,) scales they are to be multiplied by."""
    scales = weight.float().abs().amax(1).clamp(min=1e-8) / 127
    return (weight.float() / scales[:, None]).round_().to(torch.int8), scales


def huge_pages(size: int) -> Tensor:
    """So many bytes in pages of 2 MB where the system has them: their addresses are looked up less often."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(size, dtype=torch.uint8)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)


class NativeTransformer(nn.Module):
    """Does what `transformer` does: a step of every row by the compiled code, longer input (prefill) by its own layers.

    dtype: float32, bfloat16 or int8, of the linear layers' weights in a step. Keys and values are kept in float32 with
        float32 weights, in bfloat16 with the others.
    """

    def __init__(self, transformer: Transformer, dtype: str) -> None:
        super().__init__()
        self.config, self.transformer = transformer.config, transformer
        if self.config.dim % ALIGNED or self.config.ffn_dim % ALIGNED:
            raise UserError(
                f"--compile: dim {self.config.dim} and ffn_dim {self.config.ffn_dim} must divide by {ALIGNED}"
            )
        self.cache_dtype = torch.float32 if dtype == "float32" else torch.bfloat16
        self._vector_bytes = _library().vector_bytes()
        self._step = getattr(_library(), f"step_{dtype}")
        self._step.argtypes, self._step.restype = (POINTER(_Step), POINTER(_Layer)), None
        blocks = [block for block in transformer.blocks if isinstance(block, Block)]
        linears = [layer for block in blocks for layer in (block.qkv, block.out, block.ffn_in, block.ffn_out)]
        self._kept: list[Tensor] = []  # what the structures point to
        self.memory = huge_pages(sum(layer.weight.numel() for layer in linears) * getattr(torch, dtype).itemsize)
        self._used = 0
        self._layers = (_Layer * len(blocks))(*(self._layer(block, dtype) for block in blocks))

    def _pointer(self, tensor: Tensor) -> int:
        self._kept.append(tensor.detach().contiguous())
        return self._kept[-1].data_ptr()

    def _linear(self, layer: nn.Linear, dtype: str) -> _Linear:
        weight, scale, weight_sum = layer.weight.detach(), None, None
        if dtype == "int8":
            weight, scales = quantize(weight)
            scale, weight_sum = self._pointer(scales), self._pointer(weight.sum(1, dtype=torch.int32))
        low = weight.to(getattr(torch, dtype))
        place = self.memory[self._used : self._used + low.numel() * low.itemsize]
        self._used += len(place)
        blocks = rearrange(low, "(n o) (k i) -> n k o i", o=TOGETHER, i=self._vector_bytes // low.itemsize)
        place.view(low.dtype).view(blocks.shape).copy_(blocks)
        bias = self._pointer(layer.bias.float())
        return _Linear(place.data_ptr(), scale, weight_sum, bias, layer.out_features, layer.in_features)

    def _layer(self, block: Block, dtype: str) -> _Layer:
        norms = (block.attention_norm, block.ffn_norm)
        parameters = [self._pointer(p.float()) for norm in norms for p in (norm.weight, norm.bias)]  # type: ignore[arg-type]
        linears = (block.qkv, block.out, block.ffn_in, block.ffn_out)
        return _Layer(*parameters, *(self._linear(layer, dtype) for layer in linears))

    def forward(
        self, x: Tensor, *, causal: bool = False, mask: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        """As `Transformer.forward`; a row of a step looks at what its row of the cache holds, whatever the mask."""
        if cache is None or x.shape[1] > 1:
            return self.transformer(x, causal=causal, mask=mask, cache=cache)
        if cache.max_position >= cache.max_length or cache.keys.dtype != self.cache_dtype:
            raise ValueError(
                f"a cache of {cache.keys.dtype} with {cache.max_position} of {cache.max_length} positions filled"
            )
        config, x = self.config, x.float().contiguous().clone()
        step = _Step(
            config.layers, len(x), config.heads, config.dim, config.ffn_dim, cache.max_length,
            cache.lengths.data_ptr(), cache.keys.data_ptr(), cache.values.data_ptr(), x.data_ptr(),
        )  # fmt: skip
        self._step(ctypes.byref(step), self._layers)
        return self.transformer.norm(x)

"""Measure what bounds the speed of a machine: memory bandwidth and the rate of matrix products."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from valle.generation.cpu_step import huge_pages
from valle.generation.quantization import pack

# Bytes of a weight.
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}


def fastest(work: Callable[[], object], repeats: int = 1) -> float:
    """Return the seconds of the fastest of some runs after a warm-up."""
    work()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def measure_bandwidth(memory: torch.Tensor | None = None) -> float:
    """Measure how fast memory is read by a sum over it.

    Args:
        memory: (bytes,) uint8 to read; None: 400 MB of huge pages.

    Returns:
        GB/s.
    """
    if memory is None:
        memory = huge_pages(400_000_000).fill_(1)
    # The values do not matter.
    numbers = memory.view(torch.float32)
    return round(len(memory) / fastest(numbers.sum, 5) / 1e9, 1)


def describe_machine() -> dict[str, Any]:
    """Describe the machine: processor, threads, memory bandwidth (GB/s), rates of matrix products (GFLOP/s)."""
    a = torch.randn(1, 2048, 2048)
    layers = {dtype: pack(torch.nn.Sequential(torch.nn.Linear(2048, 2048)), dtype) for dtype in BYTES}
    operations = 2 * 2048**3 / 1e9
    with torch.inference_mode():
        return {
            "processor": _processor(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "bandwidth": measure_bandwidth(),
            "gemm": {name: round(operations / fastest(partial(layer, a), 3), 1) for name, layer in layers.items()},
        }


def _processor() -> str:
    """Return the name of the processor."""
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def linear_weights(model: torch.nn.Module) -> int:
    """Count the weights of the linear layers without AdaLN, whose are used once per pass, not once per position."""
    return sum(
        m.weight.numel()
        for name, m in model.named_modules()
        if isinstance(m, torch.nn.Linear) and "modulation" not in name
    )

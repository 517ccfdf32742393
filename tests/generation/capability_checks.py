"""Checks of synthesis on one kind of processor; test_capabilities.py runs this file with lowered capabilities.

    python -m tests.generation.capability_checks [TARGET]

TARGET: the compiler's option for the instruction set, in place of the one that fits torch's capability. Prints one JSON
object: for every dtype and backend the rows whose logits differ between a batch and a single row, and relative errors
of the logits compared with those of float32 weights.
"""

from __future__ import annotations

import json
import shutil
import sys

import torch

from valle.generation import cpu_step
from valle.generation.quantization import choose_dtype, has_bfloat16_kernels, pack
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.kv_cache import KVCache
from valle.models.nar import NAR, NARInputs
from valle.models.sequence import Padded

CONFIG = TransformerConfig(layers=2, heads=4, dim=128, ffn_dim=320, dropout=0.0)
# Numbers of rows, with every remainder of a division into tiles of three and of four rows.
BATCHES = (2, 3, 4, 5, 6, 7, 8, 9, 12, 17)
DTYPES = ("float32", "bfloat16", "int8")
MAX_ROWS = max(BATCHES)
STEPS = 2


def sharpen(model: torch.nn.Module) -> torch.nn.Module:
    """Scale the random weights up, so that the logits of two computations differ visibly."""
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.mul_(4)
    return model


def make_ar(group_size: int) -> AR:
    torch.manual_seed(0)
    return sharpen(AR(12, CONFIG, codebook_size=50, group_size=group_size)).eval()


def logits_of_steps(model: AR, rows: range) -> list[torch.Tensor]:
    """Compute the logits of STEPS decode steps of rows of different lengths, as the engine does.

    Returns:
        (row, group, entry) logits of each step.
    """
    size = model.group_size
    cache = KVCache(CONFIG, len(rows), 40, like=torch.empty(0, dtype=model.cache_dtype))
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(0, 50, (MAX_ROWS, STEPS, size), generator=generator)
    for slot, row in enumerate(rows):
        phonemes = torch.arange(1, 4 + row % 5)[None]
        prompt = torch.arange(size * (row % 7 + 1))[None]
        single = KVCache(CONFIG, 1, 40, like=torch.empty(0))
        model.prefill(phonemes, torch.tensor([phonemes.shape[1]]), prompt, torch.tensor([prompt.shape[1]]), single)
        cache.copy_row([slot], single)
    position = torch.tensor([row % 7 + 1 for row in rows])
    logits = []
    for step in range(STEPS):
        mask = None
        if cache.ragged:
            mask = (torch.arange(cache.max_position + 1) <= cache.lengths[:, None])[:, None, None]
        logits.append(model.step(codes[list(rows), step], position + step, cache, mask).float())
    return logits


def rows_that_differ(model: AR) -> list[str]:
    """List `rows of the batch: row` for every row of a batch whose logits differ from those of the row alone."""
    singles = [logits_of_steps(model, range(row, row + 1)) for row in range(MAX_ROWS)]
    differing = []
    for rows in BATCHES:
        batch = logits_of_steps(model, range(rows))
        differing += [
            f"{rows}: {row}"
            for row in range(rows)
            if not all(torch.equal(one[0], several[row]) for one, several in zip(singles[row], batch, strict=True))
        ]
    return differing


def relative_error(expected: list[torch.Tensor], actual: list[torch.Tensor]) -> float:
    """Norm of the difference, divided by the norm of `expected`."""
    reference = torch.cat(expected)
    return float((reference - torch.cat(actual)).norm() / reference.norm())


def nar_error(dtype: str) -> float:
    torch.manual_seed(0)
    model = sharpen(NAR(12, CONFIG, codebook_size=50)).eval()
    codes = torch.randint(0, 50, (1, 12, 8), generator=torch.Generator().manual_seed(1))
    inputs = NARInputs(
        text=Padded(torch.tensor([[1, 2, 3, 4]]), torch.tensor([4])),
        prompt=Padded(codes[:, :5], torch.tensor([5])),
        codes=Padded(codes, torch.tensor([12])),
    )
    stage = torch.tensor([3])
    expected = model(inputs, stage)
    return relative_error([expected[0]], [pack(model, dtype)(inputs, stage)[0]])


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        cpu_step.target_option = lambda: sys.argv[1]
    backends = {"packed": False} | ({"compiled": True} if shutil.which("c++") else {})
    result: dict = {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "target": cpu_step.target_option(),
        "bfloat16_kernels": has_bfloat16_kernels(),
        "auto": {name: choose_dtype("cpu", compiled) for name, compiled in backends.items()},
        "nar_error": {dtype: nar_error(dtype) for dtype in DTYPES},
        "differing": {},
        "error": {},
    }
    for size in (1, 2):
        expected = logits_of_steps(make_ar(size), range(5))
        for backend, compiled in backends.items():
            for dtype in DTYPES:
                model = pack(make_ar(size), dtype, compiled=compiled)
                name = f"{backend} {dtype} G={size}"
                result["error"][name] = relative_error(expected, logits_of_steps(model, range(5)))
                result["differing"][name] = rows_that_differ(model)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

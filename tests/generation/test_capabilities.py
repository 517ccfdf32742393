"""Synthesis with every instruction set, and devices and seeds that cannot be used."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import ROOT, command
from valle import audio
from valle.devices import MAX_SEED, check_device, check_seed
from valle.errors import UserError
from valle.generation.quantization import Int8WeightLinear
from valle.models.sampling import NARSampling
from valle.synthesis import Prompt, load
from valle.synthesis.acoustic import AcousticInput, fill_in_codebooks

# Environment, compiler option in place of the default, and whether this processor supports the level.
LEVELS = {
    "x86-64-v2": ({"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}, None, True),
    "x86-64-v3": (
        {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}, None, torch.cpu._is_avx2_supported(),
    ),
    "x86-64-v4": ({}, "-march=x86-64-v4", torch.cpu._is_avx512_supported()),
    "native": ({}, None, True),
}  # fmt: skip
BOUNDS = {"float32": 1e-5, "bfloat16": 0.02, "int8": 0.04}
NAR_BOUNDS = {"float32": 1e-5, "bfloat16": 0.04, "int8": 0.1}


@pytest.mark.parametrize("level", LEVELS)
def test_batch_equals_single_rows_and_logits_are_accurate_at_every_capability(level: str) -> None:
    """Bitwise, for 1 to 17 rows, every dtype, with compiled steps and without."""
    environment, target, supported = LEVELS[level]
    if level != "native" and platform.machine() != "x86_64":
        pytest.skip(f"{level} is an x86 instruction set")
    if not supported:
        pytest.skip(f"this processor does not support {level}")
    done = subprocess.run(
        [sys.executable, "-m", "tests.generation.capability_checks", *([] if target is None else [target])],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    if level.startswith("x86-64"):
        assert result["target"] == f"-march={level}"
    assert len(result["differing"]) == (12 if shutil.which("c++") else 6)
    assert {name: rows for name, rows in result["differing"].items() if rows} == {}
    for name, error in result["error"].items():
        dtype = name.split()[1]
        assert 0 < error < BOUNDS[dtype], name
    for dtype, error in result["nar_error"].items():
        assert 0 < error < NAR_BOUNDS[dtype], dtype
    slow = result["capability"] == "DEFAULT" and platform.machine() == "x86_64"
    assert result["auto"]["packed"] == ("float32" if slow else "int8")
    assert result["auto"].get("compiled", "int8") == "int8"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_all_codebooks_are_the_same_in_a_batch_as_alone(dtype: str) -> None:
    tts = load("small", dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    texts = ["Yes.", "The old baker sold a golden apple.", "What time is it?"]
    ids = [torch.tensor(tts.encode_text(text).ids) for text in texts]
    prompts = [torch.randint(0, 500, (100 + 20 * i, 8), generator=generator)[:90] for i in range(3)]
    first = [torch.randint(0, 500, (frames,), generator=generator) for frames in (9, 40, 23)]
    for sampling in (NARSampling(), NARSampling(temperature=1.0)):
        inputs = [AcousticInput(*item) for item in zip(ids, prompts, first, strict=True)]
        with torch.inference_mode():
            batch = fill_in_codebooks(tts.nar, inputs, [1, 2, 3], sampling)
            for row in range(3):
                (single,) = fill_in_codebooks(tts.nar, [inputs[row]], [row + 1], sampling)
                assert torch.equal(batch[row], single)


@pytest.mark.parametrize("inputs", [1, 6, 16, 24, 33, 64])
@pytest.mark.parametrize("outputs", [1, 3, 50, 64])
def test_int8_weights_of_any_size_give_nearly_the_same_outputs(inputs: int, outputs: int) -> None:
    """Sizes that do not fill the kernel's vectors, on processors without VNNI."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(inputs, outputs)
    for positions in (5, 70):
        x = torch.randn(2, positions, inputs)
        with torch.inference_mode():
            expected = layer(x)
            output = Int8WeightLinear(layer)(x)
        assert output.shape == expected.shape
        assert (output - expected).norm() / expected.norm() < 0.02


needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@needs_no_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7", "foo", "cpu:x", "", "meta", "mps"])
def test_unusable_device_is_one_line(device: str) -> None:
    for check in (check_device, lambda name: load("small", device=name)):
        with pytest.raises(UserError, match="device") as caught:
            check(device)
        assert "\n" not in str(caught.value)


def test_gpu_index_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert check_device("cuda:1") == torch.device("cuda:1")
    assert check_device("cuda").type == "cuda"
    with pytest.raises(UserError, match=r"cuda:2.*2 GPUs"):
        check_device("cuda:2")


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 99999999999999999999])
def test_seed_out_of_range_is_one_line(seed: int) -> None:
    tts = load("small")
    prompt = Prompt(torch.zeros(100, 8, dtype=torch.long))
    for call in (
        lambda: check_seed(seed),
        lambda: tts.synthesize("Hello.", prompt, seed=seed),
        lambda: next(tts.stream("Hello.", prompt, seed=seed)),
    ):
        with pytest.raises(UserError, match=str(seed)):
            call()


@needs_no_gpu
@pytest.mark.parametrize(
    "arguments",
    [
        ["valle-synth", "--device", "cuda"],
        ["valle-synth", "--device", "foo"],
        ["valle-synth", "--device", "cuda", "--dtype", "int8"],
        ["valle-synth", "--seed", "99999999999999999999"],
        ["valle-synth", "--seed", "-1"],
        ["valle-prepare", "--seed", "99999999999999999999"],
        ["valle-prepare", "--seed", "-1"],
    ],
    ids=" ".join,
)
def test_commands_print_one_line_for_unusable_device_or_seed(arguments: list[str], tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    if arguments[0] == "valle-synth":
        wave = tmp_path / "prompt.wav"
        audio.write(wave, np.sin(np.arange(16_000) / 20).astype(np.float32) / 4, 16_000)
        more = ["--text", "Hello.", "--prompt", wave, "-o", output]
    else:
        arguments = ["valle-prepare", "subset", *arguments[1:]]
        more = ["--hours", "1", tmp_path, output]
    done = command(*arguments, *more, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert arguments[-1] in done.stderr or "cuda" in done.stderr
    assert not output.exists()


def test_the_largest_seed_is_used_for_a_batch_of_lines(speech: Path, tmp_path: Path) -> None:
    """Seeds of later lines continue from 0 after the largest."""
    (tmp_path / "texts.txt").write_text("Yes.\nNo.\n")
    done = command(
        "valle-synth", "--text-file", tmp_path / "texts.txt", "--prompt", speech, "--output-dir", tmp_path / "out",
        "--seed", str(MAX_SEED), "--attempts", "1", "--dtype", "auto",
    )  # fmt: skip
    assert done.returncode == 0
    assert len(list((tmp_path / "out").iterdir())) == 2

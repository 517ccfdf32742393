"""Measurements of benchmarks/synthesis.py: decode steps of the AR model, passes of the NAR model, baselines."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from bounds import BYTES, fastest, linear_weights, measure_bandwidth

import valle
from valle.checkpoint import find_checkpoint, load_model, model_directory
from valle.extensions.latent_regression import LatentRegressionNAR
from valle.generation.cpu_step import CompiledStep
from valle.generation.engine import DecodeBatch
from valle.generation.quantization import pack
from valle.generation.request import GenerationRequest
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.nar import NAR, NARInputs
from valle.models.sampling import Sampling
from valle.models.sequence import Padded
from valle.synthesis import Prompt

# Seconds of generated speech.
SECONDS = 10
PROMPT_SECONDS = 3
# Phonemes of the text.
PHONEMES = 100
# Frame rate of EnCodec in hertz, as in the papers; the bundled model has its own.
FRAME_RATE = 75
COMPILED = shutil.which(os.environ.get("CXX", "c++")) is not None


def paper_ar(group_size: int = 1) -> AR:
    """Make an AR model of the paper's size with random weights."""
    return AR(100, TransformerConfig(dropout=0.0), group_size=group_size).eval()


def sizes() -> dict[str, tuple[Callable[[int], AR], Callable[[], NAR], float]]:
    """Return for each size functions that make its AR (of a group size) and NAR model, and its frame rate in hertz."""
    bundled = model_directory("small")
    small, hyper_parameters = load_model(find_checkpoint(bundled, "ar"))

    def bundled_ar(group_size: int) -> AR:
        return AR(100, small.config, group_size=group_size, tie_embeddings=False).eval()

    def bundled_nar() -> NAR:
        nar, _ = load_model(find_checkpoint(bundled, "nar"))
        assert isinstance(nar, NAR)
        return nar

    def paper_nar() -> NAR:
        return NAR(100, TransformerConfig(dropout=0.0)).eval()

    return {
        "paper": (paper_ar, paper_nar, float(FRAME_RATE)),
        "bundled": (bundled_ar, bundled_nar, hyper_parameters["frame_rate"]),
    }


def measure_ar(
    model: AR,
    dtype: str,
    batch: int,
    *,
    steps: int,
    frame_rate: float,
    position: float,
    compiled: bool = COMPILED,
) -> dict[str, float]:
    """Measure decode steps of the AR model.

    Args:
        model: Model, whose weights are converted.
        dtype: Type of the weights.
        batch: Sequences that are decoded together.
        steps: Number of measured steps.
        frame_rate: Hertz.
        position: Seconds of speech before the first step, without the prompt.
        compiled: Whether steps are compiled.

    Returns:
        `steps` per second, seconds of the `prefill`, `bytes` read per step, the `bandwidth` at which the memory of the
        weights is read directly afterwards (on a shared machine it varies), and bytes of the `cache`.
    """
    group_size = model.group_size
    weights = linear_weights(model)
    pack(model, dtype, compiled=compiled)
    before = round(position * frame_rate) // group_size * group_size
    prompt_frames = round(PROMPT_SECONDS * frame_rate) // group_size * group_size + before
    request = GenerationRequest(
        torch.randint(1, 30, (PHONEMES,)),
        torch.randint(0, model.codebook_size, (prompt_frames,)),
        max_frames=(steps + 4) * group_size,
        seeds=list(range(batch)),
    )
    with torch.inference_mode():
        decoding = DecodeBatch(
            model, batch, request.max_length(model), request.max_steps(group_size), Sampling(top_p=0.9)
        )
        begin = time.perf_counter()
        decoding.add(0, request)
        prefill = time.perf_counter() - begin
        for _ in range(3):
            decoding.step()
        begin = time.perf_counter()
        for _ in range(steps):
            decoding.step()
        seconds = time.perf_counter() - begin
        backend = model.step_backend
        bandwidth = measure_bandwidth(backend.memory if isinstance(backend, CompiledStep) else None)
    cache = decoding.cache
    # Keys and values of all positions before the middle of the measured steps.
    bytes_per_position = 2 * cache.keys.itemsize * model.config.layers * model.config.dim * batch
    return {
        "steps": steps / seconds,
        "prefill": prefill,
        "bytes": weights * BYTES[dtype] + bytes_per_position * (cache.max_position - steps / 2),
        "bandwidth": bandwidth,
        "cache": 2 * cache.keys.nbytes,
    }


def measure_nar(model: NAR, dtype: str, batch: int, *, frame_rate: float, quick: bool) -> dict[str, float]:
    """Measure passes of the NAR model for `SECONDS` of speech.

    Args:
        model: Model, whose weights are converted.
        dtype: Type of the weights.
        batch: Utterances that are computed together.
        frame_rate: Hertz.
        quick: Measure one pass instead of all.

    Returns:
        Seconds of one pass (`stage`), its floating-point operations (`flops`), and the number of `passes`.
    """
    passes = 1 if isinstance(model, LatentRegressionNAR) else 7
    frames = round(SECONDS * frame_rate)
    prompt = round(PROMPT_SECONDS * frame_rate)
    positions = PHONEMES + prompt + frames
    config = model.config
    flops = 2 * linear_weights(model) * positions + 4 * config.layers * config.dim * positions**2
    flops += 2 * frames * config.dim * model.codebook_size
    if isinstance(model, LatentRegressionNAR):
        # The regression reads the target's frames only.
        flops -= 2 * linear_weights(model.regression) * (positions - frames)
    pack(model, dtype)

    def lengths(n: int) -> torch.Tensor:
        return torch.full((batch,), n)

    codes = torch.randint(0, model.codebook_size, (batch, frames, 8))
    inputs = NARInputs(
        text=Padded(torch.randint(1, 30, (batch, PHONEMES)), lengths(PHONEMES)),
        prompt=Padded(torch.randint(0, model.codebook_size, (batch, prompt, 8)), lengths(prompt)),
        codes=Padded(codes, lengths(frames)),
    )
    with torch.inference_mode():
        model(inputs, lengths(1))
        stages = range(1, 2 if quick else 1 + passes)
        begin = time.perf_counter()
        for stage in stages:
            model(inputs, lengths(stage))
        seconds = (time.perf_counter() - begin) / len(stages)
        return {"stage": seconds, "flops": flops * batch, "passes": passes}


def no_cache_seconds(model: AR, frames: int) -> float:
    """Return the seconds of decoding with one pass over the whole sequence per frame.

    They are integrated by Simpson's rule from passes at three lengths.
    """
    prompt = PROMPT_SECONDS * FRAME_RATE

    def seconds_of_pass(new: int) -> float:
        codes = torch.randint(0, model.codebook_size, (1, prompt + new))
        text = torch.randint(1, 30, (1, PHONEMES))
        with torch.inference_mode():
            return fastest(lambda: model(text, torch.tensor([PHONEMES]), codes, torch.tensor([prompt + new])))

    return frames * (seconds_of_pass(0) + 4 * seconds_of_pass(frames // 2) + seconds_of_pass(frames)) / 6


def transformers_steps(dtype: torch.dtype, steps: int) -> float | None:
    """Return the steps per second of `generate` of transformers on a Llama with as many weights as the AR model.

    Returns:
        None where transformers is not installed.
    """
    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError:
        return None
    config = LlamaConfig(
        vocab_size=1025, hidden_size=1024, intermediate_size=2731, num_hidden_layers=12, num_attention_heads=16,
        max_position_embeddings=4096, bos_token_id=0, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config)
    model = model.to(dtype).eval()
    ids = torch.randint(0, 1024, (1, PHONEMES + PROMPT_SECONDS * FRAME_RATE + SECONDS * FRAME_RATE // 2))

    def generate(count: int) -> Callable[[], object]:
        return lambda: model.generate(ids, max_new_tokens=count, do_sample=True, top_p=0.9, use_cache=True)

    with torch.inference_mode():
        return steps / (fastest(generate(steps + 1)) - fastest(generate(1)))


def measure_baselines(quick: bool) -> list[dict[str, Any]]:
    """Measure other ways to decode at the paper's size: steps that are not compiled; without a cache; transformers."""
    rows: list[dict[str, Any]] = []
    for dtype in BYTES:
        for batch in (1, 8):
            measured = measure_ar(
                paper_ar(),
                dtype,
                batch,
                steps=10 if quick else 100,
                frame_rate=FRAME_RATE,
                position=SECONDS / 2,
                compiled=False,
            )
            rows.append(
                {"baseline": "not compiled", "dtype": dtype, "batch": batch, "steps_per_second": measured["steps"]}
            )
    model = paper_ar()
    for frames in (750,) if quick else (100, 300, 750):
        steps_per_second = frames / no_cache_seconds(model, frames)
        rows.append(
            {"baseline": "no cache", "dtype": "float32", "batch": 1, "frames": frames}
            | {"steps_per_second": steps_per_second}
        )
    for dtype in ("float32", "bfloat16"):
        generated = transformers_steps(getattr(torch, dtype), 20 if quick else 60)
        if generated is not None:
            rows.append(
                {"baseline": "transformers generate", "dtype": dtype, "batch": 1, "steps_per_second": generated}
            )
    for row in rows:
        row["steps_per_second"] = round(row["steps_per_second"], 2)
        print(row, flush=True)
    return rows


def measure_stream() -> dict[str, float]:
    """Measure the seconds until the first and the last chunk of a stream of the bundled model, and of its speech."""
    tts = valle.load("small", compiled=COMPILED)
    voice = Prompt(torch.zeros(150, 8, dtype=torch.long))
    text = "The old baker sold a golden apple to the young queen before the rain began."
    list(tts.stream("Hello.", voice))
    speech_seconds = 0.0
    first = 0.0
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for chunk in tts.stream(text, voice):
            speech_seconds += chunk.duration
            first = first or time.perf_counter() - begin
    last = time.perf_counter() - begin
    result = {"first_audio": round(first, 3), "last_audio": round(last, 3), "speech_seconds": round(speech_seconds, 2)}
    print(result, flush=True)
    return result


def measure_growth() -> list[dict[str, float]]:
    """Measure the AR model at the paper's size in bfloat16 for 5 to 40 s of speech: its seconds, and MB of its cache.

    The seconds are integrated by Simpson's rule from the speed at the beginning, the middle and the end.
    """
    rows = []
    for seconds in (5, 10, 20, 40):
        measured = [
            measure_ar(paper_ar(), "bfloat16", 1, steps=60, frame_rate=FRAME_RATE, position=position)
            for position in (0, seconds / 2, seconds)
        ]
        first, middle, last = (1 / m["steps"] for m in measured)
        mean = (first + 4 * middle + last) / 6
        cache = round(measured[-1]["cache"] / 1e6)
        rows.append({"seconds": seconds, "ar_seconds": round(seconds * FRAME_RATE * mean, 1), "cache_mb": cache})
        print(rows[-1], flush=True)
    return rows

"""Measure the speed of synthesis beside the bounds of the machine.

Over 300 lines: one benchmark, whose parts share their sizes and bounds.

    python benchmarks/synthesis.py [--quick] [--json FILE] [--plot FILE.svg]

Ten seconds of speech from a three-second prompt: steps per second of the AR model beside the bound of reading its
weights and its cache, the NAR model beside the bound of matrix products, the codec, and the sum as a real-time factor
(seconds of work per second of speech). The bounds are measured in the same run. Steps are compiled (`--compile`) where
there is a C++ compiler. Baselines: steps that are not compiled, decoding without a cache, and `generate` of Hugging
Face transformers on a Llama of the AR model's size (where that package is installed).
`--quick` measures fewer steps, one of the NAR model's seven stages, and leaves long speech and accuracy out.

FILE holds one result for each capability of torch (`torch.backends.cpu.get_cpu_capability()`); a run replaces its own
and prints all of them side by side. How a processor without AVX-512 would do is measured with lowered capabilities:

    python benchmarks/synthesis.py --json FILE
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/synthesis.py --json FILE
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "ACTIVE")  # threads wait awake between two layers: for a machine of one's own

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

import valle
from valle import audio, codec
from valle.checkpoint import find_checkpoint, load_model, model_directory
from valle.cli.common import keep_memory
from valle.extensions.latent_regression import LatentRegressionNAR
from valle.generation.cpu_step import CompiledStep, huge_pages
from valle.generation.engine import DecodeBatch, GenerationRequest
from valle.generation.quantization import pack
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.kv_cache import KVCache
from valle.models.nar import NAR, NARInputs
from valle.models.sampling import Sampling
from valle.models.sequence import Padded
from valle.synthesis import Prompt

SECONDS, PROMPT_SECONDS, PHONEMES = 10, 3, 100
FRAME_RATE = 75  # EnCodec's, as in the papers; the bundled model has its own
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
COMPILED = shutil.which(os.environ.get("CXX", "c++")) is not None


def timed(work: Callable[[], object], repeats: int = 1) -> float:
    """Seconds of the fastest of some runs after a warm-up."""
    work()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def bandwidth(memory: torch.Tensor | None = None) -> float:
    """How fast memory is read, GB/s, by adding up these bytes, or 400 MB of huge pages."""
    if memory is None:
        memory = huge_pages(400_000_000).fill_(1)
    numbers = memory.view(torch.float32)  # whatever they are
    return round(len(memory) / timed(numbers.sum, 5) / 1e9, 1)


def machine() -> dict[str, Any]:
    """What it is, how fast memory streams (GB/s) and matrices are multiplied (GFLOP/s)."""
    a = torch.randn(1, 2048, 2048)
    layers = {dtype: pack(torch.nn.Sequential(torch.nn.Linear(2048, 2048)), dtype) for dtype in BYTES}
    flops = 2 * 2048**3 / 1e9
    with torch.inference_mode():
        return {
            "processor": _processor(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "bandwidth": bandwidth(),
            "gemm": {name: round(flops / timed(partial(layer, a), 3), 1) for name, layer in layers.items()},
        }


def _processor() -> str:
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def linear_weights(model: torch.nn.Module) -> int:
    """Weights of the linear layers of a model, AdaLN's not counted: they are used once a pass, not once a position."""
    return sum(
        m.weight.numel()
        for name, m in model.named_modules()
        if isinstance(m, torch.nn.Linear) and "modulation" not in name
    )


def ar_speed(
    make: Callable[[], AR],
    dtype: str,
    batch: int,
    steps: int,
    frame_rate: float,
    at: float,
    compiled: bool = COMPILED,
) -> dict[str, float]:
    """Measure decode steps of the AR model.

    The bandwidth is that of the weights' own memory, measured just after the steps, since the memory of a shared
    machine is not always as fast.

    Args:
        make: Builds the model.
        dtype: Of its weights.
        batch: Rows that are decoded together.
        steps: Steps to measure.
        frame_rate: Frames per second of the codec.
        at: Seconds of speech that are decoded already.
        compiled: Whether the steps are compiled.

    Returns:
        Steps per second, seconds of the prefill, bytes read by a step, the bandwidth in GB/s, and bytes of the cache.
    """
    model = make()
    size, weights = model.group_size, linear_weights(model)
    pack(model, dtype, compiled=compiled)
    before = round(at * frame_rate) // size * size
    prompt = torch.randint(0, model.codebook_size, (round(PROMPT_SECONDS * frame_rate) // size * size + before,))
    request = GenerationRequest(torch.randint(1, 30, (PHONEMES,)), prompt, (steps + 4) * size, list(range(batch)))
    with torch.inference_mode():
        decoding = DecodeBatch(model, batch, request.max_length(model), request.max_steps(size), Sampling(top_p=0.9))
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
        reading = bandwidth(backend.memory if isinstance(backend, CompiledStep) else None)
    cache = decoding.cache
    positions = (
        2 * cache.keys.itemsize * model.config.layers * model.config.dim * batch * (cache.max_position - steps / 2)
    )
    return {
        "steps": steps / seconds,
        "prefill": prefill,
        "bytes": weights * BYTES[dtype] + positions,
        "bandwidth": reading,
        "cache": 2 * cache.keys.nbytes,
    }


def nar_speed(make: Callable[[], NAR], dtype: str, batch: int, quick: bool, frame_rate: float) -> dict[str, float]:
    """Seconds of a pass and its arithmetic, for ten seconds of speech a row, and the passes for seven codebooks."""
    model = make()
    regresses = isinstance(model, LatentRegressionNAR)
    passes = 1 if regresses else 7
    frames, prompt = round(SECONDS * frame_rate), round(PROMPT_SECONDS * frame_rate)
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


def no_cache_seconds(model: AR, frames: int, frame_rate: float) -> float:
    """Seconds of decoding so many frames by a whole pass a frame, from passes at three lengths (Simpson's rule)."""
    prompt = round(PROMPT_SECONDS * frame_rate)

    def one(new: int) -> float:
        codes = torch.randint(0, model.codebook_size, (1, prompt + new))
        text = torch.randint(1, 30, (1, PHONEMES))
        with torch.inference_mode():
            return timed(lambda: model(text, torch.tensor([PHONEMES]), codes, torch.tensor([prompt + new])))

    return frames * (one(0) + 4 * one(frames // 2) + one(frames)) / 6


def transformers_steps(dtype: torch.dtype, new: int) -> float | None:
    """Steps a second of transformers' `generate` on a Llama of 12 x 1024 with as many weights; None: not installed."""
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

    def run(count: int) -> Callable[[], object]:
        return lambda: model.generate(ids, max_new_tokens=count, do_sample=True, top_p=0.9, use_cache=True)

    with torch.inference_mode():
        return new / (timed(run(new + 1)) - timed(run(1)))


def sizes() -> dict[str, tuple[Callable[[int], AR], Callable[[], NAR], float]]:
    """How the models of each size are made, and their frame rate."""
    bundled = model_directory("small")
    small, h = load_model(find_checkpoint(bundled, "ar"))

    def bundled_nar() -> NAR:
        nar, _ = load_model(find_checkpoint(bundled, "nar"))
        assert isinstance(nar, NAR)
        return nar

    return {
        "paper": (
            lambda g: AR(100, TransformerConfig(dropout=0.0), group_size=g).eval(),
            lambda: NAR(100, TransformerConfig(dropout=0.0)).eval(),
            float(FRAME_RATE),
        ),
        "bundled": (
            lambda g: AR(100, small.config, group_size=g, tie_embeddings=False).eval(),
            bundled_nar,
            h["frame_rate"],
        ),
    }


def run_all(quick: bool) -> dict[str, Any]:
    """Run all measurements.

    Args:
        quick: Whether to measure fewer steps, and to leave long speech and accuracy out.

    Returns:
        The machine, and what was measured on it, as numbers by name.
    """
    measured = machine()
    print(json.dumps(measured), flush=True)
    small = codec.load("small")
    second = timed(lambda: small.decode(torch.zeros(500, 8, dtype=torch.long)), 3) / 10
    steps = 40 if quick else 200
    runs = []
    for size, (make_ar, make_nar, rate) in sizes().items():
        for dtype in BYTES:
            for batch in (1, 8):
                nar = nar_speed(make_nar, dtype, batch, quick, rate)
                for group_size in (1, 2):
                    ar = ar_speed(partial(make_ar, group_size), dtype, batch, steps, rate, SECONDS / 2)
                    ar_seconds = ar["prefill"] + SECONDS * rate / group_size / ar["steps"]
                    nar_seconds = nar["passes"] * nar["stage"]
                    spoken = SECONDS * batch
                    run = {
                        "size": size,
                        "dtype": dtype,
                        "group_size": group_size,
                        "batch": batch,
                        "ar_steps_per_second": ar["steps"],
                        "ar_codes_per_second": ar["steps"] * group_size * batch,
                        "compiled": COMPILED,
                        "bandwidth": ar["bandwidth"],
                        "ar_bandwidth_share": ar["bytes"] * ar["steps"] / ar["bandwidth"] / 1e9,
                        "ar_real_time_factor": ar_seconds / spoken,
                        "nar_stage_seconds": nar["stage"],
                        "nar_flops_share": nar["flops"] / nar["stage"] / measured["gemm"][dtype] / 1e9,
                        "nar_real_time_factor": nar_seconds / spoken,
                        "codec_real_time_factor": second,
                        "total_real_time_factor": (ar_seconds + nar_seconds) / spoken + second,
                    }
                    runs.append({k: round(v, 4) if isinstance(v, float) else v for k, v in run.items()})
                    print(row(runs[-1]), flush=True)
    return {
        "machine": measured,
        "runs": runs,
        "accuracies": [] if quick else accuracies(),
        "stream": first_audio(),
        "baselines": baselines(quick),
        "growth": [] if quick else growth(),
    }


def baselines(quick: bool) -> list[dict[str, Any]]:
    """Other ways of decoding the paper's size: steps that are not compiled, others batch 1."""
    found: list[dict[str, Any]] = []

    def make() -> AR:
        return AR(100, TransformerConfig(dropout=0.0)).eval()

    for dtype in BYTES:
        for batch in (1, 8):
            steps = 10 if quick else 100
            speed = ar_speed(make, dtype, batch, steps, FRAME_RATE, SECONDS / 2, compiled=False)["steps"]
            found.append({"baseline": "not compiled", "dtype": dtype, "batch": batch, "steps_per_second": speed})
    model = make()
    for frames in (750,) if quick else (100, 300, 750):
        seconds = no_cache_seconds(model, frames, FRAME_RATE)
        found.append(
            {"baseline": "no cache", "dtype": "float32", "frames": frames, "steps_per_second": frames / seconds}
        )
    for dtype in ("float32", "bfloat16"):
        generated = transformers_steps(getattr(torch, dtype), 20 if quick else 60)
        if generated is not None:
            found.append({"baseline": "transformers generate", "dtype": dtype, "steps_per_second": generated})
    for item in found:
        item["steps_per_second"] = round(item["steps_per_second"], 2)
        print(item, flush=True)
    return found


def accuracies() -> list[dict[str, Any]]:
    """Measure what smaller weights lose: teacher-forced accuracy of the bundled model by dtype.

    Its sentences, which voices of espeak-ng speak, are not in the training data.
    """
    from valle.data import kaldi

    # The corpus generator belongs to the recipe `mini`.
    sys.path.append(str(Path(__file__).parents[1] / "egs" / "mini" / "local"))
    from spoken import build

    from valle.training.base import top_k_accuracy

    found = []
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), voices=8, utterances=1)
        utterances = [u for part in ("valid", "test_seen") for u in kaldi.read(Path(folder) / part)]
        for dtype in BYTES:
            tts = valle.load("small", dtype=dtype, compiled=COMPILED)
            codes = [tts.codec.encode(s.samples, s.sample_rate) for s in (audio.read(u.path) for u in utterances)]
            text = [torch.tensor(tts.encode_text(u.text).ids) for u in utterances]
            hits: dict[str, list[float]] = {"ar_top1": [], "ar_top10": [], "nar_stage1_top10": []}
            with torch.inference_mode():
                for phonemes, c in zip(text, codes, strict=True):
                    c = c[len(c) % tts.ar.group_size :]
                    pair = phonemes[None], torch.tensor([len(phonemes)])
                    logits = teacher_forced(tts.ar, phonemes, c[:, 0])
                    targets = tts.ar.targets(c[None, :, 0], torch.tensor([len(c)]))
                    hits["ar_top1"].append(float(top_k_accuracy(logits, targets, 1)))
                    hits["ar_top10"].append(float(top_k_accuracy(logits, targets, 10)))
                    voice, rest = c[None, :50], c[None, 50:]
                    inputs = NARInputs(
                        text=Padded(*pair),
                        prompt=Padded(voice, torch.tensor([50])),
                        codes=Padded(rest, torch.tensor([len(c) - 50])),
                    )
                    _, logits, targets = tts.nar.loss(inputs, torch.tensor([1]))
                    hits["nar_stage1_top10"].append(float(top_k_accuracy(logits, targets, 10)))
            means = {name: round(sum(values) / len(values), 4) for name, values in hits.items()}
            found.append({"dtype": dtype, "utterances": len(utterances), **means})
            print(found[-1], flush=True)
    return found


def teacher_forced(model: AR, phonemes: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """What `AR.forward` gives for one row of (frames,) codes, which G divides, by the steps that decoding takes."""
    nothing, count = codes[None, :0], torch.tensor([len(phonemes)])
    text = KVCache(model.config, 1, len(phonemes) + model.num_marks, like=model.code_embedding.weight)
    logits = [model.prefill(phonemes[None], count, nothing, torch.tensor([0]), text)]
    groups = codes.view(-1, model.group_size)
    cache = KVCache(model.config, 1, text.max_position + len(groups), like=torch.empty(0, dtype=model.cache_dtype))
    cache.copy_row([0], text)
    for position, group in enumerate(groups):
        logits.append(model.step(group[None], torch.tensor([position]), cache))
    return torch.stack(logits, dim=1)


def first_audio() -> dict[str, float]:
    """Seconds until the bundled model's first chunk of a stream, and until its last, with their seconds of audio."""
    tts = valle.load("small", compiled=COMPILED)
    voice = Prompt(torch.zeros(150, 8, dtype=torch.long))
    text = "The old baker sold a golden apple to the young queen before the rain began."
    list(tts.stream("Hello.", voice))
    begin, spoken, first = time.perf_counter(), 0.0, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for chunk in tts.stream(text, voice):
            spoken += chunk.duration
            first = first or time.perf_counter() - begin
    found = {"first_audio": first, "last_audio": time.perf_counter() - begin, "spoken": spoken}
    print(found, flush=True)
    return found


def growth() -> list[dict[str, float]]:
    """Measure how the AR model's time and cache grow from 5 to 40 s of speech, at the paper's size in bfloat16.

    Seconds are integrated from the speed at the beginning, the middle and the end (Simpson's rule).
    """
    found = []
    for seconds in (5, 10, 20, 40):
        measured = [
            ar_speed(lambda: AR(100, TransformerConfig(dropout=0.0)).eval(), "bfloat16", 1, 60, FRAME_RATE, at)
            for at in (0, seconds / 2, seconds)
        ]
        first, middle, last = (1 / m["steps"] for m in measured)
        mean = (first + 4 * middle + last) / 6
        cache = round(measured[-1]["cache"] / 1e6)
        found.append({"seconds": seconds, "ar_seconds": round(seconds * FRAME_RATE * mean, 1), "cache_mb": cache})
        print(found[-1], flush=True)
    return found


def row(run: dict[str, Any]) -> str:
    """A line of the table."""
    return (
        f"| {run['size']} | {run['dtype']} | {run['group_size']} | {run['batch']} | {run['ar_steps_per_second']:.1f} | "
        f"{run['ar_bandwidth_share']:.0%} | {run['ar_real_time_factor']:.2f} | {run['nar_flops_share']:.0%} | "
        f"{run['nar_real_time_factor']:.2f} | {run['total_real_time_factor']:.2f} |"
    )


HEAD = (
    "| size | dtype | G | batch | AR steps/s | of bandwidth | AR RTF | NAR, of GEMM rate | NAR RTF | total RTF |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def side_by_side(results: dict[str, Any]) -> str:
    """A table of the runs of every capability: steps per second of the AR model and the total real-time factor."""
    names = list(results)
    runs: dict[tuple[str, str, int, int], dict[str, dict[str, Any]]] = {}
    for name in names:
        for run in results[name]["runs"]:
            key = run["size"], run["dtype"], run["group_size"], run["batch"]
            runs.setdefault(key, {})[name] = run
    columns = [f"{name} {what}" for what in ("AR steps/s", "total RTF") for name in names]
    lines = [
        f"| size | dtype | G | batch | {' | '.join(columns)} |",
        "|---" * (4 + len(columns)) + "|",
    ]
    for key, found in runs.items():
        steps = [f"{found[name]['ar_steps_per_second']:.1f}" if name in found else "" for name in names]
        factors = [f"{found[name]['total_real_time_factor']:.2f}" if name in found else "" for name in names]
        lines.append(f"| {' | '.join([*map(str, key), *steps, *factors])} |")
    return "\n".join(lines)


def read_results(path: Path) -> dict[str, Any]:
    """Results by capability that earlier runs wrote; none where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def plot(result: dict[str, Any], path: Path) -> None:
    """Plot the real-time factor by dtype and the time of the AR model by length, at the paper's size.

    Args:
        result: Result of `run_all`.
        path: SVG file to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    runs = [run for run in result["runs"] if run["size"] == "paper" and run["batch"] == 1]
    names = [f"{run['dtype']}\nG = {run['group_size']}" for run in runs]
    long = bool(result["growth"])
    figure, axes = plt.subplots(
        1, 1 + long, figsize=(8 + 4 * long, 3.5), squeeze=False, width_ratios=[2, 1][: 1 + long]
    )
    axis = axes[0, 0]
    base = [0.0] * len(runs)
    for part in ("ar", "nar", "codec"):
        values = [run[f"{part}_real_time_factor"] for run in runs]
        axis.bar(names, values, bottom=base, label=part.upper() if part != "codec" else "codec")
        base = [a + b for a, b in zip(base, values, strict=True)]
    axis.axhline(1.0, color="black", linewidth=0.8, linestyle="--")
    axis.set(ylabel="seconds of work a second of speech", title="12 layers x 1024, batch 1")
    axis.legend()
    if long:
        spoken, worked = ([point[key] for point in result["growth"]] for key in ("seconds", "ar_seconds"))
        axes[0, 1].plot(spoken, worked, marker="o")
        axes[0, 1].set(xlabel="seconds of speech", ylabel="seconds of the AR model, bfloat16", xlim=0, ylim=0)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    keep_memory()  # as the commands do
    print(HEAD)
    result = run_all(args.quick)
    print("\n" + HEAD)
    for run in result["runs"]:
        print(row(run))
    if args.json is not None:
        results = read_results(args.json) | {result["machine"]["capability"]: result}
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print("\n" + side_by_side(results))
    if args.plot is not None:
        plot(result, args.plot)


if __name__ == "__main__":
    main()

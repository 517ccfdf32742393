"""Measure the speed of synthesis beside the bounds of the machine.

    python benchmarks/synthesis.py [--quick] [--json FILE] [--plot FILE.svg]
    python benchmarks/synthesis.py --markdown FILE     # print the tables of a JSON file

Ten seconds of speech from a three-second prompt: decode steps per second of the AR model beside the bound of reading
its weights and its cache, the NAR model beside the bound of matrix products, the codec, and the sum as a real-time
factor (RTF, seconds of processing per second of speech). The bounds are measured in the same run. Steps are compiled
(`--compile`) where there is a C++ compiler. Baselines: steps that are not compiled, decoding without a cache, and
`generate` of Hugging Face transformers on a Llama of the AR model's size (where that package is installed).
`--quick` measures fewer steps, one of the NAR model's seven stages, and leaves out long speech.

The JSON file holds one result per instruction set (`torch.backends.cpu.get_cpu_capability()`); a run replaces its own.
On a processor with AVX-512, the speed without it is measured by lower capabilities:

    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/synthesis.py --json FILE
"""

from __future__ import annotations

import os

# Threads spin between two layers, which is faster on an idle machine. OpenMP reads this when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "ACTIVE")

import argparse
import json
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import torch
from bounds import BYTES, describe_machine, fastest
from decoding import (
    COMPILED,
    SECONDS,
    measure_ar,
    measure_baselines,
    measure_growth,
    measure_nar,
    measure_stream,
    sizes,
)

from valle import codec
from valle.cli.common import keep_memory, run
from valle.errors import UserError
from valle.files import write_text

BATCHES = (1, 8)
GROUP_SIZES = (1, 2)


@dataclass(frozen=True)
class Setting:
    """A row of the table.

    Attributes:
        size: Size of the models, see `sizes`.
        dtype: Type of the weights.
        group_size: Codes per decode step.
        batch: Texts that are synthesized together.
    """

    size: str
    dtype: str
    group_size: int
    batch: int


def measure_codec() -> float:
    """Return the real-time factor of decoding with the bundled codec."""
    small = codec.load("small")
    return fastest(lambda: small.decode(torch.zeros(500, 8, dtype=torch.long)), 3) / 10


def combine(
    setting: Setting,
    ar: dict[str, float],
    nar: dict[str, float],
    *,
    frame_rate: float,
    gemm: float,
    codec_factor: float,
) -> dict[str, Any]:
    """Compute rates, shares of the bounds and real-time factors.

    Args:
        setting: What was measured.
        ar: Result of `measure_ar`.
        nar: Result of `measure_nar`.
        frame_rate: Hertz.
        gemm: Rate of matrix products of this dtype in GFLOP/s.
        codec_factor: Real-time factor of the codec.
    """
    ar_seconds = ar["prefill"] + SECONDS * frame_rate / setting.group_size / ar["steps"]
    nar_seconds = nar["passes"] * nar["stage"]
    speech_seconds = SECONDS * setting.batch
    result = asdict(setting) | {
        "ar_steps_per_second": ar["steps"],
        "ar_codes_per_second": ar["steps"] * setting.group_size * setting.batch,
        "compiled": COMPILED,
        "bandwidth": ar["bandwidth"],
        "ar_bandwidth_share": ar["bytes"] * ar["steps"] / ar["bandwidth"] / 1e9,
        "ar_real_time_factor": ar_seconds / speech_seconds,
        "nar_stage_seconds": nar["stage"],
        "nar_flops_share": nar["flops"] / nar["stage"] / gemm / 1e9,
        "nar_real_time_factor": nar_seconds / speech_seconds,
        "codec_real_time_factor": codec_factor,
        "total_real_time_factor": (ar_seconds + nar_seconds) / speech_seconds + codec_factor,
    }
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in result.items()}


def measure(quick: bool) -> dict[str, Any]:
    """Measure everything; print a line for each setting."""
    machine = describe_machine()
    print(json.dumps(machine), flush=True)
    codec_factor = measure_codec()
    steps = 40 if quick else 200
    runs = []
    for size, (make_ar, make_nar, frame_rate) in sizes().items():
        for dtype, batch in product(BYTES, BATCHES):
            nar = measure_nar(make_nar(), dtype, batch, frame_rate=frame_rate, quick=quick)
            for group_size in GROUP_SIZES:
                ar = measure_ar(
                    make_ar(group_size), dtype, batch, steps=steps, frame_rate=frame_rate, position=SECONDS / 2
                )
                setting = Setting(size, dtype, group_size, batch)
                gemm = machine["gemm"][dtype]
                result = combine(setting, ar, nar, frame_rate=frame_rate, gemm=gemm, codec_factor=codec_factor)
                runs.append(result)
                rates = f"{result['ar_steps_per_second']:.1f} steps/s, RTF {result['total_real_time_factor']:.2f}"
                print(f"{size} {dtype} G={group_size} batch={batch}: {rates}", flush=True)
    return {
        "machine": machine,
        "runs": runs,
        "stream": measure_stream(),
        "baselines": measure_baselines(quick),
        "growth": [] if quick else measure_growth(),
    }


# Columns of the table of runs: heading, key, format.
COLUMNS = (
    ("AR steps/s", "ar_steps_per_second", ".1f"),
    ("of bandwidth", "ar_bandwidth_share", ".2f"),
    ("AR RTF", "ar_real_time_factor", ".2f"),
    ("NAR RTF", "nar_real_time_factor", ".2f"),
    ("total RTF", "total_real_time_factor", ".2f"),
)


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Format a table in Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in (headings, *rows)]
    return "\n".join([lines[0], "|---" * len(headings) + "|", *lines[1:]])


def runs_table(results: dict[str, Any]) -> str:
    """Format the runs of all instruction sets: every column of the first one, steps and total RTF of the others."""
    first = next(iter(results))
    columns = [(name, *column) for name in results for column in COLUMNS if name == first or column in COLUMNS[::4]]
    runs: dict[Setting, dict[str, dict[str, Any]]] = {}
    for name, result in results.items():
        for measured in result["runs"]:
            setting = Setting(**{field.name: measured[field.name] for field in fields(Setting)})
            runs.setdefault(setting, {})[name] = measured
    rows = [
        [*map(str, asdict(setting).values())]
        + [format(by_name[name][key], form) if name in by_name else "" for name, _, key, form in columns]
        for setting, by_name in runs.items()
    ]
    return table(["size", "dtype", "G", "batch", *(f"{name} {heading}" for name, heading, _, _ in columns)], rows)


def describe(name: str, machine: dict[str, Any]) -> str:
    """Describe the machine of an instruction set in a line."""
    rates = ", ".join(f"{rate:.0f} in {dtype}" for dtype, rate in machine["gemm"].items())
    return (
        f"{name}: {machine['processor']}, {machine['threads']} threads, torch {machine['torch']}, memory "
        f"{machine['bandwidth']} GB/s, matrix products in GFLOP/s: {rates}."
    )


def markdown(results: dict[str, Any]) -> str:
    """Format the runs of all instruction sets, and the other results of the one that was measured last."""
    results = dict(reversed(results.items()))
    parts = ["\n".join(describe(name, result["machine"]) for name, result in results.items()), runs_table(results)]
    latest = next(iter(results.values()))
    baselines = [
        [b["baseline"], b["dtype"], str(b["batch"]), str(b.get("frames", "")), f"{b['steps_per_second']:.1f}"]
        for b in latest["baselines"]
    ]
    parts.append(table(["baseline", "dtype", "batch", "frames", "AR steps/s"], baselines))
    if latest["growth"]:
        growth = [[str(point[key]) for key in ("seconds", "ar_seconds", "cache_mb")] for point in latest["growth"]]
        parts.append(table(["seconds of speech", "seconds of the AR model", "MB of its cache"], growth))
    stream = latest["stream"]
    parts.append(
        f"Stream of the bundled model: first audio after {stream['first_audio']:.2f} s, last audio after "
        f"{stream['last_audio']:.2f} s, {stream['speech_seconds']:.1f} s of speech."
    )
    return "\n\n".join(parts)


def read_results(path: Path) -> dict[str, Any]:
    """Read the results of earlier runs by instruction set; none where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def plot(result: dict[str, Any], path: Path) -> None:
    """Plot the real-time factors at the paper's size and batch 1, and the time of the AR model by length."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    runs = [r for r in result["runs"] if r["size"] == "paper" and r["batch"] == 1]
    names = [f"{r['dtype']}\nG = {r['group_size']}" for r in runs]
    growth = result["growth"]
    panels = 2 if growth else 1
    figure, axes = plt.subplots(1, panels, figsize=(4 + 4 * panels, 3.5), squeeze=False, width_ratios=[2, 1][:panels])
    axis = axes[0, 0]
    bottom = [0.0] * len(runs)
    for part, label in (("ar", "AR"), ("nar", "NAR"), ("codec", "codec")):
        values = [r[f"{part}_real_time_factor"] for r in runs]
        axis.bar(names, values, bottom=bottom, label=label)
        bottom = [a + b for a, b in zip(bottom, values, strict=True)]
    axis.axhline(1.0, color="black", linewidth=0.8, linestyle="--")
    axis.set(ylabel="real-time factor", title="12 layers, width 1024, batch 1")
    axis.legend()
    if growth:
        axes[0, 1].plot([p["seconds"] for p in growth], [p["ar_seconds"] for p in growth], marker="o")
        axes[0, 1].set(xlabel="seconds of speech", ylabel="seconds of the AR model, bfloat16", xlim=0, ylim=0)
    figure.tight_layout()
    figure.savefig(path)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="measure less, in about half of the time")
    parser.add_argument("--json", type=Path, help="JSON file of the results by instruction set")
    parser.add_argument("--plot", type=Path, help="SVG file for a plot")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="print the tables of a JSON file; measure nothing"
    )
    args = parser.parse_args()
    if args.markdown is not None:
        results = read_results(args.markdown)
        if not results:
            raise UserError(f"{args.markdown}: holds no results; write some with --json")
        print(markdown(results))
        if args.plot is not None:
            plot(list(results.values())[-1], args.plot)
        return
    torch.manual_seed(0)
    # As the commands do.
    keep_memory()
    result = measure(args.quick)
    capability = result["machine"]["capability"]
    results = {capability: result}
    if args.json is not None:
        others = {name: other for name, other in read_results(args.json).items() if name != capability}
        results = others | results
        write_text(args.json, json.dumps(results, indent=2) + "\n")
    print(f"\n{markdown(results)}")
    if args.plot is not None:
        plot(result, args.plot)


if __name__ == "__main__":
    run(_main)

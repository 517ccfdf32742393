"""Measure how long the package and its commands take to start.

    python benchmarks/startup.py [--runs N]

Each measurement is a new process, from its start to its end, with files in the page cache and, except for the last row,
with a compiled decode step in the cache directory. Prints the minimum and the median of N processes in seconds.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

PYTHON = sys.executable
COMMAND = str(Path(PYTHON).with_name("valle-synth"))
FIRST_CHUNK = "import valle; next(valle.load('small').stream('Hello there.'))"
SYNTHESIS = [COMMAND, "--text", "Hello there."]
MEASUREMENTS = {
    "import valle": [PYTHON, "-c", "import valle"],
    "valle-synth --help": [COMMAND, "--help"],
    'valle.load("small")': [PYTHON, "-c", "import valle; valle.load('small')"],
    "first chunk of TTS.stream": [PYTHON, "-c", FIRST_CHUNK],
    "valle-synth --text": SYNTHESIS,
}


def machine() -> str:
    """Return the processor, the cores that this process may use, and the version of Python."""
    processor = platform.processor()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), processor)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{processor}, {cores} cores, Python {platform.python_version()}"


def run_process(command: list[str], cache: Path | None = None) -> float:
    """Run a command in a folder of its own.

    Args:
        command: Program and arguments.
        cache: Cache directory of compiled code; None: the user's.

    Returns:
        Seconds from its start to its end.
    """
    environment = dict(os.environ) if cache is None else os.environ | {"XDG_CACHE_HOME": str(cache)}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - start


def run_with_empty_cache() -> float:
    """Run `valle-synth` as after the installation: it compiles the decode step. Returns seconds."""
    with tempfile.TemporaryDirectory() as cache:
        return run_process(SYNTHESIS, Path(cache))


def report(name: str, measure: Callable[[], float], runs: int) -> None:
    """Print the minimum and the median of several runs, after one that reads the files into the page cache."""
    measure()
    seconds = [measure() for _ in range(runs)]
    print(f"{name:36} {min(seconds):6.2f} {statistics.median(seconds):6.2f}", flush=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Measure how long the package and its commands take to start.")
    parser.add_argument("--runs", type=int, default=5, help="processes for each measurement (default: 5)")
    args = parser.parse_args()
    print(machine())
    print(f"{'seconds':36} {'min':>6} {'median':>6}")
    for name, command in MEASUREMENTS.items():
        report(name, partial(run_process, command), args.runs)
    report("valle-synth --text, nothing compiled", run_with_empty_cache, args.runs)


if __name__ == "__main__":
    main()

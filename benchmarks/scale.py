"""Measure time and memory of reading the tokens of a very large corpus.

    python benchmarks/scale.py [--utterances 20000000] [--batches 200] [--json FILE]

Makes a folder of tokens with this number of utterances: eight shards of 500 utterances are written, then hard-linked
under the names of all shards, so that the folder has the files of a real one. A new process then makes the data module
as `valle-train` does and measures the seconds until the first batch, its peak memory, and batches per second.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from training import write_tokens

from valle.data.datamodule import TokensDataModule
from valle.data.tokens import TokensConfig

SHARD_SIZE = 500
DISTINCT_SHARDS = 8


def write_linked_tokens(folder: Path, utterances: int) -> None:
    """Write a folder of tokens whose shards are hard links to DISTINCT_SHARDS of them."""
    folder.mkdir()
    for index in range(DISTINCT_SHARDS):
        write_tokens(folder / f"source{index}", SHARD_SIZE, index)
    for index in range(utterances // SHARD_SIZE):
        source = folder / f"source{index % DISTINCT_SHARDS}"
        for name in ("cuts.{}.jsonl.gz", "codes.{}.tar", "shard.{}.json"):
            os.link(source / name.format("000000"), folder / name.format(f"{index:06d}"))
    config = TokensConfig.read(folder / "source0")
    config = replace(config, utterances=utterances // SHARD_SIZE * SHARD_SIZE, shard_size=SHARD_SIZE)
    (folder / "config.json").write_text(json.dumps(vars(config)), encoding="utf-8")


def measure(folder: Path, batches: int) -> dict[str, float]:
    """Measure reading in this process, which must be a new one for its peak memory to count."""
    begin = time.perf_counter()
    data = TokensDataModule([str(folder)], [str(folder)], max_duration=160, num_workers=0)
    data_module_seconds = time.perf_counter() - begin
    iterator = iter(data.train_dataloader())
    next(iterator)
    first_batch_seconds = time.perf_counter() - begin
    speech_seconds = 0.0
    begin = time.perf_counter()
    for _ in range(batches):
        speech_seconds += float(next(iterator).code_lengths.sum()) / data.config.frame_rate
    elapsed = time.perf_counter() - begin
    return {
        "data_module_seconds": round(data_module_seconds, 2),
        "first_batch_seconds": round(first_batch_seconds, 2),
        "batches_per_second": round(batches / elapsed, 2),
        "hours_of_speech_per_second": round(speech_seconds / elapsed / 3600, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=20_000_000)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        print(json.dumps(measure(args.measure, args.batches)))
        return
    results = []
    for utterances in (args.utterances // 100, args.utterances):
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root) / "tokens"
            write_linked_tokens(folder, utterances)
            command = [sys.executable, __file__, "--measure", str(folder), "--batches", str(args.batches)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
            results.append({"utterances": utterances, **json.loads(done.stdout)})
            print(results[-1], flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

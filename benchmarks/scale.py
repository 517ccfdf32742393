"""What reading a very large corpus costs, before there is one.

    python benchmarks/scale.py [--utterances 20000000] [--batches 200] [--json FILE]

Makes a folder of tokens with so many utterances: a few shards of 500 are written and linked again and again, so the
folder holds every file that a real one would, and reading is real. Then a process of its own makes the data module, as
`valle-train` does: seconds until the first batch, memory, and batches a second.
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

SHARD, DISTINCT = 500, 8


def make(folder: Path, utterances: int) -> None:
    """The folder of tokens."""
    folder.mkdir()
    for index in range(DISTINCT):
        write_tokens(folder / f"made{index}", SHARD, index)
    for index in range(utterances // SHARD):
        made = folder / f"made{index % DISTINCT}"
        for name in ("cuts.{}.jsonl.gz", "codes.{}.tar", "shard.{}.json"):
            os.link(made / name.format("000000"), folder / name.format(f"{index:06d}"))
    config = TokensConfig.read(folder / "made0")
    whole = replace(config, utterances=utterances // SHARD * SHARD, shard_size=SHARD)
    (folder / "config.json").write_text(json.dumps(vars(whole)), encoding="utf-8")


def measure(folder: Path, batches: int) -> dict[str, float]:
    """In a process that has done nothing else."""
    begin = time.perf_counter()
    data = TokensDataModule([str(folder)], [str(folder)], max_duration=160, num_workers=0)
    made = time.perf_counter() - begin
    iterator = iter(data.train_dataloader())
    next(iterator)
    first = time.perf_counter() - begin
    begin, seconds = time.perf_counter(), 0.0
    for _ in range(batches):
        seconds += float(next(iterator).code_lengths.sum()) / data.config.frame_rate
    spent = time.perf_counter() - begin
    return {
        "data_module_seconds": round(made, 2),
        "first_batch_seconds": round(first, 2),
        "batches_per_second": round(batches / spent, 2),
        "hours_of_speech_per_second": round(seconds / spent / 3600, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=20_000_000)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        print(json.dumps(measure(args.measure, args.batches)))
        return
    found = []
    for utterances in (args.utterances // 100, args.utterances):
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root) / "tokens"
            make(folder, utterances)
            command = [sys.executable, __file__, "--measure", str(folder), "--batches", str(args.batches)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
            found.append({"utterances": utterances, **json.loads(done.stdout)})
            print(found[-1], flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

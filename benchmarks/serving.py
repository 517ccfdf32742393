"""Measure valle-serve with many clients: throughput, latency and memory.

    python benchmarks/serving.py [--clients 1 4 16 64] [--requests 32] [--soak 1000] [--options "OPTIONS"]

Starts valle-serve with OPTIONS, and lets each number of clients send their requests one after another, until all are
answered: the texts of 5 to 10 words of robustness.txt in turn, as PCM streams. Prints seconds of speech per second, the
median and the 99th percentile of the seconds to the first audio, and of the real-time factor of a request. With --soak,
8 clients send so many requests in four rounds, and the memory of the server after each round is printed.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import httpx
import numpy as np

from valle.cli.common import run
from valle.errors import UserError

TEXTS = Path(__file__).with_name("robustness.txt")
PCM_RATE = 24_000  # hertz
ROUNDS = 4


@dataclass(frozen=True)
class Answer:
    """A request that was answered: seconds to the first and the last audio, and of speech."""

    first: float
    total: float
    speech: float


@contextmanager
def started_server(options: str) -> Iterator[tuple[str, int]]:
    """Run a server; yield its address and the number of its process."""
    program = Path(sys.executable).with_name("valle-serve")
    command = [str(program), "--port", "0", "--max-queue", "1000", *shlex.split(options)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        assert process.stderr is not None
        match = re.search(r"http://\S+", process.stderr.readline())
        if match is None:
            raise UserError(f"the server did not start: {process.stderr.read().strip()}")
        yield match[0], process.pid
    finally:
        process.terminate()
        process.wait()


def ask(client: httpx.Client, url: str, text: str, seed: int) -> Answer:
    """Send a request and read its answer."""
    body = {"model": "tts-1", "input": text, "seed": seed, "response_format": "pcm"}
    begin = time.monotonic()
    first = 0.0
    received = 0
    with client.stream("POST", f"{url}/v1/audio/speech", json=body) as response:
        response.raise_for_status()
        for data in response.iter_raw():
            first = first or time.monotonic() - begin
            received += len(data)
    return Answer(first, time.monotonic() - begin, received / 2 / PCM_RATE)


def measure(url: str, clients: int, requests: int, seed: int) -> tuple[list[Answer], float]:
    """Let clients send requests; return the answers and the seconds of all together."""
    lines = TEXTS.read_text(encoding="utf-8").splitlines()
    texts = [line for line in lines if 5 <= len(line.split()) <= 10]
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(requests):
        waiting.put(number)
    answers: list[Answer] = []

    def work() -> None:
        with httpx.Client(timeout=600) as client:
            while True:
                try:
                    number = waiting.get_nowait()
                except Empty:
                    return
                answers.append(ask(client, url, texts[number % len(texts)], seed + number))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, time.monotonic() - begin


def resident_megabytes(process: int) -> float:
    """Return the memory of a process (Linux)."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4, 16, 64], help="numbers of clients")
    parser.add_argument("--requests", type=int, default=32, help="requests, at least two for each client (32)")
    parser.add_argument("--soak", type=int, default=0, help="requests of the soak test; 0: none")
    parser.add_argument("--options", default="", help="options of valle-serve")
    args = parser.parse_args()
    with started_server(args.options) as (url, process):
        measure(url, 2, 4, 0)
        if args.clients:
            print("| clients | speech per second | first audio, median | 99 % | real-time factor, median | 99 % |")
            print("|---|---|---|---|---|---|")
        for clients in args.clients:
            answers, seconds = measure(url, clients, max(args.requests, 2 * clients), 100)
            first = np.percentile([answer.first for answer in answers], [50, 99])
            factor = np.percentile([answer.total / answer.speech for answer in answers], [50, 99])
            speech = sum(answer.speech for answer in answers) / seconds
            cells = [f"{speech:.1f} s", *(f"{value:.2f} s" for value in first), *(f"{value:.2f}" for value in factor)]
            print(f"| {clients} | {' | '.join(cells)} |", flush=True)
        if args.soak:
            print(f"memory: {resident_megabytes(process):.0f} MB", flush=True)
        for number in range(ROUNDS if args.soak else 0):
            answers, seconds = measure(url, 8, args.soak // ROUNDS, 1000 * number)
            done = (number + 1) * (args.soak // ROUNDS)
            print(f"{done} requests: {resident_megabytes(process):.0f} MB, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    run(main)

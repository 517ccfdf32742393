from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest


@dataclass
class RunningServer:
    url: str
    process: subprocess.Popen[str]
    home: Path

    @property
    def v1(self) -> str:
        return f"{self.url}/v1"


@contextmanager
def serve(home: Path, *options: str) -> Iterator[RunningServer]:
    """Run valle-serve on a free port."""
    command = [str(Path(sys.executable).with_name("valle-serve")), "--port", "0", *options]
    environment = os.environ | {"VALLE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        match = re.search(r"http://\S+", line)
        assert match, line + process.stderr.read()
        server = RunningServer(match[0], process, home)
        for _ in range(100):
            try:
                httpx.get(f"{server.url}/readyz").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serve(tmp_path_factory.mktemp("valle_home")) as running:
        yield running

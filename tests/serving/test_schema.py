"""Requests by chance, made from the server's own description of its routes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.conftest import RunningServer


@pytest.mark.slow
def test_no_request_is_a_server_error_or_has_an_undocumented_answer(server: RunningServer, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance"
    options = ["--max-examples", "5", "--phases", "fuzzing", "--checks", checks, "--request-timeout", "120"]
    command = [program, "run", f"{server.url}/openapi.json", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
def test_fifty_clients_at_once_get_their_own_speech(server: RunningServer) -> None:
    import threading

    import httpx

    results: dict[int, bytes] = {}

    def run(seed: int) -> None:
        body = {"model": "small", "input": "Hello there, my friend.", "seed": seed, "response_format": "wav"}
        response = httpx.post(f"{server.v1}/audio/speech", json=body, timeout=600)
        results[seed] = response.raise_for_status().content

    threads = [threading.Thread(target=run, args=(seed % 25,)) for seed in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 25
    body = {"model": "small", "input": "Hello there, my friend.", "seed": 7, "response_format": "wav"}
    assert httpx.post(f"{server.v1}/audio/speech", json=body, timeout=60).content == results[7]

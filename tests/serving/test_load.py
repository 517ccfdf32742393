"""valle-serve with clients that leave or are foreign, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.serving.conftest import RunningServer, serve
from valle.synthesis.voices import find_voice

LONG = "It is a long story about many things, and nobody knows how it will end. " * 60


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that synthesizes one request at once."""
    with serve(tmp_path_factory.mktemp("home"), "--max-running", "1", "--max-queue", "1") as running:
        yield running


def metric(server: RunningServer, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def body(text: str, **fields: object) -> dict[str, object]:
    return {"model": "small", "input": text, "response_format": "wav", **fields}


def test_client_that_leaves_the_queue_frees_its_place(narrow: RunningServer) -> None:
    url = f"{narrow.v1}/audio/speech"
    with httpx.stream("POST", url, json=body(LONG), timeout=60) as running:
        received = running.iter_raw()
        next(received)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, json=body("Hello."), timeout=0.5)
        wait_for(lambda: metric(narrow, "valle_queue_length") == 0)
        assert metric(narrow, "valle_running_requests") == 1
    wait_for(lambda: metric(narrow, "valle_running_requests") == 0)


def test_client_that_leaves_a_batch_ends_it(narrow: RunningServer) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{narrow.v1}/audio/speech/batch", json={"items": [{"input": LONG}] * 8}, timeout=1)
    wait_for(lambda: metric(narrow, "valle_running_requests") == metric(narrow, "valle_batch_rows") == 0)


def test_waiting_counts_as_time_to_the_first_audio(narrow: RunningServer) -> None:
    before = metric(narrow, "valle_first_audio_seconds_sum")
    with httpx.stream("POST", f"{narrow.v1}/audio/speech", json=body(LONG), timeout=60) as running:
        received = running.iter_raw()
        next(received)
        first = metric(narrow, "valle_first_audio_seconds_sum") - before
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(httpx.post, f"{narrow.v1}/audio/speech", json=body("Hello."), timeout=60)
            wait_for(lambda: metric(narrow, "valle_queue_length") == 1)
            time.sleep(1)
            running.close()
            assert waiting.result().status_code == 200
    assert metric(narrow, "valle_first_audio_seconds_sum") - before - first > 1


@pytest.mark.parametrize("origin", ["http://example.com", "null", "http://127.0.0.1:1"])
def test_pages_of_other_origins_are_refused(server: RunningServer, origin: str) -> None:
    headers = {"Origin": origin}
    files = {"audio_sample": ("recording.flac", find_voice("clara").recording.read_bytes())}
    response = httpx.post(f"{server.v1}/audio/voices", data={"name": "foreign"}, files=files, headers=headers)
    assert response.status_code == 403
    assert f"pages of {origin} may not use this server" in response.json()["error"]["message"]
    assert "foreign" not in httpx.get(f"{server.v1}/audio/voices").json()["voices"]
    with pytest.raises(InvalidStatus, match="403"):
        connect(server.v1.replace("http", "ws") + "/audio/speech/stream", additional_headers=headers)


def test_own_page_is_served_and_foreign_host_names_are_refused(server: RunningServer) -> None:
    assert httpx.get(f"{server.v1}/models", headers={"Origin": server.url}).status_code == 200
    port = server.url.rsplit(":", 1)[1]
    assert httpx.get(f"{server.v1}/models", headers={"Host": f"localhost:{port}"}).status_code == 200
    for host in ("example.com", "127.0.0.1.example.com", "[", ""):
        response = httpx.get(f"{server.v1}/models", headers={"Host": host})
        assert response.status_code in (400, 403)


def test_named_origin_may_use_the_server_and_running_requests_end_after_sigterm(tmp_path: Path) -> None:
    origin = "https://example.com"
    with serve(tmp_path, "--cors-origin", origin) as server:
        response = httpx.get(f"{server.v1}/models", headers={"Origin": origin})
        assert response.headers["access-control-allow-origin"] == origin
        request = {"json": body(LONG[:150], response_format="pcm"), "timeout": 60}
        whole = httpx.post(f"{server.v1}/audio/speech", **request).content
        with httpx.stream("POST", f"{server.v1}/audio/speech", **request) as running:
            received = running.iter_raw()
            data = next(received)
            server.process.terminate()
            wait_for(lambda: httpx.get(f"{server.url}/readyz").status_code == 503)
            refused = httpx.post(f"{server.v1}/audio/speech", json=body("Hello."))
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "5"
            assert refused.json()["error"]["message"] == "the server is shutting down"
            assert data + b"".join(received) == whole
        assert server.process.wait(10) == 0


def test_requests_that_last_too_long_after_sigterm_are_ended(tmp_path: Path) -> None:
    with (
        serve(tmp_path, "--grace", "1") as server,
        httpx.stream("POST", f"{server.v1}/audio/speech", json=body(LONG), timeout=60) as running,
    ):
        received = running.iter_raw()
        next(received)
        begin = time.monotonic()
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert time.monotonic() - begin < 10

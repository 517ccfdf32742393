from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import httpx
import numpy as np
import openai
import pytest
import soundfile

import valle
from tests.serving.conftest import RunningServer, serve

TEXT = "The garden behind the house is full of yellow flowers."
LONG = " ".join([TEXT, "I will send you the report before the end of today."] * 12)
PROGRAM = Path(sys.executable).with_name("valle-serve")
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


def client(server: RunningServer, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=server.v1, api_key=key, max_retries=0)


def decode(data: bytes, kind: str) -> tuple[np.ndarray, int]:
    if kind == "pcm":
        return np.frombuffer(data, "<i2") / 32768, 24_000
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(audio=0))
        return np.concatenate([frame.to_ndarray().mean(axis=0) for frame in frames]), frames[0].sample_rate


def metric(server: RunningServer, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def speak(server: RunningServer, **fields: object) -> httpx.Response:
    return httpx.post(f"{server.v1}/audio/speech", json={"model": "small", "input": TEXT, **fields}, timeout=120)


def test_every_format_and_speed_has_the_whole_speech(server: RunningServer) -> None:
    whole = client(server).audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format="wav")
    seconds = len(decode(whole.content, "wav")[0]) / 16_000
    assert seconds > 2
    for kind, speed in zip(FORMATS, (1.0, 1.5, 0.75, 1.0, 2.0, 1.25), strict=True):
        response = client(server).audio.speech.create(
            model="small", voice="clara", input=TEXT, response_format=kind, speed=speed
        )
        samples, rate = decode(response.content, kind)
        assert len(samples) / rate == pytest.approx(seconds / speed, abs=0.15), kind
        assert response.response.headers["content-type"].startswith("audio/")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_streams(server: RunningServer, kind: str) -> None:
    begin = time.monotonic()
    times = []
    body = {"model": "small", "input": " ".join([TEXT] * 3), "response_format": kind, "speed": 1.2}
    with httpx.stream("POST", f"{server.v1}/audio/speech", json=body, timeout=120) as response:
        for _ in response.iter_bytes():
            times.append(time.monotonic() - begin)
    assert times[0] < 0.7 * times[-1]
    assert len(times) > 3


def test_the_official_client_streams_sync_and_async(server: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    with client(server).audio.speech.with_streaming_response.create(
        model="small", voice="clara", input=TEXT, response_format="wav"
    ) as response:
        response.stream_to_file(path)

    async def read() -> bytes:
        own = openai.AsyncOpenAI(base_url=server.v1, api_key="none")
        async with own.audio.speech.with_streaming_response.create(
            model="small", voice="clara", input=TEXT, response_format="wav"
        ) as streamed:
            return b"".join([chunk async for chunk in streamed.iter_bytes()])

    assert asyncio.run(read()) == path.read_bytes()
    assert [model.id for model in client(server).models.list()] == ["small"]


def test_samples_are_those_of_python(server: RunningServer) -> None:
    samples, _ = decode(speak(server, response_format="wav", seed=5).content, "wav")
    expected = np.concatenate([chunk.samples for chunk in valle.load("small").stream(TEXT, seed=5)])
    assert np.abs(samples / 32768 - expected).max() < 1e-3


def test_best_of_several_candidates_is_that_of_python(server: RunningServer) -> None:
    samples, _ = decode(speak(server, response_format="wav", seed=5, attempts=3).content, "wav")
    expected = valle.load("small").synthesize(TEXT, seed=5, attempts=3).samples
    assert np.abs(samples / 32768 - expected).max() < 1e-3


def test_same_seed_gives_the_same_bytes_whatever_else_is_synthesized(server: RunningServer) -> None:
    alone = speak(server, response_format="wav", seed=3).content
    results: dict[int, bytes] = {}

    def run(seed: int) -> None:
        results[seed] = speak(server, response_format="wav", seed=seed, temperature=1.0 if seed % 2 else 0.8).content

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[3] == alone
    assert len(set(results.values())) == 6


def test_curl_gets_audio(server: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    body = json.dumps({"model": "small", "input": "Hello there.", "response_format": "flac"})
    command = ["curl", "-sf", f"{server.v1}/audio/speech", "-H", "Content-Type: application/json", "-d", body]
    subprocess.run([*command, "-o", str(path)], check=True)
    assert soundfile.info(path).samplerate == 16_000


def test_server_sent_events_have_audio_words_and_codes(server: RunningServer) -> None:
    response = speak(server, stream_format="sse", response_format="pcm", timestamps=True, codes=True)
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    done = events[-1]
    assert done["type"] == "speech.audio.done"
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert len(audio) / 2 / 24_000 == pytest.approx(done["seconds"], abs=0.01)
    words = [word for event in events[:-1] for word in event.get("words", [])]
    assert [word["text"] for word in words] == TEXT.split()
    assert all(word["start"] <= word["end"] <= done["seconds"] for word in words)
    codes = [frame for event in events[:-1] for frame in event.get("codes", [])]
    assert len(codes) / 50 == pytest.approx(done["seconds"], abs=0.05)
    assert all(len(frame) == 8 for frame in codes)


def test_what_is_ignored_is_said_in_a_header(server: RunningServer) -> None:
    response = speak(server, voice="nova", instructions="Whisper.")
    assert "voice 'nova' is OpenAI's; the voice is clara" in response.headers["warning"]
    assert "instructions are ignored" in response.headers["warning"]


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"input": ""}, 400, "input: String should have at least 1 character"),
        ({"input": " \n"}, 400, "input: holds nothing to say"),
        ({"input": "?!"}, 400, "holds nothing to say; give at least one word"),
        ({"input": "привет"}, 400, "cannot be read in en-us"),
        ({"input": "[pause]"}, 400, "line 1, column 1: [pause] is no pause"),
        ({"input": "<speak><x/></speak>"}, 400, "SSML, line 1, column 8: <x> is not supported"),
        ({"input": "a" * 20_001}, 400, "input has 20001 characters, at most 20000 are taken"),
        ({"voice": "nobody"}, 400, "voice 'nobody' does not exist; use one of clara"),
        ({"voice": "../../etc/passwd"}, 400, "does not exist"),
        ({"model": "gpt-x"}, 404, "model 'gpt-x' is not served; use 'small'"),
        ({"speed": 9}, 400, "speed: "),
        ({"seed": -1}, 400, "seed: "),
        ({"response_format": "ogg"}, 400, "response_format: "),
        ({"language": "de"}, 400, "language 'de': the model was trained on en-us"),
        ({"stream_format": "x"}, 400, "stream_format: "),
    ],
)
def test_bad_input_is_one_error_object(server: RunningServer, fields: dict, status: int, message: str) -> None:
    response = speak(server, **fields)
    assert response.status_code == status
    error = response.json()["error"]
    assert message in error["message"]
    assert "\n" not in error["message"]
    assert error["code"] == status


def test_bodies_that_are_no_json_or_too_large_are_refused(server: RunningServer) -> None:
    url = f"{server.v1}/audio/speech"
    response = httpx.post(url, content=b"{", headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert "error" in response.json()
    assert httpx.post(url, content=b" " * 2_000_000).status_code == 413

    def chunks() -> object:
        for _ in range(30):
            yield b" " * 100_000

    assert httpx.post(url, content=chunks()).status_code == 413  # type: ignore[arg-type]


def test_batch_has_a_result_or_an_error_for_each_text(server: RunningServer) -> None:
    items = [{"input": "Hello there."}, {"input": "привет"}, {"input": "Good morning.", "response_format": "flac"}]
    body = {"items": items, "response_format": "wav", "voice": "clara"}
    answer = httpx.post(f"{server.v1}/audio/speech/batch", json=body, timeout=120).json()
    assert [result["status"] for result in answer["results"]] == ["success", "error", "success"]
    assert (answer["total"], answer["succeeded"], answer["failed"]) == (3, 2, 1)
    first, _, last = answer["results"]
    assert [word["text"] for word in first["words"]] == ["Hello", "there."]
    samples, rate = decode(base64.b64decode(last["audio_data"]), "flac")
    assert len(samples) / rate == pytest.approx(last["seconds"], abs=0.01)


def test_client_that_leaves_frees_its_slot(server: RunningServer) -> None:
    with httpx.stream("POST", f"{server.v1}/audio/speech", json={"model": "small", "input": LONG}) as response:
        received = response.iter_bytes()
        next(received)
        assert metric(server, "valle_running_requests") == 1
    for _ in range(50):
        if metric(server, "valle_running_requests") == metric(server, "valle_batch_rows") == 0:
            return
        time.sleep(0.1)
    pytest.fail("the slot is still taken")


def test_slow_reader_gets_everything(server: RunningServer) -> None:
    body = {"model": "small", "input": TEXT, "response_format": "pcm"}
    received = 0
    with httpx.stream("POST", f"{server.v1}/audio/speech", json=body, timeout=120) as response:
        for data in response.iter_bytes(4096):
            received += len(data)
            time.sleep(0.02)
    assert received == len(speak(server, response_format="pcm").content)


def test_health_and_metrics(server: RunningServer) -> None:
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/readyz").json() == {"status": "ready"}
    before = metric(server, "valle_requests_total")
    speak(server, input="Hello.")
    assert metric(server, "valle_requests_total") >= before + 1
    for name in ("valle_first_audio_seconds_count", "valle_speech_seconds_count", "valle_real_time_factor_count"):
        assert metric(server, name) >= 1
    assert metric(server, "valle_audio_seconds_total") > 0


def test_full_queue_key_limits_and_graceful_shutdown(tmp_path: Path) -> None:
    key = "k" * 24
    (tmp_path / "key.txt").write_text(key + "\n")
    options = ["--api-key-file", str(tmp_path / "key.txt"), "--max-running", "1", "--max-queue", "1"]
    with serve(tmp_path / "home", *options, "--max-characters", "2000") as server:
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert httpx.get(f"{server.v1}/models").status_code == 401
        with pytest.raises(openai.AuthenticationError):
            client(server, "wrong").models.list()
        assert [model.id for model in client(server, key).models.list()] == ["small"]
        headers = {"Authorization": f"Bearer {key}"}
        results: list[httpx.Response] = []

        def run() -> None:
            body = {"model": "small", "input": TEXT, "response_format": "wav"}
            results.append(httpx.post(f"{server.v1}/audio/speech", json=body, headers=headers, timeout=120))

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        time.sleep(0.5)
        # A request that runs is finished after SIGTERM.
        server.process.terminate()
        for thread in threads:
            thread.join()
        statuses = sorted(response.status_code for response in results)
        assert statuses == [200, 200, 429, 429]
        refused = next(response for response in results if response.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["type"] == "rate_limit_error"
        whole = [decode(response.content, "wav")[0] for response in results if response.status_code == 200]
        assert np.array_equal(whole[0], whole[1])
        assert server.process.wait(30) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "others can reach it; give --api-key-file FILE"),
        (["--api-key-file", "missing.txt"], "missing.txt: cannot be read"),
        (["--port", "70000"], "--port at most 65535"),
        (["--max-running", "0"], "--max-running 0: must be greater than 0"),
        (["--model", "no-such-model"], "no-such-model"),
    ],
)
def test_bad_options_are_one_line(tmp_path: Path, options: list[str], message: str) -> None:
    done = subprocess.run([PROGRAM, *options], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_port_that_is_taken_is_one_line(server: RunningServer) -> None:
    port = server.url.rsplit(":", 1)[1]
    done = subprocess.run([PROGRAM, "--port", port], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"127.0.0.1:{port}: cannot be used (Address already in use)" in done.stderr

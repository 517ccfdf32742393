from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from tests.serving.conftest import RunningServer
from valle.synthesis.voices import find_voice

RECORDING = find_voice("clara").recording


def post(server: RunningServer, name: str, data: bytes, **fields: str) -> httpx.Response:
    files = {"audio_sample": ("recording.flac", data)}
    return httpx.post(f"{server.v1}/audio/voices", data={"name": name, **fields}, files=files, timeout=60)


def test_voice_is_saved_used_and_deleted(server: RunningServer) -> None:
    response = post(server, "anna", RECORDING.read_bytes(), text="The weather was warm.", consent="her own")
    assert response.status_code == 201, response.text
    assert response.json()["consent"] == "her own"
    listed = httpx.get(f"{server.v1}/audio/voices").json()
    assert "anna" in listed["voices"]
    assert [voice["name"] for voice in listed["data"] if voice["default"]] == ["clara"]
    body = {"model": "small", "input": "Hello there.", "response_format": "wav", "voice": {"id": "anna"}}
    assert httpx.post(f"{server.v1}/audio/speech", json=body, timeout=60).status_code == 200
    assert post(server, "anna", RECORDING.read_bytes()).status_code == 409
    assert httpx.delete(f"{server.v1}/audio/voices/anna").json() == {"name": "anna", "deleted": True}
    assert httpx.delete(f"{server.v1}/audio/voices/anna").status_code == 404
    assert httpx.post(f"{server.v1}/audio/speech", json=body, timeout=60).status_code == 400


def test_bundled_voices_stay(server: RunningServer) -> None:
    assert "is bundled" in httpx.delete(f"{server.v1}/audio/voices/clara").json()["error"]["message"]
    assert "is bundled" in post(server, "clara", RECORDING.read_bytes()).json()["error"]["message"]


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "", "x" * 65, "a b", "ä"])
def test_names_cannot_leave_the_folder(server: RunningServer, name: str) -> None:
    response = post(server, name, RECORDING.read_bytes())
    assert response.status_code == 400
    assert not [path for path in server.home.rglob("*") if "evil" in path.name]


def test_recordings_are_checked(server: RunningServer, tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(48_000), 16_000)
    for data, message in (
        (silent.read_bytes(), "audio_sample: is silent"),
        (b"hello, I am text " * 100, "audio_sample: is a web page or text"),
        (b"\x00\x01\x02" * 1000, "audio_sample: not an audio file"),
        (b"", "audio_sample: "),
    ):
        response = post(server, "bad", data)
        assert response.status_code == 400
        assert message in response.json()["error"]["message"]
        assert "/tmp" not in response.text
    assert post(server, "big", bytes(26_000_000)).status_code == 413
    assert "bad" not in httpx.get(f"{server.v1}/audio/voices").json()["voices"]

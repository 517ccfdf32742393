from __future__ import annotations

import json
import threading
import time
from socket import SHUT_RDWR
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.serving.conftest import RunningServer


def open_socket(server: RunningServer, compression: str | None = "deflate") -> ClientConnection:
    return connect(server.v1.replace("http", "ws") + "/audio/speech/stream", compression=compression)


def receive_utterance(socket: ClientConnection) -> tuple[list[dict[str, Any]], bytes]:
    """Receive messages up to audio.done or an error."""
    messages = []
    audio = b""
    while not messages or messages[-1]["type"] not in ("audio.done", "error"):
        message = socket.recv(timeout=60)
        if isinstance(message, bytes):
            audio += message
        else:
            messages.append(json.loads(message))
    return messages, audio


def test_audio_comes_while_the_text_is_still_being_written(server: RunningServer) -> None:
    with open_socket(server) as socket:
        socket.send(json.dumps({"type": "session.config", "timestamps": True, "seed": 1}))
        for piece in ("Good mor", "ning to you. ", "This is"):
            socket.send(json.dumps({"type": "input.text", "text": piece}))
        messages = [json.loads(socket.recv(timeout=60))]
        audio = socket.recv(timeout=60)
        assert isinstance(audio, bytes)
        socket.send(json.dumps({"type": "input.text", "text": " the end."}))
        socket.send(json.dumps({"type": "input.done"}))
        more, rest = receive_utterance(socket)
        messages += more
        assert messages[0] == {"type": "audio.start", "format": "pcm", "sample_rate": 24_000}
        done = messages[-1]
        assert len(audio + rest) / 2 / 24_000 == pytest.approx(done["seconds"], abs=0.01)
        words = [word["text"] for message in messages for word in message.get("words", [])]
        assert words == ["Good", "morning", "to", "you.", "This", "is", "the", "end."]


def test_one_connection_has_many_utterances_and_survives_errors(server: RunningServer) -> None:
    with open_socket(server) as socket:
        socket.send(json.dumps({"type": "session.config", "voice": "nobody"}))
        assert "voice 'nobody' does not exist" in json.loads(socket.recv())["error"]["message"]
        socket.send("no json")
        assert "is not known" in json.loads(socket.recv())["error"]["message"]
        socket.send(json.dumps({"type": "session.config", "speed": 9}))
        assert json.loads(socket.recv())["error"]["message"].startswith("speed: ")
        socket.send(json.dumps({"type": "input.text", "text": "x" * 20_001}))
        assert "20001 characters, at most 20000" in json.loads(socket.recv())["error"]["message"]
        for text in ("Hello there.", "[pause] x", "Good morning."):
            socket.send(json.dumps({"type": "input.text", "text": text}))
            socket.send(json.dumps({"type": "input.done"}))
            messages, audio = receive_utterance(socket)
            if text.startswith("["):
                assert "is no pause" in messages[-1]["error"]["message"]
            else:
                assert len(audio) > 24_000
        socket.send(json.dumps({"type": "session.close"}))


def test_client_that_leaves_in_the_middle_frees_its_slot(server: RunningServer) -> None:
    import httpx

    with open_socket(server) as socket:
        socket.send(json.dumps({"type": "input.text", "text": "It is a long story about many things. " * 5}))
        assert json.loads(socket.recv(timeout=60))["type"] == "audio.start"
        assert isinstance(socket.recv(timeout=60), bytes)
    for _ in range(50):
        if "valle_running_requests 0.0" in httpx.get(f"{server.url}/metrics").text:
            return
        time.sleep(0.1)
    pytest.fail("the slot is still taken")


def test_text_that_arrives_much_faster_than_it_is_spoken_is_not_buffered(server: RunningServer) -> None:
    piece = json.dumps({"type": "input.text", "text": "It is a long story. " * 900})
    # Compressed, all of it would fit into the buffers of the connection.
    with open_socket(server, compression=None) as socket:
        sent = 0

        def send() -> None:
            nonlocal sent
            try:
                for _ in range(3000):
                    socket.send(piece)
                    sent += 1
            except ConnectionClosed:
                return

        thread = threading.Thread(target=send)
        thread.start()
        thread.join(4)
        assert thread.is_alive()
        assert sent < 2000
        socket.socket.shutdown(SHUT_RDWR)
        thread.join(10)

"""The server process."""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from valle.errors import UserError
from valle.serving.synthesis import Synthesizer


class Server(uvicorn.Server):
    """A server that says where it can be reached as soon as it can, and ends when its requests are finished.

    Args:
        config: Configuration of uvicorn.
        synthesizer: Refuses new requests after the first signal.
        grace: Seconds that running requests have after it.
    """

    def __init__(self, config: uvicorn.Config, synthesizer: Synthesizer, grace: float) -> None:
        super().__init__(config)
        self.synthesizer = synthesizer
        self.grace = grace
        self._end = 0.0

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until SIGINT or SIGTERM; then finish the running requests.

        Raises:
            UserError: The port is taken, or the address cannot be used.
        """
        own = socket.socket(socket.AF_INET6 if ":" in self.config.host else socket.AF_INET)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            own.bind((self.config.host, self.config.port))
        except OSError as error:
            address = f"{self.config.host}:{self.config.port}"
            raise UserError(f"{address}: cannot be used ({error.strerror}); give another --host or --port") from error
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        print(f"valle-serve: http://{host}:{own.getsockname()[1]}", file=sys.stderr, flush=True)
        super().run(sockets=[own])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuse new requests, with status 503, from the first signal on; end at once with the second."""
        if self.synthesizer.draining:
            self.force_exit = True
            super().handle_exit(sig, frame)
        else:
            self.synthesizer.draining = True
            self._end = time.monotonic() + self.grace

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end; uvicorn asks ten times per second."""
        busy = self.synthesizer.running + self.synthesizer.waiting
        left = self._end - time.monotonic()
        if self.synthesizer.draining and (not busy or left <= 0):
            self.should_exit = True
            # The last bytes are sent in this time, or requests that took too long are ended after it.
            self.config.timeout_graceful_shutdown = max(1, int(left)) if not busy else 1
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGINT and SIGTERM, with exit code 0: uvicorn would raise the signal again at the end."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

"""The server process."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from valle.errors import UserError


class Server(uvicorn.Server):
    """A server that says where it can be reached as soon as it can."""

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

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGINT and SIGTERM, with exit code 0: uvicorn would raise the signal again at the end."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

"""Run one step of a recipe: its output goes to a log, and whoever waits sees that it goes on.

    python watched.py NAME LOG SECONDS COMMAND...

On a terminal the command gets a terminal of its own, so that it draws its progress bar, and its output is shown as well
as logged. Elsewhere one line is printed every SECONDS seconds, with the last line of the log.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def on_a_terminal(log: Path, command: list[str]) -> int:
    """Show and log what the command prints; returns its exit code."""
    import pty

    with log.open("wb") as file:

        def copied(descriptor: int) -> bytes:
            data = os.read(descriptor, 4096)
            file.write(data)
            return data

        return os.waitstatus_to_exitcode(pty.spawn(command, copied))


def elsewhere(name: str, log: Path, seconds: float, command: list[str]) -> int:
    """Log what the command prints, and tell every `seconds` that it runs; returns its exit code."""
    begin = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    while True:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
            passed = time.monotonic() - begin
            print(f"{name}: running for {passed:.0f} s{': ' + last[:100] if last else ''}", flush=True)


def main() -> None:
    name, log, seconds, *command = sys.argv[1:]
    try:
        if sys.stdout.isatty():
            code = on_a_terminal(Path(log), command)
        else:
            code = elsewhere(name, Path(log), float(seconds), command)
    except FileNotFoundError as error:
        Path(log).write_text(f"{error.filename}: no such command\n", encoding="utf-8")
        code = 127
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()

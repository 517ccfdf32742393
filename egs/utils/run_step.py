"""Run one step of a recipe: write its output to a log file and show its progress.

    python run_step.py NAME LOG SECONDS COMMAND...

On a terminal, the command gets a terminal of its own, so that it draws its progress bar, and its output is shown and
logged. Otherwise, one line with the last line of the log is printed every SECONDS seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def run_on_terminal(log: Path, command: list[str]) -> int:
    """Show and log the output of a command; returns its exit code."""
    import pty

    with log.open("wb") as file:

        def copy_to_log(descriptor: int) -> bytes:
            data = os.read(descriptor, 4096)
            file.write(data)
            return data

        return os.waitstatus_to_exitcode(pty.spawn(command, copy_to_log))


def run_in_background(name: str, log: Path, interval: float, command: list[str]) -> int:
    """Log the output of a command, and print a line every `interval` seconds; returns its exit code."""
    begin = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    while True:
        try:
            return process.wait(interval)
        except subprocess.TimeoutExpired:
            # A progress bar ends its lines with carriage returns.
            lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
            elapsed = time.monotonic() - begin
            print(f"{name}: running for {elapsed:.0f} s{': ' + last[:100] if last else ''}", flush=True)


def main() -> None:
    """Run the command that the arguments give, and exit with its code."""
    name, log, seconds, *command = sys.argv[1:]
    try:
        if sys.stdout.isatty():
            code = run_on_terminal(Path(log), command)
        else:
            code = run_in_background(name, Path(log), float(seconds), command)
    except FileNotFoundError as error:
        Path(log).write_text(f"{error.filename}: no such command\n", encoding="utf-8")
        code = 127
    # A negative code is the signal that ended the command; shells report it as 128 plus its number.
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()

"""Run commands and Python code in processes that are forked from one that has imported torch and Lightning.

Importing them takes several seconds, and the tests run some hundred commands.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points
from multiprocessing.context import ForkServerContext
from pathlib import Path

# Modules that commands import. They start no threads, so that the process can be forked. `__main__` is preloaded
# because every fork would import it otherwise.
PRELOADED = ["__main__", "valle.training.cli", "valle.data.tokenizer", "valle.synthesis"]


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    # Has no effect after the first call.
    context.set_forkserver_preload(PRELOADED)
    return context


def _run(arguments: list[str], cwd: str, environment: dict[str, str], stdout: str, stderr: str) -> None:
    """Run a command in this process, a fork of the server.

    Args:
        arguments: a console script of the package or "python", and its arguments.
        cwd: current folder of the command.
        environment: its environment variables.
        stdout: file of its standard output.
        stderr: file of its standard error.
    """
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), descriptor)
    # Workers of a data loader start as in a new interpreter, not from the server.
    multiprocessing.set_start_method(None, force=True)  # type: ignore[arg-type]
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    program, *rest = arguments
    if program != "python":
        (script,) = entry_points(group="console_scripts", name=program)
        sys.argv = [str(Path(sys.executable).with_name(program)), *rest]
        sys.exit(script.load()())
    if rest[0] == "-c":
        sys.argv = ["-c", *rest[2:]]
        sys.path.insert(0, "")
        exec(compile(rest[1], "<string>", "exec"), {"__name__": "__main__"})
    elif rest[0] == "-m":
        sys.argv = rest[1:]
        sys.path.insert(0, cwd)
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = rest
        sys.path.insert(0, str(Path(cwd, rest[0]).parent))
        runpy.run_path(rest[0], run_name="__main__")


def run_forked(
    arguments: list[str], *, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a forked process and wait for it.

    Args:
        arguments: a console script of the package or "python", and its arguments.
        cwd: current folder of the command, by default that of this process.
        environment: its environment variables, by default those of this process. Those that libraries read when they
            are imported have no effect.

    Returns:
        As of `subprocess.run(arguments, capture_output=True, text=True)`.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = [Path(folder, name) for name in ("stdout", "stderr")]
        for path in output:
            path.touch()
        process = _context().Process(
            target=_run,
            args=(arguments, str(cwd or Path.cwd()), environment or dict(os.environ), *map(str, output)),
        )
        process.start()
        process.join()
        assert process.exitcode is not None
        stdout, stderr = (path.read_text(encoding="utf-8", errors="replace") for path in output)
        return subprocess.CompletedProcess(arguments, process.exitcode, stdout, stderr)

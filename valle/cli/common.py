"""What all commands share: one clear line for bad input."""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import NoReturn

from valle.errors import UserError
from valle.files import cache_directory, write_text


class Parser(argparse.ArgumentParser):
    """Shows defaults in `--help`."""

    def __init__(self, **options) -> None:
        super().__init__(formatter_class=argparse.ArgumentDefaultsHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """One line, without the usage that argparse puts before it."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _one_line(message: Warning | str, category: type[Warning], *_: object) -> None:
    if issubclass(category, UserWarning):
        print(f"warning: {message}", file=sys.stderr)


def keep_memory() -> None:
    """Let the C library keep freed memory rather than give it back: large tensors come and go all the time, and new
    pages cost up to a quarter of the NAR model's time on a CPU. Of glibc; elsewhere nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold, largest = -1, -3, 2**31 - 1
        mallopt(trim_threshold, largest)
        mallopt(mmap_threshold, 2**30)


def run(main: Callable[[], None]) -> None:
    """Run a command. UserError -> one line on standard error and exit code 2; Ctrl-C -> 130; any other exception -> one
    line that names the file with its traceback, and exit code 1."""
    name = sys.argv[0].rsplit("/", 1)[-1]
    warnings.showwarning = _one_line  # type: ignore[assignment]
    keep_memory()
    try:
        main()
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        cause = _user_error(error)
        if cause is None:
            report_unexpected(name, error)
            sys.exit(1)
        print(f"{name}: {cause}", file=sys.stderr)
        sys.exit(2)


def report_unexpected(name: str, error: Exception) -> None:
    """Save the traceback of an unexpected exception in the cache directory and say so in one line on standard error.
    Where the file cannot be written, print the traceback itself."""
    lines = traceback.format_exception(error)
    path = cache_directory() / "errors" / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    versions = f"valle {version('valle')}, Python {platform.python_version()}, {platform.platform()}"
    try:
        write_text(path, "".join([f"{shlex.join(sys.argv)}\n{versions}\n\n", *lines]))
    except UserError:
        print("".join(lines), end="", file=sys.stderr)
        return
    reason = " ".join(str(error).split())[:200]
    print(
        f"{name}: unexpected {type(error).__name__}{': ' + reason if reason else ''}; please report it with {path}, "
        "which holds the traceback",
        file=sys.stderr,
    )


def _user_error(error: BaseException | None) -> UserError | None:
    """The UserError in a chain of exceptions: jsonargparse wraps what a class raises when it is made."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error

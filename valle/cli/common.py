"""Command line parsing and error reports that all commands share."""

from __future__ import annotations

import argparse
import codecs
import ctypes
import gc
import importlib
import io
import logging
import os
import platform
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from valle.errors import UserError
from valle.files import cache_directory, write_text


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, and leaves the lines of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


def examples(*commands: str) -> str:
    """Return the end of a `--help`: commands as examples."""
    return "\n".join(["examples:", *(f"  {command}" for command in commands)])


class Parser(argparse.ArgumentParser):
    """An argument parser that shows defaults in `--help` and reports errors in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        """Print one line, without the usage that argparse prints before it, and exit with 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _one_line(message: Warning | str, category: type[Warning], filename: str, *_: object) -> None:
    """Print a warning that concerns the user: a UserWarning, or a FutureWarning of this package about a former name."""
    is_own = Path(filename).is_relative_to(Path(__file__).parents[1])
    if issubclass(category, UserWarning) or (issubclass(category, FutureWarning) and is_own):
        print(f"warning: {message}", file=sys.stderr)


def keep_memory() -> None:
    """Make glibc retain freed memory rather than return it to the operating system.

    Large tensors are allocated and freed all the time, and new pages cost up to a quarter of the NAR model's time on a
    CPU. With another C library this has no effect.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        # Numbers of the parameters in malloc.h.
        trim_threshold = -1
        mmap_threshold = -3
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**30)


def import_uncollected(module: str) -> None:
    """Import a module of this package, and leave everything that was imported out of garbage collection.

    It lives as long as the process, and passes over it, the last of them at the exit, take a fifth of the time of a
    short command.

    Args:
        module: Name of the module.
    """
    gc.disable()
    importlib.import_module(module)
    gc.freeze()
    gc.enable()


@contextmanager
def log_on_standard_error() -> Iterator[None]:
    """Show the log of the library, such as what is corrected in a prompt, on standard error."""
    log = logging.getLogger("valle")
    handler = logging.StreamHandler()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)


def _use_utf8() -> None:
    """Restart this command in Python's UTF-8 mode where the locale limits arguments and file names to ASCII.

    Such a locale is `LC_ALL=C PYTHONUTF8=0`; libraries open files by the locale, too. Child processes inherit the mode.
    """
    if codecs.lookup(sys.getfilesystemencoding()).name == "ascii" and sys.executable:
        environment = os.environ | {"PYTHONUTF8": "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _escape_unencodable() -> None:
    """Print characters that a stream's encoding lacks as escapes, where Python would raise UnicodeEncodeError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run(main: Callable[[], None]) -> None:
    """Run a command and report its exceptions.

    UserError, and OSError that names a file, are printed as one line on standard error, with exit code 2. Any other
    exception is printed as one line that names the file with its traceback, with exit code 1. Ctrl-C exits with 130.

    Args:
        main: The command.
    """
    _use_utf8()
    _escape_unencodable()
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
    """Save the traceback of an unexpected exception in the cache directory, and name the file on standard error.

    Where the file cannot be written, the traceback itself is printed.

    Args:
        name: Name of the command.
        error: The exception.
    """
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
    """Return the UserError in a chain of exceptions: jsonargparse wraps what a class raises in its constructor.

    Without one, an OSError that names a file becomes one: the file may not be read, or is a folder.
    """
    system = None
    while error is not None and not isinstance(error, UserError):
        if isinstance(error, OSError) and error.filename is not None and error.strerror:
            system = system or UserError(f"{error.filename}: {error.strerror}; check the path and its permissions")
        error = error.__cause__ or error.__context__
    return error or system

"""What all commands share: one clear line for bad input."""

from __future__ import annotations

import argparse
import ctypes
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from valle.errors import UserError


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
    """Run a command. UserError -> one line on standard error and exit code 2; Ctrl-C -> 130."""
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
            raise
        print(f"{name}: {cause}", file=sys.stderr)
        sys.exit(2)


def _user_error(error: BaseException | None) -> UserError | None:
    """The UserError in a chain of exceptions: jsonargparse wraps what a class raises when it is made."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error

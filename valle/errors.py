"""The exception for invalid user input, and warnings at the user's line."""

from __future__ import annotations

import sys
import warnings


class UserError(Exception):
    """Raised for invalid user input.

    Its message is one line that names the input and the remedy. Commands print it and exit with code 2.
    """


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the line of the program that called this package, however deep in the package the reason is found.

    Args:
        message: One line that names the input and the remedy.
        category: Class of the warning.
    """
    level = 1
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == __package__:
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)

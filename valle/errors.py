"""The exception for invalid user input."""

from __future__ import annotations


class UserError(Exception):
    """Raised for invalid user input.

    Its message is one line that names the input and the remedy. Commands print it and exit with code 2.
    """

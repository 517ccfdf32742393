"""The one kind of error that is the user's to mend."""

from __future__ import annotations


class UserError(Exception):
    """Bad input: the message is one line that names the input and the remedy. Commands print it and exit with 2."""

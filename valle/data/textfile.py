"""Text files of utterances: one a line, or `id text`."""

from __future__ import annotations

import re
from pathlib import Path

from valle.errors import UserError

_ID = re.compile(r"[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)+|[A-Za-z]*\d+")


def read_lines(path: Path) -> dict[str, str]:
    """Utterances by id. Lines carry ids when every first word looks like one (`spk1-0001`, `utt7`, `0003`) and no
    two are alike; otherwise the line's number, four digits, is its id.

    Raises UserError when the file cannot be read or holds no text.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UserError(f"{path}: {reason}; give a text file with one utterance a line") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line]
    if not numbered:
        raise UserError(f"{path}: holds no text; give one utterance a line")
    pairs = [line.partition(" ") for _, line in numbered]
    ids = [first for first, _, _ in pairs]
    if all(_ID.fullmatch(first) and rest for first, _, rest in pairs) and len(set(ids)) == len(ids):
        return {first: rest.strip() for first, _, rest in pairs}
    return {f"{number:04d}": line for number, line in numbered}

"""phones.ctm and utt2prompt: the aligned phones and the untranscribed prompts of utterances."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from valle.data.kaldi.table import Tables, decode_lines, parse_number
from valle.data.utterance import AudioSegment

# The symbol of a pause in phones.ctm; an utterance has "" instead.
SILENCE = "sil"


def read_phones(tables: Tables) -> dict[str, tuple[tuple[str, float], ...]]:
    """Read phones.ctm.

    Args:
        tables: Files of the data directory; receive the problems.

    Returns:
        The phones of each utterance, as in `Utterance.phones`; utterances with a malformed line are left out.

    Raises:
        UserError: The file cannot be read.
    """
    path = tables.directory / "phones.ctm"
    if not path.is_file():
        return {}
    phones: dict[str, list[tuple[str, float]]] = defaultdict(list)
    malformed: set[str] = set()
    for line, content in decode_lines(path, tables.problems):
        fields = content.split()
        key = fields[0]
        start = parse_number(fields[2]) if len(fields) == 5 else None
        if start is None or start < 0:
            tables.add_problem("phones.ctm", line, "is not `<utterance> 1 <start> <duration> <phone>`")
            malformed.add(key)
            continue
        if phones[key] and phones[key][-1][1] > start:
            tables.add_problem("phones.ctm", line, f"{key!r}: begins before the phone on the line before")
            malformed.add(key)
        if key not in tables.rows("text"):
            tables.add_problem("phones.ctm", line, f"{key!r} has no line in text")
        phones[key].append(("" if fields[4] == SILENCE else fields[4], start))
    return {key: tuple(items) for key, items in phones.items() if key not in malformed}


def read_prompts(tables: Tables) -> dict[str, AudioSegment]:
    """Read utt2prompt.

    Args:
        tables: Files of the data directory; receive the problems.

    Returns:
        The prompt of each utterance; those with a malformed line or a missing file are left out.
    """
    prompts = {}
    for key, row in tables.rows("utt2prompt").items():
        prompt = _parse_prompt(row.value)
        if prompt is None:
            message = f"{key!r}: {row.value!r} is not `<start> <end> <path>` with 0 <= start < end"
            tables.add_problem("utt2prompt", row.line, message)
            continue
        if not prompt.path.is_absolute():
            prompt = replace(prompt, path=tables.directory / prompt.path)
        if not prompt.path.is_file():
            tables.add_problem("utt2prompt", row.line, f"{key!r}: no such file {prompt.path}")
            continue
        prompts[key] = prompt
    return prompts


def _parse_prompt(value: str) -> AudioSegment | None:
    """Parse `<start> <end> <path>`; None if `value` has another form."""
    try:
        start, end, path = value.split(maxsplit=2)
        prompt = AudioSegment(Path(path), float(start), float(end))
    except ValueError:
        return None
    # Not-a-number fails every comparison, so it is refused here, too.
    return prompt if 0 <= prompt.start < prompt.end < float("inf") else None

"""Punctuate transcripts without punctuation, such as LibriSpeech's: a comma at each pause, a full stop at the end.

    python local/punctuate.py DATA

Rewrites the text of the data directory DATA, which needs phones.ctm (`valle-prepare align`), in lower case. A model
that is trained on pauses without punctuation marks would not learn to pause at marks.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from valle.cli.common import run
from valle.data import kaldi
from valle.data.excerpts import phrases
from valle.text.phonemizer import PUNCTUATION

# Seconds. Minimum length of a pause that becomes a comma.
MIN_COMMA = 0.2


def punctuate(utterances: list[kaldi.Utterance]) -> list[kaldi.Utterance]:
    """Add punctuation marks at the pauses of utterances.

    Args:
        utterances: Utterances with durations.

    Returns:
        The utterances in lower case, with marks if they are aligned. Existing marks are not changed.
    """
    lowered = [replace(u, text=u.text.lower()) for u in utterances]
    result = []
    for utterance, utterance_phrases in zip(lowered, phrases(lowered), strict=True):
        parts = []
        for phrase in utterance_phrases:
            # A phrase is empty if all its words were assigned to its neighbours.
            if phrase.words:
                text = " ".join(phrase.words)
                parts.append(_add_mark(text, ",") if phrase.pause >= MIN_COMMA else text)
        text = _add_mark(" ".join(parts).rstrip(","), ".") if parts else utterance.text
        result.append(replace(utterance, text=text))
    return result


def _add_mark(text: str, mark: str) -> str:
    """Add a mark to a text that ends with none."""
    return text if text[-1] in PUNCTUATION else text + mark


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data directory")
    args = parser.parse_args()
    utterances = kaldi.with_durations(kaldi.read(args.data))
    kaldi.write(args.data, punctuate(utterances))
    count = sum(u.phones is not None for u in utterances)
    print(f"{args.data}: {count} of {len(utterances)} transcripts punctuated")


if __name__ == "__main__":
    run(_main)

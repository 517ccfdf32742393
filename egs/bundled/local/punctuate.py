"""Punctuate transcripts that have no marks, as LibriSpeech's: a comma at each pause, a full stop at the end.

    python local/punctuate.py DATA

Rewrites the text of the data directory DATA, which needs phones.ctm (`valle-prepare align`), in lower case. A model
trained on pauses without marks would lose the pauses at marks.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from valle.cli.common import run
from valle.data import kaldi
from valle.data.excerpts import phrases
from valle.text.phonemizer import PUNCTUATION

# Seconds; a shorter pause is no comma.
MIN_COMMA = 0.2


def punctuated(utterances: list[kaldi.Utterance]) -> list[kaldi.Utterance]:
    """The utterances with marks at their pauses; one without phones stays as it is."""
    lowered = [replace(u, text=u.text.lower()) for u in utterances]
    made = []
    for utterance, found in zip(lowered, phrases(lowered), strict=True):
        parts = [
            _marked(" ".join(p.words), ",") if p.pause >= MIN_COMMA else " ".join(p.words) for p in found if p.words
        ]
        made.append(replace(utterance, text=_marked(" ".join(parts).rstrip(","), ".")) if parts else utterance)
    return made


def _marked(text: str, mark: str) -> str:
    """The text with the mark after it, unless it has one."""
    return text if text[-1] in PUNCTUATION else text + mark


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    args = parser.parse_args()
    utterances = kaldi.with_durations(kaldi.read(args.data))
    kaldi.write(args.data, punctuated(utterances))
    print(f"{args.data}: {sum(u.phones is not None for u in utterances)} of {len(utterances)} transcripts punctuated")


if __name__ == "__main__":
    run(_main)

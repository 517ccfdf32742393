"""The test list of the bundled model: held-out sentences by people and by synthesizers' voices it has never heard.

    python local/test_list.py OUT.tsv LINES.txt --people data/people_heldout --voices data/flite_heldout

Each person's recording is the prompt of `--lines` sentences that nobody says, and of its own text, so that a few
lines have a recording to compare with. Each synthesizer's voice says the first of its sentences as the prompt; the
others are to be said, and are the references. A prompt gives the voice alone: its text is not given.
"""

from __future__ import annotations

import argparse
import csv
import io
from itertools import groupby
from pathlib import Path

from valle.cli.common import run
from valle.data import kaldi
from valle.errors import UserError
from valle.files import write_text


def rows(people: list[kaldi.Utterance], voices: list[kaldi.Utterance], lines: list[str], each: int) -> list[list[str]]:
    """id, speaker, prompt, text, reference."""
    if len(lines) < each * len(people):
        raise UserError(f"{len(lines)} lines for {len(people)} people; {each * len(people)} are wanted")
    made = []
    for index, u in enumerate(people):
        for text in lines[each * index :][:each]:
            made.append([f"{u.speaker}-{len(made):03d}", u.speaker, str(u.path), text, ""])
        made.append([f"{u.speaker}-own", u.speaker, str(u.path), u.text, str(u.path)])
    for speaker, group in groupby(voices, key=lambda u: u.speaker):
        prompt, *others = group
        made += [[u.id, speaker, str(prompt.path), u.text, str(u.path)] for u in others]
    return made


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("sentences", type=Path, help="one a line, none of them trained on")
    parser.add_argument("--people", type=Path, help="data directory with one recording a person")
    parser.add_argument(
        "--voices", type=Path, nargs="*", default=[], help="data directories; one that is not there is left out"
    )
    parser.add_argument("--lines", type=int, default=5, help="sentences for each person (default: 5)")
    args = parser.parse_args()
    people = kaldi.read(args.people) if args.people else []
    voices = [u for data in args.voices if (data / "wav.scp").is_file() for u in kaldi.read(data)]
    made = rows(people, voices, args.sentences.read_text(encoding="utf-8").splitlines(), args.lines)
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
    writer.writerows([["id", "speaker", "prompt", "text", "reference"], *made])
    write_text(args.output, table.getvalue())
    print(f"{args.output}: {len(made)} lines, {len(people)} people, {len({u.speaker for u in voices})} other voices")


if __name__ == "__main__":
    run(_main)

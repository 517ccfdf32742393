"""Write the test list of the bundled model: held-out sentences with prompts of unseen speakers and synthetic voices.

    python local/test_list.py OUT.tsv LINES.txt --people data/people_heldout --voices data/flite_heldout

The recording of each person is the prompt of `--lines` sentences, for which there is no recording, and of its own text,
so that some lines have a reference. Of each synthetic voice, the first utterance is the prompt and the others are texts
with references. Prompts are untranscribed.
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

COLUMNS = ["id", "speaker", "prompt", "text", "reference"]


def create_rows(
    people: list[kaldi.Utterance], voices: list[kaldi.Utterance], lines: list[str], lines_per_person: int
) -> list[list[str]]:
    """Create the rows of the list.

    Args:
        people: One recording per person.
        voices: Utterances of synthetic voices, sorted by voice.
        lines: Sentences for the people.
        lines_per_person: Sentences per person.

    Returns:
        One row of `COLUMNS` per sentence.

    Raises:
        UserError: There are too few sentences.
    """
    needed = lines_per_person * len(people)
    if len(lines) < needed:
        raise UserError(f"{len(lines)} lines for {len(people)} people; {needed} are needed")
    rows = []
    for index, u in enumerate(people):
        for text in lines[lines_per_person * index :][:lines_per_person]:
            rows.append([f"{u.speaker}-{len(rows):03d}", u.speaker, str(u.path), text, ""])
        rows.append([f"{u.speaker}-own", u.speaker, str(u.path), u.text, str(u.path)])
    for speaker, group in groupby(voices, key=lambda u: u.speaker):
        prompt, *others = group
        rows += [[u.id, speaker, str(prompt.path), u.text, str(u.path)] for u in others]
    return rows


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="test list to write")
    parser.add_argument("sentences", type=Path, help="sentences not in the training data, one per line")
    parser.add_argument("--people", type=Path, help="data directory with one recording per person")
    parser.add_argument("--voices", type=Path, nargs="*", default=[], help="data directories, unless missing")
    parser.add_argument("--lines", type=int, default=5, help="sentences per person (default: 5)")
    args = parser.parse_args()
    people = kaldi.read(args.people) if args.people else []
    voices = [u for data in args.voices if (data / "wav.scp").is_file() for u in kaldi.read(data)]
    rows = create_rows(people, voices, args.sentences.read_text(encoding="utf-8").splitlines(), args.lines)
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    write_text(args.output, table.getvalue())
    num_voices = len({u.speaker for u in voices})
    print(f"{args.output}: {len(rows)} lines, {len(people)} people, {num_voices} synthetic voices")


if __name__ == "__main__":
    run(_main)

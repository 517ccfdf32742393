#!/usr/bin/env python3
"""Write the test lists of the papers for VCTK (VALL-E, section 5.3; VALL-E 2, section 4.1.3).

    python local/test_lists.py DATA OUT [--seed 0]

writes OUT/prompt_3s.tsv, OUT/prompt_5s.tsv and OUT/prompt_10s.tsv.

Each list has one line per speaker: the text of a random utterance, the same in all lists, and as prompt the speaker's
other utterance whose length is closest to, but not over, 3, 5 or 10 seconds; the shortest one if all are longer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from valle.cli.common import Parser, run
from valle.data import kaldi
from valle.devices import check_seed
from valle.errors import UserError
from valle.evaluation.test_list import COLUMNS
from valle.evaluation.test_set import choose_prompts
from valle.files import write_text

# Seconds.
PROMPT_LENGTHS = (3, 5, 10)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(description="Write the test lists of the papers for VCTK.")
    parser.add_argument("data", type=Path, help="data directory of VCTK")
    parser.add_argument("output", type=Path, help="folder of the lists")
    parser.add_argument("--seed", type=int, default=0, help="seed of the selection of texts")
    return parser.parse_args()


def main() -> None:
    """Write the lists."""
    args = parse_arguments()
    check_seed(args.seed)
    utterances = kaldi.read(args.data)
    if any(u.start or u.end is not None for u in utterances):
        raise UserError(f"{args.data}: has segments, which a test list cannot name; give a directory of whole files")
    # Prompt and text are two utterances.
    kaldi.sample_per_speaker(utterances, 2, args.seed)
    targets = kaldi.sample_per_speaker(utterances, 1, args.seed)
    for length in PROMPT_LENGTHS:
        prompts = choose_prompts(utterances, "closest", length)
        columns = [column for column in COLUMNS if column not in ("language", "prompt_language")]
        lines = ["\t".join(columns)]
        for target in targets:
            prompt = prompts[target.id].utterance
            fields = {
                "prompt": prompt.path.resolve(),
                "text": target.text,
                "prompt_text": prompt.text,
                "reference": target.path.resolve(),
                "speaker": target.speaker,
                "id": target.id,
            }
            lines.append("\t".join(str(fields[column]) for column in columns))
        path = args.output / f"prompt_{length}s.tsv"
        write_text(path, "\n".join(lines) + "\n")
        print(f"{path}: {len(targets)} lines")


if __name__ == "__main__":
    run(main)

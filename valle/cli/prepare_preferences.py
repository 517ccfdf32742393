"""Subcommand of valle-prepare that makes preference pairs of scored candidates."""

from __future__ import annotations

import argparse
from pathlib import Path

from valle.errors import UserError


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand to the parser; it sets `function`, which runs it."""
    parser = commands.add_parser(
        "preferences", help="of several scored candidates of each text, the best and the worst: pairs for valle-train"
    )
    parser.add_argument(
        "synthesized",
        type=Path,
        help="folder of valle-synth --data --num-candidates N --attempts 1 --save-samples",
    )
    parser.add_argument("report", type=Path, help="report folder of valle-eval --select sort")
    parser.add_argument("output", type=Path, help="folder to write: train/ and valid/")
    parser.add_argument("--model", default="small", help="run directory or bundled model that was synthesized with")
    parser.add_argument(
        "--margin",
        type=float,
        default=0.0,
        help="difference in WER that a pair exceeds; texts without such a pair are left out (%(default)s)",
    )
    parser.add_argument("--valid", type=float, default=0.1, help="share of the texts for validation (%(default)s)")
    parser.set_defaults(function=_write)


def _write(args: argparse.Namespace) -> None:
    from valle.checkpoint import find_checkpoint, model_directory, read_checkpoint
    from valle.codec.merging import split_name
    from valle.data.preferences import write_pairs
    from valle.evaluation.preferences import choose_pairs, read_candidate_scores
    from valle.evaluation.samples import read_samples

    if args.margin < 0 or not 0 < args.valid < 1:
        raise UserError("--margin must be 0 or more, and --valid more than 0 and less than 1")
    path = find_checkpoint(model_directory(args.model), "ar")
    model = read_checkpoint(path)["hyper_parameters"]
    if model.get("phoneme_stream") or split_name(model["codec"])[1] > 1:
        raise UserError(f"{path}: has a phoneme stream or merged frames, which preference tuning cannot train")
    for name in ("train", "valid"):
        if (args.output / name / "config.json").is_file():
            raise UserError(f"{args.output / name}: exists already; remove it, or give another folder")
    scores = read_candidate_scores(args.report)
    samples = read_samples(args.synthesized)
    pairs = choose_pairs(scores, samples, model["group_size"], args.margin)
    held_out = max(1, round(args.valid * len(pairs)))
    if len(pairs) - held_out < 2:
        unsaved = sum(all(Path(c.path).name not in samples for c in own) for own in scores.values())
        raise UserError(
            f"{args.report}: {len(pairs)} of {len(scores)} texts have candidates that differ in WER by more than "
            f"{args.margin:g}, and {unsaved} have no samples (--save-samples); synthesize more texts or candidates"
        )
    for name, part in (("train", pairs[:-held_out]), ("valid", pairs[-held_out:])):
        write_pairs(args.output / name, part, model)
        print(f"{args.output / name}: {len(part)} pairs of {len(scores)} texts")

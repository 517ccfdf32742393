"""valle-prepare: make, check, repair and split Kaldi data directories."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from valle.cli import prepare_corpora, prepare_preferences, prepare_selections
from valle.cli.common import Parser, examples, run
from valle.devices import check_seed
from valle.errors import UserError

if TYPE_CHECKING:
    from valle.data.kaldi import Report


def _parser() -> Parser:
    """The parser of the command; each subcommand sets `function`, which runs it."""
    parser = Parser(
        prog="valle-prepare",
        description="Make, check, repair and split Kaldi data directories.",
        epilog=examples(
            "valle-prepare libritts LibriTTS data --parts train-clean-100,dev-clean",
            "valle-prepare validate data/dev-clean",
        ),
    )
    commands = parser.add_subparsers(dest="command", required=True)
    prepare_corpora.add_commands(commands)
    _add_checks(commands)
    prepare_selections.add_commands(commands)
    _add_annotations(commands)
    _add_derived_data(commands)
    prepare_preferences.add_commands(commands)
    return parser


def _add_checks(commands: argparse._SubParsersAction) -> None:
    """Subcommands that check and repair data directories."""
    check = commands.add_parser("validate", help="list every error of a data directory with its file and line")
    check.add_argument("directory", type=Path, help="data directory")
    check.add_argument("--allow-pipes", action="store_true", help="report pipes in wav.scp as warnings, not as errors")
    check.add_argument("--language", default="en-us", help="espeak-ng language tag of the texts")
    check.set_defaults(function=_validate)
    fix = commands.add_parser("fix", help="repair a data directory and drop the utterances that are unusable")
    fix.add_argument("directory", type=Path, help="data directory")
    fix.add_argument("--language", default="en-us", help="espeak-ng language tag of the texts")
    fix.set_defaults(function=_fix)


def _add_annotations(commands: argparse._SubParsersAction) -> None:
    """Subcommands that add files to data directories."""
    align = commands.add_parser("align", help="align the phones of English recordings: writes phones.ctm")
    align.add_argument("directory", type=Path, help="data directory")
    align.set_defaults(function=_align)
    prompts = commands.add_parser(
        "prompts", help="select an untranscribed prompt of the same speaker for each utterance: writes utt2prompt"
    )
    prompts.add_argument("directory", type=Path, help="data directory")
    prompts.add_argument("--seed", type=int, default=0, help="seed of the selection")
    prompts.set_defaults(function=_add_prompts)


def _add_derived_data(commands: argparse._SubParsersAction) -> None:
    """Subcommands that make other data from data directories."""
    excerpts = commands.add_parser(
        "excerpts", help="cut short utterances out of aligned recordings at pauses, each with a prompt of its speaker"
    )
    excerpts.add_argument("directory", type=Path, help="data directory with phones.ctm, see align")
    excerpts.add_argument("output", type=Path, help="data directory to write")
    excerpts.add_argument("--words", default="1,5", help="minimum and maximum number of words")
    excerpts.add_argument("--seed", type=int, default=0, help="seed of the selection of prompts")
    excerpts.set_defaults(function=_write_excerpts)
    speed = commands.add_parser("speed", help="perturb the speed of recordings, which gives additional speakers")
    speed.add_argument("directory", type=Path, help="data directory")
    speed.add_argument("output", type=Path, help="data directory to write, with the recordings in its folder wav")
    speed.add_argument("--factors", type=float, nargs="+", default=[0.92, 1.08], help="speed factors")
    speed.set_defaults(function=_perturb_speed)
    bpe = commands.add_parser("bpe", help="train text units (byte pair encoding) on the texts of a data directory")
    bpe.add_argument("directory", type=Path, help="data directory")
    bpe.add_argument("output", type=Path, help="file of the units, for `--data.init_args.bpe` of valle-train")
    bpe.add_argument("--size", type=int, default=2000, help="number of units")
    bpe.set_defaults(function=_train_bpe)


def _validate(args: argparse.Namespace) -> None:
    from valle.data import kaldi

    report = kaldi.check(args.directory, allow_pipes=args.allow_pipes, language=args.language)
    _print_problems(report)
    if report.errors:
        errors = _count(len(report.errors), "error")
        raise UserError(f"{args.directory}: {errors}; valle-prepare fix repairs or drops them")
    if not report.utterances:
        raise UserError(f"{args.directory}: contains no utterance that the other commands can use; check the path")
    print(f"{args.directory}: {len(report.utterances)} utterances, valid")


def _fix(args: argparse.Namespace) -> None:
    from valle.data import kaldi

    count, report = kaldi.fix(args.directory, args.language)
    _print_problems(report)
    dropped = report.listed - count
    backup = f"; the original files are in {args.directory / kaldi.BACKUP}" if report.problems else ""
    changes = f"{_count(len(report.errors), 'error')} fixed, {_count(dropped, 'utterance')} dropped"
    print(f"{args.directory}: {count} utterances, {changes}{backup}")
    if dropped and report.others:
        names = ", ".join(report.others)
        print(f"warning: {args.directory}: not changed: {names}; they may list dropped utterances")


def _print_problems(report: Report) -> None:
    """Print the problems of a data directory, one per line."""
    for problem in report.problems:
        print(f"{'warning: ' if problem.warning else ''}{problem}")


def _count(number: int, name: str) -> str:
    """A number with its noun: "1 error", "2 errors"."""
    return f"{number} {name}{'' if number == 1 else 's'}"


def _align(args: argparse.Namespace) -> None:
    from valle.data.forced_alignment import align

    aligned, count = align(args.directory)
    print(f"{args.directory}: {aligned} of {count} utterances match their transcripts and are aligned")


def _add_prompts(args: argparse.Namespace) -> None:
    from valle.data import kaldi
    from valle.data.excerpts import with_prompts

    utterances = kaldi.with_durations(kaldi.read(args.directory))
    prompted = with_prompts(utterances, utterances, args.seed)
    kaldi.write(args.directory, prompted)
    count = sum(u.prompt is not None for u in prompted)
    print(f"{args.directory}: {count} of {len(prompted)} utterances have a prompt of their speaker")


def _write_excerpts(args: argparse.Namespace) -> None:
    from valle.data import kaldi
    from valle.data.excerpts import excerpts, with_prompts

    try:
        min_words, max_words = (int(number) for number in args.words.split(","))
    except ValueError:
        min_words, max_words = 0, 0
    if not 1 <= min_words <= max_words:
        raise UserError(f"--words {args.words}: give the minimum and the maximum number of words, such as 1,5")
    utterances = kaldi.with_durations(kaldi.read(args.directory))
    if not any(u.phones for u in utterances):
        raise UserError(f"{args.directory}: has no phones.ctm; run valle-prepare align {args.directory} first")
    result = with_prompts(excerpts(utterances, min_words, max_words), utterances, args.seed)
    if not result:
        raise UserError(
            f"{args.directory}: no phrase between pauses has {min_words} to {max_words} words; widen --words"
        )
    kaldi.write(args.output, result)
    minutes = sum(u.duration or 0.0 for u in result) / 60
    print(f"{args.output}: {len(result)} excerpts, {minutes:.1f} minutes")


def _perturb_speed(args: argparse.Namespace) -> None:
    from valle.data.speed_perturbation import perturb_speed

    print(f"{args.output}: {perturb_speed(args.directory, args.output, args.factors)} utterances")


def _train_bpe(args: argparse.Namespace) -> None:
    from valle.data import kaldi
    from valle.files import write_text
    from valle.text import bpe_symbols, normalize, train_bpe

    tokenizer = train_bpe([normalize(u.text) for u in kaldi.read(args.directory)], args.size)
    write_text(args.output, tokenizer + "\n")
    print(f"{args.output}: {len(bpe_symbols(tokenizer))} units")


def _main() -> None:
    args = _parser().parse_args()
    if hasattr(args, "seed"):
        check_seed(args.seed)
    args.function(args)


def main() -> None:
    """Run the command."""
    run(_main)

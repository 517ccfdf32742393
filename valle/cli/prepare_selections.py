"""Subcommands of valle-prepare that select utterances: split and subset."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from valle.errors import UserError


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the subcommands to the parser; each sets `function`, which runs it."""
    split = commands.add_parser("split", help="hold out speakers, all of whose utterances are removed, or utterances")
    split.add_argument("directory", type=Path, help="data directory")
    split.add_argument("rest", type=Path, help="data directory to write, with the other utterances")
    split.add_argument("held_out", type=Path, help="data directory to write, with the held-out utterances")
    amount = split.add_mutually_exclusive_group(required=True)
    amount.add_argument("--speakers", type=int, help="number of random speakers to hold out")
    amount.add_argument("--speaker-list", type=Path, help="file of the speakers to hold out, one per line")
    amount.add_argument("--utterances", type=int, help="number of random utterances to hold out, of any speaker")
    split.add_argument("--seed", type=int, default=0, help="seed of the selection")
    split.set_defaults(function=_split)
    subset = commands.add_parser(
        "subset", help="select utterances by duration, such as the papers' 4 to 10 seconds, by alignment, or at random"
    )
    subset.add_argument("directory", type=Path, help="data directory")
    subset.add_argument("output", type=Path, help="data directory to write")
    subset.add_argument("--min-seconds", type=float, default=0.0, help="minimum duration")
    subset.add_argument("--max-seconds", type=float, default=math.inf, help="maximum duration")
    subset.add_argument("--aligned", action="store_true", help="select only aligned utterances (phones.ctm)")
    subset.add_argument("--per-speaker", type=int, help="number of random utterances of each speaker")
    subset.add_argument("--hours", type=float, help="total duration of a random selection, in hours")
    subset.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of --per-speaker and --hours; fewer hours with the same seed are part of more",
    )
    subset.set_defaults(function=_subset)


def _split(args: argparse.Namespace) -> None:
    from valle.data import kaldi

    utterances = kaldi.read(args.directory)
    if args.speakers is not None:
        rest, held_out = kaldi.split(utterances, args.speakers, args.seed)
    elif args.speaker_list is not None:
        rest, held_out = kaldi.split_listed(utterances, args.speaker_list)
    else:
        rest, held_out = kaldi.split_utterances(utterances, args.utterances, args.seed)
    for directory, part in ((args.rest, rest), (args.held_out, held_out)):
        kaldi.write(directory, part)
        print(f"{directory}: {len(part)} utterances")


def _subset(args: argparse.Namespace) -> None:
    from valle.data import kaldi

    bounded = args.min_seconds > 0 or args.max_seconds < math.inf
    if not (bounded or args.aligned or args.per_speaker is not None or args.hours is not None):
        raise UserError("give what to select: --min-seconds, --max-seconds, --aligned, --per-speaker or --hours")
    utterances = kaldi.with_durations(kaldi.read(args.directory))
    selected = [u for u in utterances if args.min_seconds <= (u.duration or 0) <= args.max_seconds]
    if not selected:
        raise UserError(
            f"{args.directory}: no utterance lasts {args.min_seconds} to {args.max_seconds} s; widen the bounds"
        )
    selected = [u for u in selected if u.phones or not args.aligned]
    if not selected:
        raise UserError(f"{args.directory}: none of these utterances is aligned; run valle-prepare align first")
    try:
        if args.per_speaker is not None:
            selected = kaldi.sample_per_speaker(selected, args.per_speaker, args.seed)
        if args.hours is not None:
            selected = kaldi.sample_hours(selected, args.hours, args.seed)
    except UserError as error:
        raise UserError(f"{args.directory}: {error}") from error
    kaldi.write(args.output, selected)
    hours = sum(u.duration or 0 for u in selected) / 3600
    print(f"{args.output}: {len(selected)} of {len(utterances)} utterances, {hours:.2f} hours")

"""valle-prepare: corpora to Kaldi data directories; validate, fix and split such directories."""

from __future__ import annotations

import argparse
from pathlib import Path

from valle.cli.common import Parser, run
from valle.devices import check_seed
from valle.errors import UserError

CORPORA = ("libritts", "librispeech", "ljspeech", "vctk")


def _parser() -> Parser:
    parser = Parser(prog="valle-prepare", description="Make, check, fix and split Kaldi data directories.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in CORPORA:
        corpus = commands.add_parser(name, help=f"data directories of {name}")
        corpus.add_argument("corpus", type=Path, help="where the corpus was unpacked")
        corpus.add_argument("output", type=Path, help="a data directory OUTPUT/PART is written for each part")
        corpus.add_argument("--parts", help="comma-separated parts such as train-clean-100,dev-clean; default: all")
    listed = commands.add_parser("list", help="a data directory of your own recordings and a list of what they say")
    listed.add_argument(
        "list", type=Path, help="lines FILE|TEXT or FILE|SPEAKER|TEXT, files seen from the list's folder"
    )
    listed.add_argument("output", type=Path, help="data directory")
    spoken = commands.add_parser("spoken", help="a corpus of generated sentences spoken by espeak-ng")
    spoken.add_argument("output", type=Path, help="gets wav/, train/, valid/, test_seen/ and test_unseen/")
    spoken.add_argument("--voices", type=int, help="training voices; default: all")
    spoken.add_argument("--utterances", type=int, default=100, help="training utterances a voice (default: 100)")
    spoken.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes (default: 0)")
    spoken.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    check = commands.add_parser("validate", help="list every error of a data directory with its file and line")
    check.add_argument("directory", type=Path)
    check.add_argument("--allow-pipes", action="store_true", help="warn of pipes in wav.scp in place of errors")
    check.add_argument("--language", default="en-us", help="espeak-ng's tag of the language of the text")
    fix = commands.add_parser("fix", help="repair a data directory, and drop the utterances that cannot be used")
    fix.add_argument("directory", type=Path)
    fix.add_argument("--language", default="en-us", help="espeak-ng's tag of the language of the text")
    part = commands.add_parser("split", help="part some speakers off, none on both sides, or some utterances")
    part.add_argument("directory", type=Path)
    part.add_argument("rest", type=Path, help="data directory of the rest")
    part.add_argument("held_out", type=Path, help="data directory of what is parted off")
    amount = part.add_mutually_exclusive_group(required=True)
    amount.add_argument("--speakers", type=int, help="how many speakers to part off")
    amount.add_argument("--speaker-list", type=Path, help="file that names the speakers to part off, one a line")
    amount.add_argument("--utterances", type=int, help="how many utterances to part off, whoever speaks")
    part.add_argument("--seed", type=int, default=0)
    subset = commands.add_parser("subset", help="the utterances of a certain length, e.g. the papers' 4 to 10 seconds")
    subset.add_argument("directory", type=Path)
    subset.add_argument("output", type=Path, help="data directory of these utterances")
    subset.add_argument("--min-seconds", type=float, default=4.0)
    subset.add_argument("--max-seconds", type=float, default=10.0)
    subset.add_argument("--aligned", action="store_true", help="of these, those whose phones are known (phones.ctm)")
    align = commands.add_parser("align", help="find when each phone of English recordings is spoken: writes phones.ctm")
    align.add_argument("directory", type=Path)
    excerpts = commands.add_parser(
        "excerpts", help="cut short utterances out of aligned recordings at pauses, each with a prompt of its speaker"
    )
    excerpts.add_argument("directory", type=Path, help="data directory with phones.ctm, see align")
    excerpts.add_argument("output", type=Path, help="data directory of the excerpts")
    excerpts.add_argument("--words", default="1,5", help="fewest and most words of an excerpt (default: 1,5)")
    excerpts.add_argument("--seed", type=int, default=0, help="of the choice of prompts (default: 0)")
    prompts = commands.add_parser(
        "prompts", help="choose an untranscribed prompt of the same speaker for each utterance: writes utt2prompt"
    )
    prompts.add_argument("directory", type=Path)
    prompts.add_argument("--seed", type=int, default=0, help="of the choice of prompts (default: 0)")
    bpe = commands.add_parser("bpe", help="learn text units (byte pair encoding) from a data directory's text")
    bpe.add_argument("directory", type=Path)
    bpe.add_argument("output", type=Path, help="file of the units, for `--data.init_args.bpe` of valle-train")
    bpe.add_argument("--size", type=int, default=2000, help="how many units (default: 2000)")
    return parser


def _validate(args: argparse.Namespace) -> None:
    from valle.data import kaldi

    report = kaldi.check(args.directory, allow_pipes=args.allow_pipes, language=args.language)
    for problem in report.problems:
        print(f"{'warning: ' if problem.warning else ''}{problem}")
    if report.errors:
        raise UserError(f"{args.directory}: {_count(report.errors, 'error')}; valle-prepare fix repairs or drops them")
    if not report.utterances:
        raise UserError(f"{args.directory}: holds no utterances that the other commands can use")
    print(f"{args.directory}: {len(report.utterances)} utterances, valid")


def _fix(args: argparse.Namespace) -> None:
    from valle.data import kaldi

    count, report = kaldi.fix(args.directory, args.language)
    for problem in report.problems:
        print(f"{'warning: ' if problem.warning else ''}{problem}")
    dropped = report.listed - count
    kept = f"; the files of before are in {args.directory / kaldi.BACKUP}" if report.problems else ""
    print(
        f"{args.directory}: {count} utterances, {_count(report.errors, 'error')} fixed, "
        f"{_count(dropped, 'utterance')} dropped{kept}"
    )
    if dropped and report.others:
        print(f"warning: {args.directory}: not changed: {', '.join(report.others)}; they may list what was dropped")


def _count(things: int | list, name: str) -> str:
    number = things if isinstance(things, int) else len(things)
    return f"{number} {name}{'' if number == 1 else 's'}"


def _main() -> None:
    args = _parser().parse_args()
    if hasattr(args, "seed"):
        check_seed(args.seed)
    if args.command in CORPORA:
        from valle.data.corpora import prepare

        counts = prepare(args.command, args.corpus, args.output, args.parts.split(",") if args.parts else None)
        for part, count in counts.items():
            print(f"{args.output / part}: {count} utterances")
        return
    if args.command == "list":
        from valle.data.corpora import prepare_list

        print(f"{args.output}: {prepare_list(args.list, args.output)} utterances")
        return
    if args.command == "spoken":
        from valle.data.spoken.corpus import build

        if args.utterances < 1 or args.jobs < 1:
            raise UserError("--utterances and --jobs must be at least 1")
        for subset, count in build(args.output, args.voices, args.utterances, args.seed, args.jobs).items():
            print(f"{args.output / subset}: {count} utterances")
        return

    from valle.data import kaldi

    if args.command == "validate":
        _validate(args)
    elif args.command == "fix":
        _fix(args)
    elif args.command == "subset":
        utterances = kaldi.with_durations(kaldi.read(args.directory))
        kept = [u for u in utterances if args.min_seconds <= (u.duration or 0) <= args.max_seconds]
        if not kept:
            raise UserError(
                f"{args.directory}: no utterance lasts {args.min_seconds} to {args.max_seconds} s; widen the bounds"
            )
        kept = [u for u in kept if u.phones or not args.aligned]
        if not kept:
            raise UserError(f"{args.directory}: no phones of these utterances are known; run valle-prepare align first")
        kaldi.write(args.output, kept)
        hours = sum(u.duration or 0 for u in kept) / 3600
        print(f"{args.output}: {len(kept)} of {len(utterances)} utterances, {hours:.2f} hours")
    elif args.command == "align":
        from valle.data.forced_alignment import align

        aligned, count = align(args.directory)
        print(f"{args.directory}: {aligned} of {count} utterances say their text and have phones now")
    elif args.command == "excerpts":
        _write_excerpts(args.directory, args.output, args.words, args.seed)
    elif args.command == "prompts":
        from valle.data.excerpts import with_prompts

        utterances = kaldi.with_durations(kaldi.read(args.directory))
        prompted = with_prompts(utterances, utterances, args.seed)
        kaldi.write(args.directory, prompted)
        count = sum(u.prompt is not None for u in prompted)
        print(f"{args.directory}: {count} of {len(prompted)} utterances have a prompt of their speaker")
    elif args.command == "bpe":
        from valle.files import write_text
        from valle.text import bpe_symbols, normalize, train_bpe

        tokenizer = train_bpe([normalize(u.text) for u in kaldi.read(args.directory)], args.size)
        write_text(args.output, tokenizer + "\n")
        print(f"{args.output}: {len(bpe_symbols(tokenizer))} units")
    else:
        utterances = kaldi.read(args.directory)
        if args.speakers is not None:
            rest, held_out = kaldi.split(utterances, args.speakers, args.seed)
        elif args.speaker_list is not None:
            rest, held_out = kaldi.split_listed(utterances, args.speaker_list)
        else:
            rest, held_out = kaldi.split_utterances(utterances, args.utterances, args.seed)
        for directory, utterances in ((args.rest, rest), (args.held_out, held_out)):
            kaldi.write(directory, utterances)
            print(f"{directory}: {len(utterances)} utterances")


def _write_excerpts(directory: Path, output: Path, words: str, seed: int) -> None:
    from valle.data import kaldi
    from valle.data.excerpts import excerpts, with_prompts

    try:
        fewest, most = (int(number) for number in words.split(","))
    except ValueError:
        fewest, most = 0, 0
    if not 1 <= fewest <= most:
        raise UserError(f"--words {words}: give the fewest and the most words of an excerpt, such as 1,5")
    utterances = kaldi.with_durations(kaldi.read(directory))
    if not any(u.phones for u in utterances):
        raise UserError(f"{directory}: has no phones.ctm; run valle-prepare align {directory} first")
    found = with_prompts(excerpts(utterances, fewest, most), utterances, seed)
    if not found:
        raise UserError(f"{directory}: no phrase between pauses has {fewest} to {most} words; widen --words")
    kaldi.write(output, found)
    minutes = sum(u.duration or 0.0 for u in found) / 60
    print(f"{output}: {len(found)} excerpts, {minutes:.1f} minutes")


def main() -> None:
    run(_main)

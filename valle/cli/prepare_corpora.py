"""Subcommands of valle-prepare that make data directories of corpora and of lists of recordings."""

from __future__ import annotations

import argparse
from pathlib import Path

from valle.evaluation.models import RECOGNIZER, RECOGNIZERS

# Subcommands of the corpora, and their names.
CORPORA = {
    "libritts": "LibriTTS",
    "librispeech": "LibriSpeech",
    "ljspeech": "LJSpeech",
    "vctk": "VCTK",
    "libriheavy": "Libriheavy, in the folder of its manifests",
    "librilight": "LibriLight, without transcripts, see transcribe",
}


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the subcommands to the parser; each sets `function`, which runs it."""
    for command, name in CORPORA.items():
        corpus = commands.add_parser(command, help=f"make data directories of {name}")
        corpus.add_argument("corpus", type=Path, help="folder of the unpacked corpus")
        corpus.add_argument("output", type=Path, help="folder; a data directory OUTPUT/PART is written for each part")
        corpus.add_argument("--parts", help="comma-separated parts such as train-clean-100,dev-clean; default: all")
        corpus.set_defaults(function=_prepare_corpus)
    listed = commands.add_parser("list", help="make a data directory of your own recordings and their transcripts")
    listed.add_argument(
        "list", type=Path, help="lines FILE|TEXT or FILE|SPEAKER|TEXT, with files relative to the folder of the list"
    )
    listed.add_argument("output", type=Path, help="data directory to write")
    listed.set_defaults(function=_prepare_list)
    transcribe = commands.add_parser(
        "transcribe",
        help="add the missing transcripts of a data directory with a speech recognizer; an interrupted run continues "
        "when the same command is run again",
    )
    transcribe.add_argument("directory", type=Path, help="data directory")
    transcribe.add_argument(
        "--recognizer",
        default=RECOGNIZER,
        help=RECOGNIZERS,
    )
    transcribe.set_defaults(function=_transcribe)


def _prepare_corpus(args: argparse.Namespace) -> None:
    from valle.data.corpora import prepare

    parts = args.parts.split(",") if args.parts else None
    for part, count in prepare(args.command, args.corpus, args.output, parts).items():
        print(f"{args.output / part}: {count} utterances")


def _prepare_list(args: argparse.Namespace) -> None:
    from valle.data.corpora import prepare_list

    print(f"{args.output}: {prepare_list(args.list, args.output)} utterances")


def _transcribe(args: argparse.Namespace) -> None:
    from valle.data.transcription import transcribe
    from valle.evaluation.recognizer import SAMPLE_RATE, load_recognizer

    recognizer = load_recognizer(args.recognizer)
    count, left_out = transcribe(args.directory, recognizer.transcribe, SAMPLE_RATE, args.recognizer)
    print(f"{args.directory}: {count} utterances with a transcript; left out: {left_out} without recognized words")

"""valle-export: models for other programs and places."""

from __future__ import annotations

import argparse
from pathlib import Path

from valle.cli.common import Parser, examples, run


def _parser() -> Parser:
    parser = Parser(
        prog="valle-export",
        description="Write a model in the layout of the Hugging Face Hub, and upload it.",
        epilog=examples("valle-export hf my-model --model exp/libritts", "valle-export push my-model me/my-model"),
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    hf = commands.add_parser(
        "hf",
        help="write safetensors, config.json, the codec and a model card to a folder",
        epilog=examples("valle-export hf my-model --model exp/libritts", "valle-export hf small-copy --model small"),
    )
    hf.add_argument("directory", type=Path, help="folder to write")
    hf.add_argument("--model", default="small", help="run directory, or name of a bundled model")
    hf.set_defaults(function=_hf)
    push = commands.add_parser(
        "push",
        help="upload such a folder to the Hub",
        epilog=examples("valle-export push my-model me/my-model", "valle-export push my-model me/my-model --private"),
    )
    push.add_argument("directory", type=Path, help="folder that valle-export hf wrote")
    push.add_argument("repository", help="ORGANIZATION/NAME")
    push.add_argument("--private", action="store_true", help="make a new repository private")
    push.set_defaults(function=_push)
    return parser


def _hf(args: argparse.Namespace) -> None:
    from valle.export.hub import export_hub

    for path in export_hub(args.model, args.directory):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _push(args: argparse.Namespace) -> None:
    from valle.export.hub import push

    print(push(args.directory, args.repository, private=args.private))


def _main() -> None:
    args = _parser().parse_args()
    args.function(args)


def main() -> None:
    """Run the command."""
    run(_main)

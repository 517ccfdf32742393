"""valle-tokenize: encode and phonemize a Kaldi data directory into Lhotse Shar."""

from __future__ import annotations

from pathlib import Path

from valle.cli.common import Parser, examples, run
from valle.errors import UserError
from valle.optional import require


def _parser() -> Parser:
    parser = Parser(
        prog="valle-tokenize",
        description="Encode the audio of a data directory with a codec and convert its texts to phonemes. "
        "An interrupted run continues when the same command is run again. "
        "Under torchrun or SLURM, each rank writes its own shards.",
        epilog=examples(
            "valle-tokenize data/train dump/train --codec small",
            "valle-tokenize data/train dump/train --codec encodec_24khz --shard-size 5000",
        ),
    )
    parser.add_argument("data", type=Path, help="Kaldi data directory")
    parser.add_argument("output", type=Path, help="folder of tokens to write")
    parser.add_argument(
        "--codec",
        default="encodec_24khz",
        help="mini, small, encodec_24khz or the folder of a codec, with :merge2 to merge frames",
    )
    parser.add_argument("--codec-dir", type=Path, help="folder of the weights of a pretrained codec")
    parser.add_argument("--language", default="en-us", help="espeak-ng language tag of the texts")
    parser.add_argument("--shard-size", type=int, default=500, help="utterances per shard")
    return parser


def _main() -> None:
    args = _parser().parse_args()
    if args.shard_size < 1:
        raise UserError(f"--shard-size {args.shard_size}: must be at least 1")

    # Before anything is written.
    require("lhotse", "train")
    require("rich", "train")
    # Imported late, so that --help does not wait for torch.
    from valle import codec
    from valle.data.tokenizer import Tokenizer

    tokenizer = Tokenizer(
        data=args.data,
        output=args.output,
        codec=codec.load(args.codec, args.codec_dir),
        language=args.language,
        shard_size=args.shard_size,
    )
    count = tokenizer.run()
    others = len(tokenizer.utterances) - count
    print(f"{args.output}: {count} utterances tokenized; {others} by an earlier run or another rank")


def main() -> None:
    """Run the command."""
    run(_main)

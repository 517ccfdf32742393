"""valle-tokenize: a Kaldi data directory to codes and phonemes in Lhotse Shar."""

from __future__ import annotations

from pathlib import Path

from valle.cli.common import Parser, run
from valle.errors import UserError


def _main() -> None:
    parser = Parser(
        prog="valle-tokenize",
        description="Turn a data directory into codes and phonemes. Started again, it goes on where it was stopped; "
        "under torchrun or SLURM each rank writes its own shards.",
    )
    parser.add_argument("data", type=Path, help="Kaldi data directory")
    parser.add_argument("output", type=Path, help="folder of tokens")
    parser.add_argument("--codec", default="encodec_24khz", help="mini, encodec_24khz or a codec folder")
    parser.add_argument("--codec-dir", type=Path, help="where the weights of a pretrained codec lie")
    parser.add_argument("--language", default="en-us", help="espeak-ng's tag of the language")
    parser.add_argument("--shard-size", type=int, default=500, help="utterances a shard")
    args = parser.parse_args()
    if args.shard_size < 1:
        raise UserError(f"--shard-size {args.shard_size}: must be at least 1")

    from valle import codec
    from valle.data.tokenizer import Tokenizer

    tokenizer = Tokenizer(
        args.data, args.output, codec.load(args.codec, args.codec_dir), args.language, args.shard_size
    )
    done = tokenizer.run()
    print(
        f"{args.output}: {done} utterances tokenized, {len(tokenizer.utterances) - done} were there or are other ranks'"
    )


def main() -> None:
    run(_main)

"""valle-eval: word error rate and speaker similarity, beside those of the recordings and their codec round trip."""

from __future__ import annotations

from pathlib import Path

from valle.cli.common import Parser, run


def _main() -> None:
    parser = Parser(prog="valle-eval", description="Score what `valle-synth --data` spoke, and write a report.")
    parser.add_argument("data", type=Path, help="data directory with the recordings and their texts")
    parser.add_argument("synthesized", type=Path, help="folder that valle-synth --data wrote")
    parser.add_argument("output", type=Path, help="gets index.html, report.md and scores.json")
    parser.add_argument("--codec", default="mini", help="codec of the round trip")
    parser.add_argument("--codec-dir", type=Path, help="where the weights of a pretrained codec lie")
    parser.add_argument("--recognizer", default="whisper-tiny.en", help="whisper-tiny.en (comes along) or a folder")
    parser.add_argument(
        "--select",
        default="first",
        choices=["first", "sort", "max"],
        help="of several candidates: the first; the best by similarity and words, sorted as in VALL-E 2; the best of "
        "each score",
    )
    parser.add_argument("--title", default="Scores", help="heading of the report")
    args = parser.parse_args()

    from valle import codec
    from valle.data import kaldi
    from valle.evaluation.recognizer import Recognizer
    from valle.evaluation.report import markdown, write_report
    from valle.evaluation.score import pairs, score
    from valle.evaluation.similarity import SpeakerEncoder
    from valle.synthesis.testset import read_prompts

    items = pairs(kaldi.read(args.data), read_prompts(args.synthesized), args.synthesized)
    recognizer, encoder = Recognizer(args.recognizer), SpeakerEncoder()
    scores = score(items, codec.load(args.codec, args.codec_dir), args.output, recognizer, encoder, args.select)
    write_report(args.output, args.title, items, scores)
    print(markdown(args.title, scores))
    print(args.output / "index.html")


def main() -> None:
    run(_main)

"""valle-eval: the papers' table for a test set, with a page to listen to; two systems compared; a codec judged; marks
of synthesized speech found."""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

from valle.cli.common import Parser, run
from valle.errors import UserError

RECOGNIZER = "whisper-tiny.en and pocketsphinx come along; else folder or hub name of a faster-whisper or CTC model"
ENCODER = "resemblyzer comes along; else the papers' wavlm_large_finetune.pth, or a transformers x-vector model"


def _judges(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--codec", default="small", help="of the round trip: a bundled codec, a folder, or EnCodec")
    parser.add_argument("--codec-dir", type=Path, help="where the weights of a pretrained codec lie")
    parser.add_argument("--recognizer", default="whisper-tiny.en", help=RECOGNIZER)
    parser.add_argument("--speaker-encoder", default="resemblyzer", help=ENCODER)
    parser.add_argument("--results", type=Path, help="RESULTS.md that gets the table and what made it")
    parser.add_argument("--recipe", help="what made the model, told beside the table")


def _score_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="valle-eval",
        description="Score speech beside the recordings and their codec round trip: words, voice, quality, faults.",
        epilog="Also: `valle-eval compare A B` tests two systems against each other, `valle-eval codec DATA OUTPUT` "
        "judges a codec, `valle-eval watermark FILE` says what was synthesized; each has its own --help. A run that "
        "was stopped goes on where it was.",
    )
    parser.add_argument("data", type=Path, help="data directory, or tab-separated test list: prompt, text, reference")
    parser.add_argument(
        "synthesized",
        type=Path,
        help="what valle-synth --data wrote, or <id>.wav of any system; "
        "similarity to the prompt needs a test list, or its prompts.scp: <id> <recording of the prompt>",
    )
    parser.add_argument("output", type=Path, help="gets report.html, report.md, report.tex, summary.json, scores.jsonl")
    parser.add_argument("--model", help="synthesize first what is missing, with this run directory or bundled model")
    _judges(parser)
    parser.add_argument(
        "--select",
        default="first",
        choices=["first", "sort", "max"],
        help="of several candidates: the first; the best by similarity and words, sorted as in VALL-E 2; the best of "
        "each score",
    )
    parser.add_argument("--title", default="Scores", help="heading of the report")
    parser.add_argument("--run", type=Path, help="run directory whose training curves the report shows")
    parser.add_argument("--listen", type=int, default=100, help="utterances with sound in the page: worst and others")
    parser.add_argument("--batch-size", type=int, default=16, help="sounds judged at once")
    return parser


def _score() -> None:
    args = _score_parser().parse_args()
    if args.batch_size < 1 or args.listen < 0:
        raise UserError("--batch-size must be at least 1 and --listen at least 0")

    from valle import codec as codecs
    from valle.evaluation.metrics import summary
    from valle.evaluation.recognizer import load_recognizer
    from valle.evaluation.report import write_report
    from valle.evaluation.score import Judge, notes_of, read_items, score
    from valle.evaluation.similarity import load_encoder
    from valle.evaluation.tables import latex, markdown, provenance, write_results, write_summary
    from valle.files import write_text

    codec = codecs.load(args.codec, args.codec_dir)
    recognizer, encoder = load_recognizer(args.recognizer), load_encoder(args.speaker_encoder)
    if args.model is not None:
        from valle.evaluation.test_set import speak_all
        from valle.models.sampling import SPEECH_TOP_P, Sampling
        from valle.synthesis import load

        speak_all(load(args.model, args.codec_dir), args.data, args.synthesized, 0, Sampling(top_p=SPEECH_TOP_P))
    items = read_items(args.data, args.synthesized)
    judge = Judge(items, codec, recognizer, encoder)
    settings = {"codec": args.codec, "recognizer": args.recognizer, "speaker_encoder": args.speaker_encoder}
    scores = score(items, judge, args.output, {**settings, "voices": judge.voices}, args.select, args.batch_size)
    table, made = summary(scores), provenance(args.recipe)
    notes = notes_of(items, scores)
    for note in notes:
        warnings.warn(note, stacklevel=1)
    write_summary(args.output / "summary.json", args.title, table, {**settings, "select": args.select}, made, notes)
    text = markdown(args.title, table, notes)
    write_text(args.output / "report.md", text)
    write_text(args.output / "report.tex", latex(args.title, table))
    page = args.output / "report.html"
    write_report(page, args.title, items, scores, table, codec, made, args.run, args.listen, notes)
    if args.results is not None:
        write_results(args.results, args.title, text, made)
    print(text)
    print(page)


def _compare() -> None:
    parser = Parser(prog="valle-eval compare", description="A paired test between two systems on the same utterances.")
    parser.add_argument("a", type=Path, help="folder that valle-eval wrote for one system")
    parser.add_argument("b", type=Path, help="and for the other")
    parser.add_argument("--system", default="synthesized", choices=["recording", "codec", "synthesized"])
    parser.add_argument("--most", type=int, default=20, help="changed utterances that are shown")
    parser.add_argument("-o", "--output", type=Path, help="Markdown file for the same")
    args = parser.parse_args(sys.argv[2:])

    from valle.evaluation.compare import compare, markdown, read_scores
    from valle.files import write_text

    found = compare(read_scores(args.a, args.system), read_scores(args.b, args.system))
    text = markdown(str(args.a), str(args.b), found, args.most)
    print(text)
    if args.output is not None:
        write_text(args.output, text)


def _codec() -> None:
    parser = Parser(prog="valle-eval codec", description="What a codec does to recordings, and how it uses its codes.")
    parser.add_argument("data", type=Path, help="data directory, or folder with sound files")
    parser.add_argument("output", type=Path, help="gets codec.md and codec.json")
    _judges(parser)
    parser.add_argument("--codebooks", type=int, help="decode from the first so many; default: all")
    parser.add_argument("--title", default="Codec", help="heading of the table")
    args = parser.parse_args(sys.argv[2:])

    import json

    from valle import codec as codecs
    from valle.evaluation.codec_scores import recordings_of, score_codec, table
    from valle.evaluation.recognizer import load_recognizer
    from valle.evaluation.similarity import load_encoder
    from valle.evaluation.tables import provenance, write_results
    from valle.files import write_text

    codec = codecs.load(args.codec, args.codec_dir)
    if args.codebooks is not None and not 1 <= args.codebooks <= codec.num_codebooks:
        raise UserError(f"--codebooks {args.codebooks}: the codec has 1 to {codec.num_codebooks}")
    recognizer, encoder = load_recognizer(args.recognizer), load_encoder(args.speaker_encoder)
    scores = score_codec(codec, recordings_of(args.data), recognizer, encoder, args.codebooks)
    text, made = table(args.title, scores), provenance(args.recipe)
    write_text(args.output / "codec.md", text)
    write_text(args.output / "codec.json", json.dumps({**asdict(scores), **made}, indent=2) + "\n")
    if args.results is not None:
        write_results(args.results, args.title, text, made)
    print(text)


def _watermark() -> None:
    parser = Parser(
        prog="valle-eval watermark", description="Which recordings carry the mark that valle leaves in what it says."
    )
    parser.add_argument("recordings", type=Path, nargs="+", metavar="FILE")
    args = parser.parse_args(sys.argv[2:])

    from valle import audio
    from valle.synthesis.watermark import THRESHOLD, confidence

    sounds = [audio.read(path) for path in args.recordings]  # a file that cannot be read stops before any answer
    for path, sound in zip(args.recordings, sounds, strict=True):
        found = confidence(sound.samples, sound.sample_rate)
        print(f"{path}: {'synthesized' if found > THRESHOLD else 'no mark'} ({found:.2f})")


def _main() -> None:
    {"compare": _compare, "codec": _codec, "watermark": _watermark}.get(
        sys.argv[1] if len(sys.argv) > 1 else "", _score
    )()


def main() -> None:
    run(_main)

"""valle-eval: score synthesized speech, compare two systems, score a codec, detect the watermark."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from valle.cli.common import Parser, examples, run
from valle.errors import UserError
from valle.evaluation.models import ENCODER, ENCODERS, RECOGNIZER, RECOGNIZERS
from valle.evaluation.score import SYSTEMS
from valle.evaluation.selection import SELECTIONS

if TYPE_CHECKING:
    from valle.codec import Codec
    from valle.evaluation.speaker_encoder import SpeakerEncoder


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="valle-eval",
        description="Score synthesized speech, compare two systems, score a codec, or detect the watermark. "
        "`valle-eval TEST WAVS REPORT` is short for `valle-eval score TEST WAVS REPORT`. Each command has a --help of "
        "its own.",
        epilog=examples("valle-eval data/test wavs report --model exp", "valle-eval compare report-a report-b"),
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in COMMANDS.values():
        add(commands)
    return parser


def _add_scoring_models(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Add the options of the commands that use codec, recognizer and speaker encoder.

    Returns:
        The group of --recognizer, for options that replace it.
    """
    parser.add_argument("--codec", default="small", help="bundled codec, folder, or EnCodec model")
    parser.add_argument("--codec-dir", type=Path, help="folder with the weights of a pretrained codec")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--recognizer", default=RECOGNIZER, help=f"{RECOGNIZERS} (default: %(default)s)")
    parser.add_argument("--speaker-encoder", default=ENCODER, help=f"{ENCODERS} (default: %(default)s)")
    parser.add_argument("--results", type=Path, help="RESULTS.md into which the table and its provenance are written")
    parser.add_argument("--recipe", help="command that made the model, written beside the table")
    return group


def _load_codec_and_encoder(args: argparse.Namespace) -> tuple[Codec, SpeakerEncoder]:
    """Load the codec and the speaker encoder."""
    from valle import codec as codecs
    from valle.evaluation.speaker_encoder import load_encoder

    return codecs.load(args.codec, args.codec_dir), load_encoder(args.speaker_encoder)


def _add_score(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "score",
        help="score synthesized speech (the default command)",
        description="Score synthesized speech, the recordings and their codec resynthesis: WER, SIM, DNSMOS, decoding "
        "errors. A stopped run continues where it stopped.",
    )
    parser.add_argument(
        "data",
        type=Path,
        help="data directory, or test list: tab-separated with the columns prompt, text, reference, ..., or .lst of "
        "LibriSpeech-PC or Seed-TTS-eval",
    )
    parser.add_argument(
        "synthesized",
        type=Path,
        help="output folder of valle-synth --data, or <id>.wav of any system; similarity to the prompt needs a test "
        "list, or prompts.scp in this folder: <id> <audio file of the prompt>",
    )
    parser.add_argument(
        "output", type=Path, help="folder for report.html, report.md, report.tex, summary.json, scores.jsonl"
    )
    parser.add_argument("--model", help="synthesize what is missing with this run directory or bundled model")
    _add_scoring_models(parser).add_argument(
        "--transcripts",
        type=Path,
        metavar="FILE",
        help="transcripts of an outside recognizer, a line `<id> <words>` per synthesized file <id>.wav; of the "
        "recordings and their codec resynthesis, by recording/<id> and codec/<id>",
    )
    parser.add_argument(
        "--continuation-only",
        action="store_true",
        help="score only what follows the prompt, of outputs of `valle-synth --protocol continuation`",
    )
    parser.add_argument(
        "--select",
        default="first",
        choices=SELECTIONS,
        help="of several candidates: the first; the best by SIM-o and WER, sorted as in VALL-E 2; the best value of "
        "each metric; the mean of each metric, as VALL-E's three runs",
    )
    parser.add_argument("--title", default="Scores", help="heading of the report")
    parser.add_argument("--run", type=Path, help="run directory whose training curves the report shows")
    parser.add_argument(
        "--listen", type=int, default=100, help="utterances with audio in the report: half of them the worst"
    )
    parser.add_argument("--batch-size", type=int, default=16, help="audio files scored together")
    parser.set_defaults(function=_score)


def _score(args: argparse.Namespace) -> None:
    """Score a test set and write the report."""
    if args.batch_size < 1 or args.listen < 0:
        raise UserError("--batch-size must be at least 1 and --listen at least 0")
    if args.transcripts is not None and args.continuation_only:
        raise UserError("--transcripts are of whole files; leave --continuation-only out, or give a --recognizer")

    # Imported here: torch and the scoring models take seconds, which --help and errors in arguments should not.
    from valle.evaluation.continuation import without_prompts
    from valle.evaluation.failures import report_notes
    from valle.evaluation.items import read_items
    from valle.evaluation.metrics import summary
    from valle.evaluation.provenance import provenance, write_results
    from valle.evaluation.recognizer import load_recognizer
    from valle.evaluation.report import Report, write_outputs
    from valle.evaluation.scorer import Scorer
    from valle.evaluation.scoring import score_items
    from valle.evaluation.transcripts import read_transcripts

    codec, encoder = _load_codec_and_encoder(args)
    recognizer = None if args.transcripts is not None else load_recognizer(args.recognizer)
    if args.model is not None:
        from valle.cli.synth_test_set import TestSetOptions, synthesize_test_set
        from valle.synthesis import load

        synthesize_test_set(load(args.model, args.codec_dir), args.data, args.synthesized, TestSetOptions())
    items = read_items(args.data, args.synthesized)
    if args.continuation_only:
        items = without_prompts(items)
    transcripts = None if args.transcripts is None else read_transcripts(args.transcripts, items, args.select)
    scorer = Scorer(items, codec, recognizer, encoder, transcripts)
    models = {
        "codec": args.codec,
        "recognizer": args.recognizer if args.transcripts is None else "--transcripts",
        "speaker_encoder": args.speaker_encoder,
    }
    scores = score_items(
        items,
        scorer,
        args.output,
        {**models, "prompts": scorer.prompts_digest},
        selection=args.select,
        batch_size=args.batch_size,
    )
    report = Report(
        title=args.title,
        items=items,
        scores=scores,
        summary=summary(scores),
        provenance=provenance(args.recipe),
        notes=report_notes(items, scores, args.select),
        run=args.run,
        max_audio=args.listen,
    )
    for note in report.notes:
        warnings.warn(note, stacklevel=1)
    options = {"select": args.select, "continuation_only": args.continuation_only}
    text = write_outputs(args.output, report, {**models, **options}, codec)
    if args.results is not None:
        write_results(args.results, args.title, text, report.provenance)
    print(text)
    print(args.output / "report.html")


def _add_compare(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare two systems on the same utterances",
        description="Compare two systems on the same utterances: paired differences with 95 % intervals and p-values.",
    )
    parser.add_argument("a", type=Path, help="report folder of system A")
    parser.add_argument("b", type=Path, help="report folder of system B")
    parser.add_argument("--system", default="synthesized", choices=SYSTEMS, help="which speech is compared")
    parser.add_argument("--most", type=int, default=20, help="maximum number of changed utterances shown")
    parser.add_argument("-o", "--output", type=Path, help="Markdown file for the same text")
    parser.set_defaults(function=_compare)


def _compare(args: argparse.Namespace) -> None:
    """Compare two systems."""
    from valle.evaluation.compare import compare, markdown, read_scores
    from valle.files import write_text

    comparison = compare(read_scores(args.a, args.system), read_scores(args.b, args.system))
    text = markdown(str(args.a), str(args.b), comparison, args.most)
    print(text)
    if args.output is not None:
        write_text(args.output, text)


def _add_codec(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "codec",
        help="score a codec",
        description="Score a codec: STOI, PESQ, mel distance, SIM and WER of its resynthesis, use of its codebooks, "
        "bits per second and speed.",
    )
    parser.add_argument("data", type=Path, help="data directory, or folder with audio files")
    parser.add_argument("output", type=Path, help="folder for codec.md and codec.json")
    _add_scoring_models(parser)
    parser.add_argument("--codebooks", type=int, help="number of codebooks that are decoded (all)")
    parser.add_argument("--title", default="Codec", help="heading of the table")
    parser.set_defaults(function=_codec)


def _codec(args: argparse.Namespace) -> None:
    """Score a codec."""
    from valle.evaluation.codec_scores import find_recordings, score_codec, table
    from valle.evaluation.provenance import provenance, write_results
    from valle.evaluation.recognizer import load_recognizer
    from valle.files import write_text

    codec, encoder = _load_codec_and_encoder(args)
    if args.codebooks is not None and not 1 <= args.codebooks <= codec.num_codebooks:
        raise UserError(f"--codebooks {args.codebooks}: the codec has 1 to {codec.num_codebooks}")
    recognizer = load_recognizer(args.recognizer)
    scores = score_codec(codec, find_recordings(args.data), recognizer, encoder, args.codebooks)
    text = table(args.title, scores)
    origin = provenance(args.recipe)
    write_text(args.output / "codec.md", text)
    write_text(args.output / "codec.json", json.dumps({**asdict(scores), **origin}, indent=2) + "\n")
    if args.results is not None:
        write_results(args.results, args.title, text, origin)
    print(text)


def _add_watermark(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "watermark",
        help="detect the watermark of synthesized speech",
        description="Detect the watermark that valle adds to synthesized speech.",
    )
    parser.add_argument("recordings", type=Path, nargs="+", metavar="FILE")
    parser.set_defaults(function=_watermark)


def _watermark(args: argparse.Namespace) -> None:
    """Print for each file whether it carries the watermark, with the detector's confidence."""
    from valle import audio
    from valle.synthesis.watermark import THRESHOLD, confidence

    # All files are read first, so that an unreadable file stops the command before any output.
    recordings = [audio.read(path) for path in args.recordings]
    for path, recording in zip(args.recordings, recordings, strict=True):
        score = confidence(recording.samples, recording.sample_rate)
        print(f"{path}: {'synthesized' if score > THRESHOLD else 'no mark'} ({score:.2f})")


COMMANDS = {"score": _add_score, "compare": _add_compare, "codec": _add_codec, "watermark": _add_watermark}


def _with_command(arguments: Sequence[str]) -> list[str]:
    """Insert "score" where the first argument is neither a command nor a request for help."""
    if arguments and arguments[0] in (*COMMANDS, "-h", "--help"):
        return list(arguments)
    return ["score", *arguments]


def _main() -> None:
    args = _parser().parse_args(_with_command(sys.argv[1:]))
    args.function(args)


def main() -> None:
    """Run valle-eval."""
    run(_main)

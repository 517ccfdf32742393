"""valle-synth: synthesize texts in the voice of a short recording."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from valle.cli.common import Parser, examples, import_uncollected, log_on_standard_error, run
from valle.cli.synth_checks import check_arguments
from valle.cli.synthesis_options import add_synthesis_options, read_synthesis_options
from valle.devices import MAX_SEED
from valle.errors import UserError

if TYPE_CHECKING:
    from valle.data.textfile import Line
    from valle.synthesis import TTS, Prompt, SynthesisOptions
    from valle.synthesis.planning import TextPart


def _parser() -> Parser:
    parser = Parser(
        prog="valle-synth",
        description="Synthesize speech in the voice of a short recording.",
        epilog=examples(
            "valle-synth --prompt 3s.wav --text 'Hello there.' -o hello.wav",
            "valle-synth book.txt --voice clara -o book.m4b --timestamps book.srt",
        ),
    )
    _add_input_options(parser)
    _add_model_options(parser)
    add_synthesis_options(parser)
    data = parser.add_argument_group("with --data")
    data.add_argument("--limit", type=int, help="number of utterances, evenly spread over the set; default: all")
    data.add_argument(
        "--protocol",
        default="closest",
        type=_protocol,
        help="which prompt: closest, the speaker's utterance closest to but not over --prompt-seconds; reference, the "
        "utterance before; or continuation, the first seconds of the utterance itself, which is continued",
    )
    data.add_argument("--prompt-seconds", type=float, help="default: 3; with reference: the whole utterance")
    data.add_argument("--voice-alone", action="store_true", help="do not use the prompts' texts")
    data.add_argument(
        "--true-first-codes",
        action="store_true",
        help="the first codebook is that of each utterance's recording, not the AR model's (VALL-E, table 4)",
    )
    data.add_argument(
        "--save-samples",
        action="store_true",
        help="with --attempts 1: also write samples.jsonl, the codes as the AR model sampled them, for valle-prepare "
        "preferences",
    )
    return parser


def _protocol(name: str) -> str:
    """Check the name of a protocol, after `--help` was answered: the definition is imported with numpy."""
    from valle.evaluation.test_set import PROTOCOLS

    if name not in PROTOCOLS:
        raise argparse.ArgumentTypeError(f"invalid choice: {name!r} (choose from {', '.join(PROTOCOLS)})")
    return name


def _add_input_options(parser: argparse.ArgumentParser) -> None:
    voice = parser.add_mutually_exclusive_group()
    voice.add_argument("--prompt", type=Path, help="recording of the voice, best about 3 seconds")
    voice.add_argument("--voice", help="name of a bundled voice; default, without --prompt: the default voice")
    parser.add_argument("--prompt-text", help="what the recording says; without it, the voice alone is used")
    parser.add_argument(
        "--language", help="espeak-ng language tag of the text, of a model of several languages; default: its first"
    )
    parser.add_argument(
        "--prompt-language", help="language of the recording and --prompt-text; default: that of the text"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "input",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="file of one text of any length, or - for standard input; a run that was stopped continues",
    )
    source.add_argument("--text", help="what to synthesize: plain text with marks, or SSML")
    source.add_argument("--text-file", type=Path, help="one utterance per line, or `id<TAB>text` on every line")
    source.add_argument(
        "--data", type=Path, help="data directory or test list: each utterance in its speaker's voice, for scoring"
    )
    parser.add_argument(
        "--ids", action="store_true", help="every line of --text-file is `id text`, and ids name the files"
    )
    parser.add_argument(
        "--strict-text",
        action="store_true",
        help="refuse text with anything that cannot be spoken instead of leaving it out",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("out.wav"),
        help="audio file, for FILE and --text: .wav, .flac, .ogg, .opus, .mp3, or .m4b with chapters",
    )
    parser.add_argument("--output-dir", type=Path, help="folder of the files, for --text-file, --data and --chapters")
    parser.add_argument("--chapters", action="store_true", help="with FILE: one audio file for each chapter")
    parser.add_argument(
        "--timestamps", type=Path, help=".json, .srt or .vtt file of when words are spoken, for FILE and --text"
    )
    parser.add_argument(
        "--lexicon", type=Path, help="pronunciations: `word<TAB>/IPA/` or `word<TAB>other words` a line"
    )


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="small", help="run directory, bundled model, or model of the Hub")
    parser.add_argument("--download", action="store_true", help="download --model ORGANIZATION/NAME from the Hub")
    parser.add_argument("--codec-dir", type=Path, help="folder with the weights of a pretrained codec and decoder")
    parser.add_argument("--decoder", choices=["vocos"], help="decode EnCodec's codes with Vocos, as in VALL-E 2")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=["float32", "bfloat16", "int8", "auto"],
        help="of the models' weights; auto: the fastest that this machine computes correctly",
    )
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="faster decode steps, compiled for this machine the first time; default: where there is a compiler",
    )
    parser.add_argument(
        "--watermark",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="an inaudible mark that says the speech was synthesized; `valle-eval watermark FILE` detects it",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--batch-size", type=int, default=16, help="texts synthesized together")
    parser.add_argument(
        "--max-batch-tokens", type=int, help="upper bound on rows x positions decoded at once, and so on memory"
    )


def _read_texts(args: argparse.Namespace) -> list[tuple[Path, str, Line | None]]:
    """Return the output file, the text and its line in the text file (None: --text) of each utterance."""
    if args.text is not None:
        texts: list[tuple[Path, str, Line | None]] = [(args.output, args.text, None)]
    else:
        if args.output_dir is None:
            raise UserError("--text-file needs --output-dir")
        from valle.data.textfile import read_lines
        from valle.files import file_in

        lines = read_lines(args.text_file, args.ids)
        texts = [(file_in(args.output_dir, line.id, ".wav"), line.text, line) for line in lines]
    from valle.audio_writer import check_suffix

    for path, _, _ in texts:
        check_suffix(path)
    return texts


def _plan_texts(
    tts: TTS, args: argparse.Namespace, texts: list[tuple[Path, str, Line | None]], options: SynthesisOptions
) -> list[tuple[Path, list[TextPart]]]:
    """Plan all texts before anything is written. Raises UserError that names the line of a text that fails."""
    planned = []
    for path, text, line in texts:
        try:
            planned.append((path, list(tts.plan(text, options, args.language, strict=args.strict_text))))
        except UserError as error:
            if line is None:
                raise
            raise UserError(f"{args.text_file}:{line.number}: {error}") from error
    return planned


def _load(args: argparse.Namespace) -> TTS:
    from valle.synthesis import load

    tts = load(
        args.model,
        codec_dir=args.codec_dir,
        device=args.device,
        decoder=args.decoder,
        dtype=args.dtype,
        compiled=args.compile,
        watermark=args.watermark,
        download=args.download,
    )
    if args.lexicon is not None:
        from valle.text.lexicon import read_lexicon

        tts.lexicon = read_lexicon(args.lexicon)
        tts.encoder.check_lexicon(args.lexicon)
    return tts


def _read_prompt(tts: TTS, args: argparse.Namespace) -> Prompt:
    if args.prompt is None:
        return tts.voice() if args.voice is None else tts.voice(args.voice)
    with log_on_standard_error():
        return tts.prompt(args.prompt, args.prompt_text, args.prompt_language or args.language)


def _synthesize_data(args: argparse.Namespace, options: SynthesisOptions) -> None:
    from valle.cli.synth_test_set import TestSetOptions, synthesize_test_set

    test_set_options = TestSetOptions(
        protocol=args.protocol,
        prompt_seconds=args.prompt_seconds,
        voice_alone=args.voice_alone,
        true_first_codes=args.true_first_codes,
        batch_size=args.batch_size,
        limit=args.limit,
        language=args.language,
        prompt_language=args.prompt_language,
        seed=args.seed,
        synthesis=options,
        save_samples=args.save_samples,
    )
    done = synthesize_test_set(_load(args), args.data, args.output_dir, test_set_options)
    print(f"{args.output_dir}: {done} utterances synthesized")


def _synthesize_texts(args: argparse.Namespace, options: SynthesisOptions) -> None:
    from valle.synthesis.timing import write_timestamps

    texts = _read_texts(args)
    tts = _load(args)
    planned = _plan_texts(tts, args, texts, options)
    prompt = _read_prompt(tts, args)
    for start in range(0, len(planned), args.batch_size):
        batch = planned[start : start + args.batch_size]
        seeds = [(args.seed + options.candidates * (start + index)) % (MAX_SEED + 1) for index in range(len(batch))]
        voices = [prompt] * len(batch)
        for index, speech in enumerate(tts.synthesize_batch([text for _, text in batch], voices, seeds, options)):
            path, _ = batch[index // options.candidates]
            if options.candidates > 1:
                path = path.with_stem(f"{path.stem}-{index % options.candidates + 1}")
            speech.audio.save(path)
            if args.timestamps is not None:
                write_timestamps(args.timestamps, speech.words)
            verdict = f", {speech.quality.verdict}" if speech.quality else ""
            print(f"{path}: {speech.audio.duration:.2f} s{verdict}")


def _main() -> None:
    args = _parser().parse_args()
    check_arguments(args)
    import_uncollected("valle.synthesis")
    options = read_synthesis_options(args)
    if args.data is not None:
        _synthesize_data(args, options)
    elif args.input is not None:
        from valle.cli.synth_long import synthesize_file

        tts = _load(args)
        synthesize_file(tts, _read_prompt(tts, args), args, options)
    else:
        _synthesize_texts(args, options)


def main() -> None:
    """Run the command."""
    run(_main)

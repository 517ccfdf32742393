"""valle-synth: say a text in a voice."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from valle.cli.common import Parser, run
from valle.devices import MAX_SEED, check_seed
from valle.errors import UserError

if TYPE_CHECKING:
    from valle.models.sampling import NARSampling, Sampling
    from valle.synthesis import TTS, Prompt


def _parser() -> Parser:
    parser = Parser(prog="valle-synth", description="Say a text in the voice of a short recording.")
    voice = parser.add_mutually_exclusive_group()
    voice.add_argument("--prompt", type=Path, help="recording of the voice, best about 3 seconds")
    voice.add_argument("--voice", help="bundled voice; without it and --prompt, the default voice")
    parser.add_argument("--prompt-text", help="what the recording says; left out, it gives the voice alone")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", help="what to say")
    source.add_argument("--text-file", type=Path, help="one utterance a line, or `id<TAB>text` on every line")
    source.add_argument(
        "--data", type=Path, help="data directory, or test list: each utterance in its speaker's voice, for scoring"
    )
    parser.add_argument("--ids", action="store_true", help="every line of --text-file is `id text`; ids name the files")
    parser.add_argument(
        "--strict-text",
        action="store_true",
        help="refuse text with anything that cannot be spoken, do not leave it out",
    )
    parser.add_argument("--model", default="small", help="run directory, or name of a bundled model")
    parser.add_argument("--codec-dir", type=Path, help="where the weights of a pretrained codec and decoder lie")
    parser.add_argument("--decoder", choices=["vocos"], help="speak EnCodec's codes with Vocos, as in VALL-E 2")
    parser.add_argument("-o", "--output", type=Path, default=Path("out.wav"), help=".wav or .flac, for --text")
    parser.add_argument("--output-dir", type=Path, help="folder of the files, for --text-file and --data")
    parser.add_argument("--seed", type=int, default=0, help="0 to 2^32 - 1; the same seed gives the same samples")
    parser.add_argument("--num-candidates", type=int, default=1, help="draws a text; file names get -1, -2, ...")
    parser.add_argument(
        "--attempts",
        type=int,
        help="draws of the first codebook, of which the one whose codes say the text best is kept "
        "(5 where a codec's codes tell, as those of small, else 1)",
    )
    parser.add_argument("--batch-size", type=int, default=16, help="texts spoken at once")
    parser.add_argument(
        "--max-batch-tokens",
        type=int,
        help="bound on rows x positions decoded at once, and so on memory",
    )
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
        help="faster decode steps, compiled for this machine the first time; unless given, where there is a compiler",
    )
    parser.add_argument(
        "--watermark",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="an inaudible mark that says the speech was synthesized; `valle-eval watermark FILE` finds it",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    first = parser.add_argument_group("the first codebook (AR model)")
    first.add_argument("--temperature", type=float, default=1.0, help="0 takes the most likely code")
    first.add_argument("--top-k", type=int, help="keep the k most likely codes")
    first.add_argument("--top-p", type=float, help="nucleus: keep codes up to this probability (0.7)")
    first.add_argument(
        "--repetition-aware", action=argparse.BooleanOptionalAction, default=False, help="VALL-E 2's sampling"
    )
    first.add_argument("--ras-window", type=int, default=10, help="K, the codes it looks back at")
    first.add_argument("--ras-threshold", type=float, default=0.1, help="t_r, the share it draws again above")
    rest = parser.add_argument_group("the other codebooks (NAR model)")
    rest.add_argument(
        "--nar-temperature",
        type=float,
        help="0 takes the most likely codes, as the papers; else a small model's are those expected on average",
    )
    rest.add_argument("--nar-stages", type=int, default=7, help="codebooks filled in after the first")
    rest.add_argument("--nar-prompt-seconds", type=float, help="longest acoustic prompt; default: as in training")
    data = parser.add_argument_group("with --data")
    data.add_argument("--limit", type=int, help="so many utterances, evenly spread")
    data.add_argument(
        "--protocol",
        default="closest",
        choices=["closest", "reference", "continuation"],
        help="prompt: the speaker's utterance closest to but not over --prompt-seconds; the one before; "
        "or the utterance's own beginning, which is gone on from",
    )
    data.add_argument("--prompt-seconds", type=float, help="default: 3; with reference: the whole utterance")
    data.add_argument("--voice-alone", action="store_true", help="do not give the prompt's text")
    return parser


def _texts(args: argparse.Namespace) -> dict[Path, str]:
    """Output file -> text."""
    if args.text is not None:
        if args.output_dir is not None:
            raise UserError("--output-dir goes with --text-file; give -o FILE for one --text")
        return {args.output: args.text}
    if args.output_dir is None:
        raise UserError("--text-file needs --output-dir")
    from valle.data.textfile import read_lines
    from valle.files import file_in

    return {file_in(args.output_dir, line.id, ".wav"): line.text for line in read_lines(args.text_file, args.ids)}


def _check_texts(tts: TTS, args: argparse.Namespace, texts: list[str]) -> None:
    """A text that cannot be spoken stops the command before anything is written. Raises UserError with its line."""
    from valle.data.textfile import read_lines
    from valle.text import normalize

    numbers = [line.number for line in read_lines(args.text_file, args.ids)] if args.text_file else []
    for index, text in enumerate(texts):
        try:
            if args.strict_text:
                normalize(text, tts.units.language, strict=True)
            tts.symbols([text])
        except UserError as error:
            if not numbers:
                raise
            raise UserError(f"{args.text_file}:{numbers[index]}: {error}") from error


def _sampling(args: argparse.Namespace) -> Sampling:
    from valle.models.sampling import SPEECH_TOP_P, Sampling

    top_p = SPEECH_TOP_P if args.top_p is None else args.top_p
    try:
        return Sampling(args.temperature, args.top_k, top_p, args.repetition_aware, args.ras_window, args.ras_threshold)
    except ValueError as error:
        raise UserError(str(error)) from error


def _nar_sampling(args: argparse.Namespace) -> NARSampling:
    from valle.models.sampling import NARSampling

    try:
        return NARSampling(args.nar_temperature, args.nar_stages, args.nar_prompt_seconds)
    except ValueError as error:
        raise UserError(str(error)) from error


def _speak_data(args: argparse.Namespace) -> None:
    if args.output_dir is None:
        raise UserError("--data needs --output-dir")
    if args.data.is_file() and args.protocol != "closest":
        raise UserError(f"--protocol {args.protocol} is for data directories; a test list names its prompts")
    if args.prompt_seconds is not None and args.prompt_seconds < 0.5:
        raise UserError(f"--prompt-seconds {args.prompt_seconds}: a prompt needs at least 0.5 s")
    sampling, nar_sampling = _sampling(args), _nar_sampling(args)
    from valle.evaluation.test_set import DirectoryOptions, speak_all
    from valle.synthesis import load

    tts = load(args.model, args.codec_dir, args.device, args.decoder, args.dtype, args.compile, args.watermark)
    options = DirectoryOptions(
        args.protocol,
        args.prompt_seconds,
        args.voice_alone,
        args.num_candidates,
        args.batch_size,
        args.max_batch_tokens,
        args.limit,
        args.attempts,
    )
    done = speak_all(tts, args.data, args.output_dir, args.seed, sampling, nar_sampling, options)
    print(f"{args.output_dir}: {done} utterances spoken")


def _prompt(tts: TTS, args: argparse.Namespace) -> Prompt:
    """The voice to speak with; what is corrected in a recording is shown."""
    if args.prompt is None:
        return tts.voice() if args.voice is None else tts.voice(args.voice)
    log = logging.getLogger("valle")
    handler = logging.StreamHandler()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        return tts.prompt(args.prompt, args.prompt_text)
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)


def _main() -> None:
    args = _parser().parse_args()
    check_seed(args.seed)
    if args.ids and args.text_file is None:
        raise UserError("--ids goes with --text-file")
    if min(args.num_candidates, args.batch_size, 1 if args.attempts is None else args.attempts) < 1:
        raise UserError("--num-candidates, --batch-size and --attempts must be at least 1")
    if args.data is not None:
        if args.voice is not None or args.prompt is not None:
            raise UserError("--data has prompts of its own; leave --prompt and --voice out")
        _speak_data(args)
        return
    if args.prompt is None and args.prompt_text is not None:
        raise UserError("--prompt-text goes with --prompt; give the recording that says it")
    texts = _texts(args)
    for path in texts:
        if path.suffix.lower() not in (".wav", ".flac"):
            raise UserError(f"{path}: can only write .wav and .flac")

    sampling, nar_sampling = _sampling(args), _nar_sampling(args)
    from valle.synthesis import load

    tts = load(args.model, args.codec_dir, args.device, args.decoder, args.dtype, args.compile, args.watermark)
    _check_texts(tts, args, list(texts.values()))
    prompt = _prompt(tts, args)
    paths = list(texts)
    for start in range(0, len(paths), args.batch_size):
        batch = paths[start : start + args.batch_size]
        seeds = [(args.seed + args.num_candidates * (start + i)) % (MAX_SEED + 1) for i in range(len(batch))]
        spoken = tts.synthesize_batch(
            [texts[path] for path in batch],
            [prompt] * len(batch),
            seeds,
            sampling,
            args.num_candidates,
            nar_sampling,
            args.max_batch_tokens,
            args.attempts,
        )
        for index, speech in enumerate(spoken):
            path, candidate = batch[index // args.num_candidates], index % args.num_candidates
            if args.num_candidates > 1:
                path = path.with_stem(f"{path.stem}-{candidate + 1}")
            speech.audio.save(path)
            verdict = f", {speech.quality.verdict}" if speech.quality else ""
            print(f"{path}: {speech.audio.duration:.2f} s{verdict}")


def main() -> None:
    run(_main)

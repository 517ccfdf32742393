"""valle-voice: save voices under a name, and manage them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from valle.cli.common import Parser, examples, log_on_standard_error, run
from valle.errors import UserError


def _parser() -> Parser:
    parser = Parser(
        prog="valle-voice",
        description="Save voices under a name, for valle-synth --voice NAME, valle-serve and TTS.voice(NAME).",
        epilog=examples("valle-voice add anna 3s.wav --consent 'recorded by Anna herself'", "valle-voice list"),
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser(
        "add",
        help="save the voice of a recording",
        epilog=examples(
            "valle-voice add anna 3s.wav", "valle-voice add anna 3s.wav --text 'What it says.' --consent 'her own'"
        ),
    )
    add.add_argument("name", help="letters, digits, hyphens, underscores and points")
    add.add_argument("recording", type=Path, help="0.5 to 30 seconds of one person speaking")
    add.add_argument(
        "--text", help="what the recording says; default: as a recognizer hears it, where one is installed"
    )
    add.add_argument("--language", help="espeak-ng language tag of the recording; default: that of the text")
    add.add_argument("--consent", default="", help="note about the speaker's consent")
    add.add_argument("--replace", action="store_true", help="replace a saved voice of that name")
    add.add_argument("--model", default="small", help="run directory, or name of a model, that reads the recording")
    add.set_defaults(function=_add)
    names = commands.add_parser(
        "list", help="list all voices", epilog=examples("valle-voice list", "VALLE_HOME=project valle-voice list")
    )
    names.set_defaults(function=_list)
    show = commands.add_parser(
        "show", help="describe a voice", epilog=examples("valle-voice show anna", "valle-voice show clara")
    )
    show.add_argument("name")
    show.set_defaults(function=_show)
    remove = commands.add_parser(
        "remove",
        help="delete a saved voice",
        epilog=examples("valle-voice remove anna", "valle-voice remove old-voice"),
    )
    remove.add_argument("name")
    remove.set_defaults(function=_remove)
    export = commands.add_parser(
        "export",
        help="write a saved voice to a file",
        epilog=examples("valle-voice export anna anna.safetensors", "valle-voice export anna /backup/anna.safetensors"),
    )
    export.add_argument("name")
    export.add_argument("file", type=Path)
    export.set_defaults(function=_export)
    load = commands.add_parser(
        "import",
        help="save a voice that was exported",
        epilog=examples(
            "valle-voice import anna.safetensors", "valle-voice import anna.safetensors --name anna-2 --replace"
        ),
    )
    load.add_argument("file", type=Path)
    load.add_argument("--name", help="default: the name that it was exported with")
    load.add_argument("--replace", action="store_true", help="replace a saved voice of that name")
    load.set_defaults(function=_import)
    return parser


def _transcribe(recording: Path) -> str | None:
    """Return what a recognizer hears; None where none is installed."""
    from valle import audio

    try:
        from valle.evaluation.recognizer import SAMPLE_RATE, load_recognizer

        recognizer = load_recognizer()
    except UserError as error:
        print(f"{recording}: saved without a text, since {error}", file=sys.stderr)
        return None
    (text,) = recognizer.transcribe([audio.read(recording, SAMPLE_RATE).samples])
    print(f"{recording}: transcribed as {text.strip()!r}; give --text where this is wrong", file=sys.stderr)
    return text.strip() or None


def _add(args: argparse.Namespace) -> None:
    from valle import audio
    from valle.synthesis import load
    from valle.synthesis.prompt import MAX_PROMPT
    from valle.synthesis.saved_voices import check_name

    check_name(args.name)
    audio.read(args.recording, max_duration=MAX_PROMPT)
    tts = load(args.model)
    if args.language is not None:
        tts.check_language(args.language)
    text = args.text
    if text is None and (args.language or tts.units.language).startswith("en"):
        text = _transcribe(args.recording)
    elif text is None:
        print(f"{args.recording}: saved without a text: recordings in English only are transcribed", file=sys.stderr)
    with log_on_standard_error():
        voice = tts.save_voice(args.name, args.recording, text, args.language, args.consent, replace=args.replace)
    for problem in voice.problems:
        print(f"warning: {args.recording}: {problem}", file=sys.stderr)
    print(f"{args.name}: saved, {voice.seconds:.1f} s")


def _list(args: argparse.Namespace) -> None:
    from valle.synthesis.saved_voices import read_voice, saved_names, voice_path
    from valle.synthesis.voices import DEFAULT, voices

    for name in voices():
        print(f"{name}\tbundled{', default' if name == DEFAULT else ''}")
    for name in saved_names():
        try:
            voice = read_voice(voice_path(name), name)
            print(f"{name}\t{voice.seconds:.1f} s\t{voice.text or 'without text'}")
        except UserError as error:
            print(f"{name}\tdamaged: {error}")


def _show(args: argparse.Namespace) -> None:
    from valle.synthesis.saved_voices import read_voice, saved_names, voice_path
    from valle.synthesis.voices import describe_voice

    if args.name in saved_names():
        fields = read_voice(voice_path(args.name), args.name).describe()
    else:
        fields = {"name": args.name, **describe_voice(args.name)}
    for key, value in fields.items():
        shown = "; ".join(value) or "none" if isinstance(value, list) else value
        print(f"{key}: {shown if shown not in (None, '') else '-'}")


def _saved_path(name: str) -> Path:
    """Return the file of a voice that can be changed."""
    from valle.synthesis.saved_voices import saved_names, voice_path
    from valle.synthesis.voices import voices

    path = voice_path(name)
    if name not in saved_names():
        reason = "is bundled and stays" if name in voices() else "is not saved; valle-voice list names those that are"
        raise UserError(f"voice {name!r} {reason}")
    return path


def _remove(args: argparse.Namespace) -> None:
    _saved_path(args.name).unlink()
    print(f"{args.name}: removed")


def _export(args: argparse.Namespace) -> None:
    from valle.synthesis.saved_voices import read_voice, write_voice

    write_voice(read_voice(_saved_path(args.name), args.name), args.file)
    print(f"{args.file}: written")


def _import(args: argparse.Namespace) -> None:
    from valle.synthesis.saved_voices import read_voice, voice_path, write_voice
    from valle.synthesis.voices import voices

    voice = read_voice(args.file, args.name)
    path = voice_path(voice.name)
    if voice.name in voices():
        raise UserError(f"voice {voice.name!r} is bundled; give another --name")
    if path.exists() and not args.replace:
        raise UserError(f"voice {voice.name!r} is saved already; give another --name, or --replace")
    write_voice(voice, path)
    print(f"{voice.name}: saved, {voice.seconds:.1f} s")


def _main() -> None:
    args = _parser().parse_args()
    args.function(args)


def main() -> None:
    """Run the command."""
    run(_main)

"""Synthesize a file or standard input of any length for valle-synth."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from valle.audio_writer import check_suffix
from valle.errors import UserError
from valle.files import make_file_name, read_text
from valle.synthesis import TTS, Prompt, SynthesisOptions
from valle.synthesis.long_text import LongText, WrittenAudio, split_chapters, write_parts
from valle.synthesis.planning import TextPart
from valle.synthesis.timing import write_timestamps


def synthesize_file(tts: TTS, prompt: Prompt, args: argparse.Namespace, options: SynthesisOptions) -> None:
    """Synthesize one text to one file, or to a file for each chapter.

    Args:
        tts: The models.
        prompt: The voice.
        args: Arguments of valle-synth.
        options: How the text is synthesized.
    """
    output: Path = args.output_dir if args.chapters else args.output
    if not args.chapters:
        check_suffix(output)
    parts = _plan(tts, args, options)
    folder = output / ".parts" if args.chapters else output.with_name(f"{output.name}.parts")
    text = LongText(folder, tts, parts, prompt, args.seed, options)
    # A bar on a terminal only.
    with tqdm(total=len(parts), initial=text.num_saved(), unit="part", disable=not sys.stderr.isatty()) as bar:
        for part in text.synthesize():
            bar.update()
            bar.set_postfix_str(f"{part.seconds:.1f} s")
    rate = tts.codec.sample_rate
    if args.chapters:
        written = []
        for number, chapter in enumerate(split_chapters(text.saved()), 1):
            title = make_file_name(chapter[0].chapter or "beginning")
            written.append(write_parts(output / f"{number:02}-{title}.wav", chapter, rate))
    else:
        written = [write_parts(output, text.saved(), rate)]
    if args.timestamps is not None:
        write_timestamps(args.timestamps, written[0].words)
    text.remove()
    for audio in written:
        print(_summary(audio))


def _plan(tts: TTS, args: argparse.Namespace, options: SynthesisOptions) -> list[TextPart]:
    """Read and plan the text before anything is written."""
    if str(args.input) == "-":
        text = sys.stdin.read()
        name = "standard input"
    else:
        text = read_text(args.input)
        name = str(args.input)
    try:
        return list(tts.plan(text, options, args.language, strict=args.strict_text))
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _summary(audio: WrittenAudio) -> str:
    chapters = f", {len(audio.chapters)} chapters" if audio.chapters else ""
    return f"{audio.path}: {audio.seconds:.2f} s{chapters}"

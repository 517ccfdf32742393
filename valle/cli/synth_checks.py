"""Check the arguments of valle-synth before anything is loaded."""

from __future__ import annotations

import argparse

from valle.devices import check_seed
from valle.errors import UserError


def check_arguments(args: argparse.Namespace) -> None:
    """Raise UserError for arguments that do not go together.

    Args:
        args: Arguments of valle-synth.
    """
    check_seed(args.seed)
    _check_output(args)
    if args.ids and args.text_file is None:
        raise UserError("--ids goes with --text-file")
    if min(args.num_candidates, args.batch_size, 1 if args.attempts is None else args.attempts) < 1:
        raise UserError("--num-candidates, --batch-size and --attempts must be at least 1")
    if args.save_samples and (args.data is None or args.attempts != 1 or args.true_first_codes):
        raise UserError(
            "--save-samples goes with --data and --attempts 1: with more, codes of several candidates are joined"
        )
    if args.data is not None:
        if args.voice is not None or args.prompt is not None:
            raise UserError("--data has prompts of its own; leave --prompt and --voice out")
        if args.output_dir is None:
            raise UserError("--data needs --output-dir")
        if args.data.is_file() and args.protocol != "closest":
            raise UserError(f"--protocol {args.protocol} is for data directories; a test list names its prompts")
        if args.true_first_codes and args.data.is_file():
            raise UserError(
                f"--true-first-codes: {args.data} is a test list; give a data directory, which has recordings"
            )
        if args.protocol == "continuation" and (args.true_first_codes or not args.ar_prompt):
            raise UserError(
                "--protocol continuation has a prompt of the AR model; give --protocol reference or closest"
            )
        if args.prompt_seconds is not None and args.prompt_seconds < 0.5:
            raise UserError(f"--prompt-seconds {args.prompt_seconds}: a prompt needs at least 0.5 s")
    elif args.true_first_codes:
        raise UserError("--true-first-codes goes with --data DIRECTORY")
    elif args.prompt is None and args.prompt_text is not None:
        raise UserError("--prompt-text goes with --prompt; give the recording that says it")
    elif args.prompt is None and args.prompt_language is not None:
        raise UserError("--prompt-language goes with --prompt; a bundled voice has a language of its own")


def _check_output(args: argparse.Namespace) -> None:
    """Raise UserError for output files that do not fit the input."""
    one_text = args.input is not None or args.text is not None
    if args.timestamps is not None:
        from valle.synthesis.timing import check_timestamps_path

        check_timestamps_path(args.timestamps)
        if not one_text or args.num_candidates > 1 or args.chapters:
            raise UserError("--timestamps goes with one text, one candidate and one file; leave it out")
    if args.chapters and (args.input is None or args.output_dir is None):
        raise UserError("--chapters goes with FILE and --output-dir; give both")
    if one_text and args.output_dir is not None and not args.chapters:
        raise UserError("--output-dir goes with --text-file; give -o FILE for one text")
    if args.input is not None and args.num_candidates > 1:
        raise UserError("--num-candidates goes with --text, --text-file and --data; leave it out")

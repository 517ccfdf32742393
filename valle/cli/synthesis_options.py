"""Options of commands that synthesize speech."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from valle.errors import UserError

if TYPE_CHECKING:
    from valle.synthesis import SynthesisOptions


def add_synthesis_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `read_synthesis_options` reads, and --seed."""
    parser.add_argument("--seed", type=int, default=0, help="0 to 2^32 - 1; the same seed gives the same samples")
    parser.add_argument("--num-candidates", type=int, default=1, help="results per text; file names get -1, -2, ...")
    parser.add_argument(
        "--attempts",
        type=int,
        help="candidates of the first codebook, of which the one whose codes match the text best is selected "
        "(5 where a codec's codes stand for phones, as those of small, else 1)",
    )
    parser.add_argument("--speed", type=float, default=1.0, help="0.5 to 2, without change of pitch")
    parser.add_argument(
        "--pause-sentence", type=float, help="seconds of silence after each sentence; default: as the model pauses"
    )
    parser.add_argument("--pause-paragraph", type=float, help="seconds of silence after each paragraph (0.8)")
    first = parser.add_argument_group("the first codebook (AR model)")
    first.add_argument(
        "--ar-prompt",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="condition the AR model on the prompt; without it, its input is the text alone (ablation of the papers)",
    )
    first.add_argument("--temperature", type=float, default=1.0, help="0 takes the most likely code")
    first.add_argument("--top-k", type=int, help="sample from the k most likely codes")
    first.add_argument(
        "--top-p",
        type=float,
        help="nucleus sampling: the most likely codes up to this probability; 0: the most likely one (0.7)",
    )
    first.add_argument(
        "--repetition-aware",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="repetition aware sampling of VALL-E 2",
    )
    first.add_argument("--ras-window", type=int, default=10, help="K, previous codes that it considers")
    first.add_argument(
        "--ras-threshold", type=float, default=0.1, help="t_r, repetition ratio above which a code is sampled again"
    )
    first.add_argument(
        "--ras-reading",
        choices=("text", "formula"),
        default="text",
        help="repetition ratio: of the K codes before, as the paper's text (text), or also of the sampled code itself, "
        "as its formula is printed (formula)",
    )
    first.add_argument(
        "--attention-constraint",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="attention to the text moves forward only: fewer repeated words, slower (arXiv 2404.19723)",
    )
    first.add_argument(
        "--guidance",
        type=float,
        default=1.0,
        help="scale of classifier-free guidance towards the text, for models trained with text_dropout: 1 is off; "
        "steps take twice the time",
    )
    rest = parser.add_argument_group("the other codebooks (NAR model)")
    rest.add_argument(
        "--nar-temperature",
        type=float,
        help="0 takes the most likely codes, as the papers; default: the predicted mean, where the model has one",
    )
    rest.add_argument(
        "--nar-guidance",
        type=float,
        default=1.0,
        help="as --guidance, for the NAR model's logits; a model with latent regression needs --nar-temperature",
    )
    rest.add_argument("--nar-stages", type=int, default=7, help="codebooks filled in after the first")
    rest.add_argument("--nar-prompt-seconds", type=float, help="longest acoustic prompt; default: as in training")
    rest.add_argument(
        "--nar-prompt-prefix",
        action="store_true",
        help="the prompt is the prefix of the codes, no acoustic condition (ablation of VALL-E 2, for a model trained "
        "without acoustic prompts)",
    )


def read_synthesis_options(args: argparse.Namespace) -> SynthesisOptions:
    """Return the options that were given.

    Raises:
        UserError: An option is out of range.
    """
    from valle.models.sampling import SPEECH_TOP_P, NARSampling, Sampling
    from valle.synthesis.options import SynthesisOptions

    try:
        return SynthesisOptions(
            sampling=Sampling(
                temperature=args.temperature,
                top_k=args.top_k,
                top_p=SPEECH_TOP_P if args.top_p is None else args.top_p,
                repetition_aware=args.repetition_aware,
                ras_window=args.ras_window,
                ras_threshold=args.ras_threshold,
                ras_reading=args.ras_reading,
            ),
            nar_sampling=NARSampling(
                temperature=args.nar_temperature,
                stages=args.nar_stages,
                prompt_seconds=args.nar_prompt_seconds,
                prompt_prefix=args.nar_prompt_prefix,
            ),
            ar_prompt=args.ar_prompt,
            attention_constraint=args.attention_constraint,
            speed=args.speed,
            pause_sentence=args.pause_sentence,
            pause_paragraph=args.pause_paragraph,
            guidance=args.guidance,
            nar_guidance=args.nar_guidance,
            attempts=args.attempts,
            candidates=args.num_candidates,
            max_batch_tokens=args.max_batch_tokens,
        )
    except ValueError as error:
        raise UserError(str(error)) from error

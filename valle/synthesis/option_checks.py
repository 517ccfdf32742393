"""Check that options fit the models: which inputs and extensions they were trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from valle.errors import UserError, warn_user
from valle.extensions.latent_regression import LatentRegressionNAR
from valle.extensions.phoneme_stream import PhonemeStreamAR
from valle.synthesis.options import SynthesisOptions
from valle.synthesis.prompt import Prompt, PromptWarning

if TYPE_CHECKING:
    from valle.synthesis.pipeline import TTS


def check_options(
    tts: TTS,
    options: SynthesisOptions,
    prompts: Sequence[Prompt],
    *,
    has_first_codes: bool = False,
    has_durations: bool = False,
) -> None:
    """Check options, and whether the AR model was trained with such prompts.

    Args:
        tts: The models.
        options: How texts are synthesized.
        prompts: The voice of each text.
        has_first_codes: Whether the first codebook is given.
        has_durations: Whether durations are given.

    Raises:
        UserError: An option does not fit the models or a prompt.

    Warns:
        PromptWarning: A prompt is untranscribed, and the AR model was not trained with such prompts.
    """
    modes = {prompt.mode for prompt in prompts}
    follows_text = isinstance(tts.ar, PhonemeStreamAR)
    if has_durations and not follows_text:
        raise UserError("durations: the model was trained without a phoneme stream; leave them out")
    if options.attention_constraint and follows_text:
        raise UserError("attention_constraint: the model follows the text by its phoneme stream; leave it out")
    if options.attention_constraint and not tts.guided_attention:
        raise UserError("attention_constraint: the model was trained without guided attention; leave it out")
    if options.attention_constraint and "continuation" in modes:
        raise UserError("attention_constraint: where a continuation begins in its text is not known; leave it out")
    _check_guidance(tts, options)
    if "untranscribed" in modes and not tts.untranscribed_prompts and options.ar_prompt and not has_first_codes:
        warn_user(
            "the model was trained without untranscribed prompts (untranscribed_prompt_prob 0): "
            "the voice and the words will be poor; give the prompt's text",
            PromptWarning,
        )


def _check_guidance(tts: TTS, options: SynthesisOptions) -> None:
    trained = {"guidance": tts.text_dropout, "nar_guidance": tts.nar_text_dropout}
    for name, dropped in trained.items():
        scale = getattr(options, name)
        if scale != 1 and not dropped:
            raise UserError(
                f"{name} {scale:g}: the model was trained without text_dropout; leave it out, or fine-tune the model "
                "with it"
            )
    predicts_mean = isinstance(tts.nar, LatentRegressionNAR) and options.nar_sampling.temperature is None
    if options.nar_guidance != 1 and predicts_mean:
        raise UserError("nar_guidance: the model takes predicted means, not logits; give a NAR temperature too")

"""What is decoded for a text: its parts with the voice, the ids and the seed of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from valle.errors import UserError
from valle.extensions.phoneme_path import check_durations
from valle.extensions.phoneme_stream import PhonemeStreamAR
from valle.synthesis.options import SynthesisOptions
from valle.synthesis.parts import PART_SEED, PartJob
from valle.synthesis.planning import MAX_CONTINUATION, TextPart, split_encoded
from valle.synthesis.prompt import Prompt
from valle.text.encoded import EncodedText

if TYPE_CHECKING:
    from valle.synthesis.pipeline import TTS

# A text, whole or in pieces; or encoded; or what `TTS.plan` returns.
Text = str | Iterable[str] | EncodedText | Sequence[TextPart]


def text_parts(
    tts: TTS, text: Text, prompt: Prompt, options: SynthesisOptions, language: str | None = None
) -> Iterator[TextPart]:
    """Split a text into parts.

    A text that continues its prompt stays whole.

    Args:
        tts: The models.
        text: The text.
        prompt: The voice.
        options: How it is synthesized.
        language: espeak-ng language tag of a text that is not encoded; None: the model's default.

    Raises:
        UserError: The text cannot be spoken, or one that continues its prompt has more than `MAX_CONTINUATION` units.
    """
    if prompt.mode == "continuation":
        encoded = tts.encode_text(text, language=language) if isinstance(text, str) else text
        if not isinstance(encoded, EncodedText):
            raise UserError("a text that continues its prompt stays whole; give it as one string")
        length = tts.units.length(list(encoded.symbols))
        if length > MAX_CONTINUATION:
            raise UserError(
                f"a text of {length} units that begins with the prompt's words is too long to continue "
                f"(at most {MAX_CONTINUATION}); give the prompt's text and the rest apart"
            )
        yield TextPart(encoded)
    elif isinstance(text, EncodedText):
        for encoded, ending in split_encoded(text, tts.units):
            yield TextPart(encoded, ending)
    elif isinstance(text, Sequence) and not isinstance(text, str) and all(isinstance(p, TextPart) for p in text):
        yield from text  # type: ignore[misc]
    else:
        yield from tts.plan(text, options, language)  # type: ignore[arg-type]


def make_job(tts: TTS, part: TextPart, prompt: Prompt, *, text: int, number: int, seed: int) -> PartJob:
    """Return what is decoded for a part of a text.

    Args:
        tts: The models.
        part: The part.
        prompt: The voice.
        text: Index of the text.
        number: Number of the part in the text, on which its seed depends.
        seed: Of the text.
    """
    joint = tts.units.join(list(prompt.symbols), list(part.encoded.symbols))
    return PartJob(
        text=text,
        part=part,
        joint=torch.tensor(tts.vocabulary.encode(joint)),
        target=torch.tensor(part.encoded.ids),
        prompt=prompt,
        seed=seed + PART_SEED * number,
        language=tts.check_language(part.encoded.language),
    )


def whole_job(
    tts: TTS,
    text: str | EncodedText,
    prompt: Prompt,
    *,
    number: int,
    seed: int,
    first: Tensor | None,
    durations: Sequence[int] | None,
) -> PartJob:
    """Return what is decoded for a text that is not split, since its codes or durations are given.

    Args:
        tts: The models.
        text: The text.
        prompt: The voice.
        number: Index of the text.
        seed: Of the text.
        first: (time,) first codebook.
        durations: See `TTS.synthesize_batch`.

    Raises:
        UserError: The durations do not fit the text.
    """
    encoded = tts.encode_text(text) if isinstance(text, str) else text
    if durations is not None and isinstance(tts.ar, PhonemeStreamAR):
        check_durations(durations, torch.tensor(encoded.ids), tts.ar.roles, tts.ar.group_size * tts.codec.merge)
    job = make_job(tts, TextPart(encoded), prompt, text=number, number=0, seed=seed)
    return PartJob(**{**vars(job), "first": first, "durations": durations})

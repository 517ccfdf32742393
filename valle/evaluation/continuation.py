"""Scoring of continuations without their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from valle import audio
from valle.errors import UserError
from valle.evaluation.items import ScoringItem
from valle.evaluation.recognizer import words
from valle.evaluation.test_set import PROMPT_SECONDS, read_synthesis_records


def without_prompts(items: Sequence[ScoringItem]) -> list[ScoringItem]:
    """Limit the scored part of continuations to what follows the prompt.

    A continuation (VALL-E, section 4.3) begins with its prompt, the first seconds of the recording. Scored as a whole,
    its similarity to the prompt is partly that of the prompt to itself. Recordings and codec resynthesis are limited to
    the same part. Its words are those after the transcript of the prompt, where that is available and the text begins
    with it.

    Args:
        items: Test set with the prompts of all utterances.

    Raises:
        UserError: An utterance has no prompt, or valle-synth did not synthesize it as a continuation.
    """
    records = {folder: read_synthesis_records(folder) for folder in {i.synthesized[0].parent for i in items}}
    result = []
    for item in items:
        if item.prompt is None:
            raise UserError(f"utterance {item.id!r}: has no prompt in prompts.scp, which --continuation-only needs")
        seconds = audio.duration(item.prompt)
        # Systems other than valle-synth write no records. All candidates have the same prompt.
        path = item.synthesized[0]
        record = records[path.parent].get(path.name, {PROMPT_SECONDS: seconds})
        if PROMPT_SECONDS not in record:
            raise UserError(
                f"{path}: is no continuation with its prompt; synthesize with --protocol continuation, or leave "
                "--continuation-only out"
            )
        # The prompt in a synthesized file has whole frames and groups of codes.
        limited = replace(
            item, offset=seconds, synthesized_offset=record[PROMPT_SECONDS], text=_text_after_prompt(item)
        )
        result.append(limited)
    return result


def _text_after_prompt(item: ScoringItem) -> str | None:
    """Return the normalized words after those of the prompt; None where they are not available."""
    text = words(item.text or "").split()
    prompt = words(item.prompt_text or "").split()
    if not prompt or text[: len(prompt)] != prompt:
        return None
    return " ".join(text[len(prompt) :]) or None

"""Word and character errors of a transcript against the target text."""

from __future__ import annotations

from typing import NamedTuple

from valle.optional import require


class WordErrors(NamedTuple):
    """Word errors of a transcript.

    Attributes:
        words: Number of words of the reference.
        errors: Substitutions, deletions and insertions.
        last_word_deleted: Whether the transcript lacks the last word of the reference.
    """

    words: int
    errors: int
    last_word_deleted: bool


def word_errors(reference: str, transcript: str) -> WordErrors:
    """Count the word errors of a transcript. Both texts are normalized (`valle.evaluation.recognizer.words`)."""
    jiwer = require("jiwer", "eval")
    if not reference:
        return WordErrors(0, len(transcript.split()), False)
    output = jiwer.process_words(reference, transcript)
    # The alignment ends with a deletion where the transcript lacks the last word.
    errors = output.substitutions + output.deletions + output.insertions
    return WordErrors(len(output.references[0]), errors, output.alignments[0][-1].type == "delete")


def character_errors(reference: str, transcript: str) -> tuple[int, int]:
    """Return the number of characters of the reference and the number of character errors of the transcript.

    Both texts are normalized (`valle.evaluation.recognizer.words`).
    """
    jiwer = require("jiwer", "eval")
    if not reference:
        return 0, len(transcript)
    output = jiwer.process_characters(reference, transcript)
    return len(reference), output.substitutions + output.deletions + output.insertions


def align_words(reference: str, transcript: str) -> list[tuple[str, str]]:
    """Align a transcript with the target text; both are normalized.

    Returns:
        Parts in their order as ("equal" | "delete" | "insert", words); a substitution is a deletion and an insertion.
    """
    jiwer = require("jiwer", "eval")
    if not reference:
        return [("insert", transcript)] if transcript else []
    output = jiwer.process_words(reference, transcript)
    parts: list[tuple[str, str]] = []
    for chunk in output.alignments[0]:
        deleted = " ".join(output.references[0][chunk.ref_start_idx : chunk.ref_end_idx])
        inserted = " ".join(output.hypotheses[0][chunk.hyp_start_idx : chunk.hyp_end_idx])
        if chunk.type == "equal":
            parts.append(("equal", inserted))
        else:
            # A substitution has words on both sides, a deletion or insertion on one.
            parts += [(kind, part) for kind, part in (("delete", deleted), ("insert", inserted)) if part]
    return parts

"""Byte pair encoding: text units learned from text, as VALL-E 2 has in place of phonemes (section 4.1.1)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from valle.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN = "<unk>"


def train_bpe(texts: Iterable[str], size: int) -> str:
    """Learn at most `size` units from normalized texts; returns the tokenizer as JSON.

    A unit never crosses a word; case is not kept. Raises UserError when `size` is less than the text has characters.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() > size:
        raise UserError(f"{size} units are fewer than the text has characters; {tokenizer.get_vocab_size()} are needed")
    return tokenizer.to_str()


def read_bpe(path: Path) -> str:
    """The JSON in a file of `valle-prepare bpe`. Raises UserError when it is none."""
    try:
        text = path.read_text(encoding="utf-8")
        _load(text)
    except Exception as error:  # `tokenizers` raises plain Exception for a file it does not understand
        reason = error.strerror if isinstance(error, OSError) else "is no tokenizer"
        raise UserError(f"{path}: {reason}; make one with valle-prepare bpe") from error
    return text


@cache
def _load(tokenizer: str) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(tokenizer)


def bpe_symbols(tokenizer: str) -> list[str]:
    """Every unit, in the order of its id."""
    vocabulary = _load(tokenizer).get_vocab()
    return sorted(vocabulary, key=lambda unit: vocabulary[unit])


def bpe_units(texts: list[str], tokenizer: str) -> list[list[str]]:
    """Units of each normalized text. Raises UserError that names a character no unit holds."""
    found = []
    for text, encoding in zip(texts, _load(tokenizer).encode_batch(texts), strict=True):
        for unit, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            if unit == UNKNOWN:
                raise UserError(
                    f"text {text[:40]!r}: {text[start:end]!r} does not occur in what the text units were learned from"
                )
        found.append(encoding.tokens)
    return found

"""Byte pair encoding: text units learned from text, which VALL-E 2 uses in place of phonemes (section 4.1.1)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valle.errors import UserError
from valle.optional import require

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN = "<unk>"


def train_bpe(texts: Iterable[str], size: int) -> str:
    """Learn units from text. A unit never extends beyond a word; letters are lowercase.

    Args:
        texts: Normalized texts.
        size: Maximum number of units.

    Returns:
        The tokenizer as JSON.

    Raises:
        UserError: `size` is less than the number of different characters, or the package tokenizers is not installed.
    """
    package: Any = require("tokenizers", "train")
    tokenizer = package.Tokenizer(package.models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = package.normalizers.Lowercase()
    tokenizer.pre_tokenizer = package.pre_tokenizers.Metaspace()
    trainer = package.trainers.BpeTrainer(vocab_size=size, special_tokens=[UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() > size:
        raise UserError(f"{size} units are fewer than the text has characters; {tokenizer.get_vocab_size()} are needed")
    return tokenizer.to_str()


def read_bpe(path: Path) -> str:
    """Read a tokenizer that `valle-prepare bpe` wrote, as JSON. Raises UserError for another file."""
    try:
        text = path.read_text(encoding="utf-8")
        _load(text)
    except UserError:
        raise
    # `tokenizers` raises a plain Exception for a file that it cannot parse.
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) else "is no tokenizer"
        raise UserError(f"{path}: {reason}; make one with valle-prepare bpe") from error
    return text


@cache
def _load(tokenizer: str) -> Tokenizer:
    return require("tokenizers", "train").Tokenizer.from_str(tokenizer)


def bpe_symbols(tokenizer: str) -> list[str]:
    """Return every unit of a tokenizer (JSON), in the order of its id."""
    vocabulary = _load(tokenizer).get_vocab()
    return sorted(vocabulary, key=lambda unit: vocabulary[unit])


def bpe_units(texts: list[str], tokenizer: str) -> list[list[str]]:
    """Split texts into units.

    Args:
        texts: Normalized texts.
        tokenizer: The tokenizer as JSON.

    Returns:
        The units of each text.

    Raises:
        UserError: A character is in no unit.
    """
    result = []
    for text, encoding in zip(texts, _load(tokenizer).encode_batch(texts), strict=True):
        for unit, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            if unit == UNKNOWN:
                raise UserError(
                    f"text {text[:40]!r}: {text[start:end]!r} does not occur in the text that the units were learned "
                    "from; leave it out, or use another model"
                )
        result.append(encoding.tokens)
    return result

"""Text to the symbols and ids that a model reads, word by word."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby

from valle.errors import UserError
from valle.text.encoded import EncodedText, EncodedWord
from valle.text.lexicon import Lexicon
from valle.text.normalization import normalize
from valle.text.phonemizer import PUNCTUATION
from valle.text.phones import nearest_phones
from valle.text.script import Sentence, Span
from valle.text.units import TextUnits
from valle.text.vocabulary import PADDING, Vocabulary
from valle.text.words import Token, map_boundaries, phones_alone, read_tokens

_LEADING = re.compile(r"\s*([,.;:?!])")


@dataclass(frozen=True)
class TextEncoder:
    """Encodes text for a model.

    Attributes:
        units: Makes symbols of text.
        vocabulary: The model's symbols.
        languages: espeak-ng language tags that the model was trained on; empty: that of `units`.
        lexicon: Pronunciations that replace those of espeak-ng; None: none do.
    """

    units: TextUnits
    vocabulary: Vocabulary
    languages: tuple[str, ...] = ()
    lexicon: Lexicon | None = None

    def check_language(self, language: str | None) -> str:
        """Return a language of the model, its default for None.

        Raises:
            UserError: The model does not have the language.
        """
        available = self.languages or (self.units.language,)
        if language is None:
            return self.units.language
        if language not in available:
            raise UserError(f"language {language!r}: the model was trained on {', '.join(available)}; give one of them")
        return language

    def check_lexicon(self, name: object) -> None:
        """Raise UserError for an entry of the lexicon that the model cannot read.

        Args:
            name: Of the lexicon, for the message.
        """
        for word, entry in (self.lexicon.entries if self.lexicon else {}).items():
            try:
                self.encode(Sentence((entry,)), strict=True)
            except UserError as error:
                raise UserError(f"{name}: {word}: {error}") from error

    def encode(self, text: str | Sentence, *, strict: bool = False, language: str | None = None) -> EncodedText:
        """Normalize a text, make symbols of it, and look them up in the vocabulary.

        Args:
            text: What to synthesize; marks in a string are not read (`valle.text.reading.read_script`).
            strict: Whether what cannot be spoken is an error and not left out.
            language: espeak-ng language tag of the text; None: the model's default.

        Raises:
            UserError: The text cannot be spoken, or the model does not have the language.
        """
        language = self.check_language(language)
        sentence = Sentence((Span(text),)) if isinstance(text, str) else text
        if self.lexicon is not None:
            sentence = self.lexicon.apply(sentence)
        result = _Result()
        first = 0
        for spoken, group in groupby(sentence.spans, key=lambda span: span.language or language):
            spans = list(group)
            starts = self._add_spans(result, spans, spoken, strict=strict, foreign=spoken != language)
            for mark in sentence.marks:
                if first <= mark.span < first + len(spans):
                    result.marks.append((mark.name, starts[mark.span - first]))
            first += len(spans)
        result.marks += [(mark.name, len(result.symbols)) for mark in sentence.marks if mark.span >= first]
        return EncodedText(
            text=sentence.text if isinstance(text, Sentence) else text,
            symbols=tuple(result.symbols),
            ids=tuple(self.vocabulary.encode(result.symbols)),
            language=language,
            words=tuple(result.words),
            marks=tuple(result.marks),
            space=() if self.units.bpe else tuple(self.vocabulary.encode([" "])),
        )

    def _add_spans(
        self, result: _Result, spans: list[Span], language: str, *, strict: bool, foreign: bool
    ) -> list[int]:
        """Add the symbols and words of spans of one language.

        Returns:
            Index of the first symbol of each span.
        """
        text, tokens = read_tokens(spans)
        if result.symbols and (leading := _LEADING.match(text)):
            # Normalization removes punctuation without a word before it.
            result.symbols.append(leading[1])
            result.extend_last_word(leading[1])
        if not tokens and result.symbols:
            return [len(result.symbols)] * len(spans)
        (own,) = TextUnits(language, self.units.bpe)([normalize(text, language, strict=strict)])
        own = self._available(own, language, foreign=foreign)
        if result.symbols and not self.units.bpe:
            result.symbols.append(" ")
            result.extend_last_word("")
        starts = [-1] * len(spans)
        for token, (start, end) in zip(tokens, self._ranges(tokens, own, language), strict=True):
            symbols = own[start:end]
            span = spans[token.span]
            if span.phonemes is not None:
                ending = len(symbols)
                while ending and symbols[ending - 1] in PUNCTUATION + " ":
                    ending -= 1
                symbols = self._parse_phonemes(span.text, span.phonemes) + symbols[ending:]
            if starts[token.span] < 0:
                starts[token.span] = len(result.symbols)
            result.add_word(token.written, symbols)
        following = len(result.symbols)
        for index in reversed(range(len(starts))):
            following = starts[index] = starts[index] if starts[index] >= 0 else following
        return starts

    def _available(self, symbols: list[str], language: str, *, foreign: bool = False) -> list[str]:
        """Replace phones that the model does not have by the nearest ones that it has.

        The replacements are those of American English.
        """
        english = any(name.startswith("en") for name in (language, *self.languages))
        if self.units.bpe is not None or not (english or foreign):
            return symbols
        available = self.vocabulary.symbols
        replaced = []
        for symbol in symbols:
            replaced += [symbol] if symbol in available else nearest_phones(symbol, available) or [symbol]
        return replaced

    def _parse_phonemes(self, word: str, phonemes: str) -> list[str]:
        """Split a pronunciation in IPA into symbols of the model, the longest first."""
        if self.units.bpe is not None:
            raise UserError(f"[{word}](/{phonemes}/): the model reads byte pairs, not phonemes; write words")
        available = sorted(set(self.vocabulary.symbols) - {PADDING}, key=len, reverse=True)
        symbols: list[str] = []
        rest = " ".join(phonemes.split()).replace("'", "ˈ").replace("g", "ɡ")
        while rest:
            symbol = next((symbol for symbol in available if rest.startswith(symbol)), None)
            if symbol is None:
                replacement = nearest_phones(rest[0], available)
                if not replacement:
                    raise UserError(f"[{word}](/{phonemes}/): {rest[0]!r} is no phone that the model has; use its IPA")
                symbols += replacement
            else:
                symbols.append(symbol)
            rest = rest[len(symbol or rest[0]) :]
        return symbols

    def _ranges(self, tokens: list[Token], symbols: list[str], language: str) -> list[tuple[int, int]]:
        """Return which symbols, from the first to before the last, are those of each word."""
        if self.units.bpe is not None:
            alone = [list(token.read) for token in tokens]
            whole = [character for symbol in symbols for character in symbol]
            ends = list(accumulate(len(symbol) for symbol in symbols))
        else:
            alone = [self._available(p, language) for p in phones_alone([token.read for token in tokens], language)]
            whole = symbols
            ends = list(range(1, len(symbols) + 1))
        ranges = []
        start = 0
        for position in [*map_boundaries(alone, whole), len(whole)]:
            end = next(index for index, last in enumerate(ends, 1) if last >= position) if position else 0
            end = max(start, end)
            # An r that links to the next word, punctuation and a space belong to the word before them.
            if symbols[end : end + 2] == ["ɹ", " "] and end > start:
                end += 1
            while end < len(symbols) and end > start and symbols[end] in PUNCTUATION + " ":
                end += 1
            ranges.append((start, end))
            start = end
        ranges[-1] = (ranges[-1][0], len(symbols))
        return ranges


@dataclass
class _Result:
    """What was encoded so far."""

    symbols: list[str] = field(default_factory=list)
    words: list[EncodedWord] = field(default_factory=list)
    marks: list[tuple[str, int]] = field(default_factory=list)
    waiting: str = ""  # words without symbols, which belong to the next one

    def add_word(self, written: str, symbols: list[str]) -> None:
        written = f"{self.waiting} {written}".strip()
        self.waiting = ""
        if symbols:
            start = len(self.symbols)
            self.symbols += symbols
            self.words.append(EncodedWord(written, start, len(self.symbols)))
        elif self.words:
            self.words[-1] = replace(self.words[-1], text=f"{self.words[-1].text} {written}")
        else:
            self.waiting = written

    def extend_last_word(self, written: str) -> None:
        """Add punctuation to the last word, and let it have all symbols to the end."""
        if self.words:
            self.words[-1] = EncodedWord(self.words[-1].text + written, self.words[-1].start, len(self.symbols))

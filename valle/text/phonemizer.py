"""Words to phonemes: phonemizer with the espeak-ng library that the `espeakng-loader` wheel brings."""

from __future__ import annotations

import logging
import re
from functools import cache

from valle.errors import UserError

PUNCTUATION = ",.?!;:"
STRESS = "ˈˌ"
_SYMBOL = re.compile(rf"[ {PUNCTUATION}{STRESS}]|[^ _{PUNCTUATION}{STRESS}]+")


@cache
def _backend(language: str):
    import espeakng_loader
    from phonemizer.backend import EspeakBackend
    from phonemizer.backend.espeak.wrapper import EspeakWrapper

    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    if not EspeakBackend.is_supported_language(language):
        raise UserError(
            f"language {language!r}: espeak-ng does not know it; use a tag such as en-us, en-gb, de or fr-fr"
        )
    silent = logging.getLogger("valle.phonemizer")
    silent.setLevel(logging.ERROR)
    return EspeakBackend(
        language,
        preserve_punctuation=True,
        punctuation_marks=PUNCTUATION,
        with_stress=True,
        language_switch="remove-flags",
        logger=silent,
    )


def phonemize(texts: list[str], language: str = "en-us") -> list[list[str]]:
    """Phoneme symbols of each normalized text: phones, stress marks, spaces between words, punctuation.

    Raises UserError when espeak-ng does not know `language`.
    """
    from phonemizer.separator import Separator

    spoken = _backend(language).phonemize(texts, Separator(phone="_", word=" "), strip=True)
    return [_SYMBOL.findall(" ".join(line.split())) for line in spoken]

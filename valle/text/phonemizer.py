"""Words to phonemes: the package phonemizer with the espeak-ng library of the `espeakng-loader` wheel."""

from __future__ import annotations

import logging
import re
import threading
from functools import cache
from typing import Any

from valle.errors import UserError

PUNCTUATION = ",.?!;:"
STRESS = "ˈˌ"
_lock = threading.Lock()
_SYMBOL = re.compile(rf"[ {PUNCTUATION}{STRESS}]|[^ _{PUNCTUATION}{STRESS}]+")


@cache
def _backend(language: str) -> Any:
    import espeakng_loader
    from phonemizer.backend import EspeakBackend
    from phonemizer.backend.espeak.wrapper import EspeakWrapper

    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    # The package warns of differences in the number of words, which do not matter here.
    logger = logging.getLogger("valle.phonemizer")
    logger.setLevel(logging.ERROR)
    try:
        return EspeakBackend(
            language,
            preserve_punctuation=True,
            punctuation_marks=PUNCTUATION,
            with_stress=True,
            language_switch="remove-flags",
            logger=logger,
        )
    except RuntimeError as error:
        # Asked only now: each question starts espeak-ng anew.
        if EspeakBackend.is_supported_language(language):
            raise
        raise UserError(
            f"language {language!r}: not supported by espeak-ng; use a tag such as en-us, en-gb, de or fr-fr"
        ) from error


def phonemize(texts: list[str], language: str = "en-us") -> list[list[str]]:
    """Convert normalized texts to phonemes.

    Args:
        texts: Normalized texts.
        language: Language tag of espeak-ng.

    Returns:
        The symbols of each text: phones, stress marks, spaces between words, and punctuation.

    Raises:
        UserError: espeak-ng does not support the language.
    """
    from phonemizer.separator import Separator

    # espeak-ng has one state for all threads.
    with _lock:
        lines = _backend(language).phonemize(texts, Separator(phone="_", word=" "), strip=True)
    return [_SYMBOL.findall(" ".join(line.split())) for line in lines]

"""Words to phonemes."""

from __future__ import annotations

import pytest

from valle.errors import UserError
from valle.text import phonemize


def test_phonemes_hold_spaces_stress_and_punctuation_also_in_batches() -> None:
    both = phonemize(["Hello, world.", "Yes?"])
    assert both == [phonemize(["Hello, world."])[0], phonemize(["Yes?"])[0]]
    assert {",", ".", " ", "ˈ"} <= set(both[0])
    assert both[1][-1] == "?"


def test_other_languages_are_phonemized_and_unsupported_ones_named() -> None:
    assert phonemize(["Guten Morgen"], "de")[0]
    with pytest.raises(UserError, match="xx-none"):
        phonemize(["hello"], "xx-none")

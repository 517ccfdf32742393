"""Every command explains itself."""

from __future__ import annotations

import pytest

from tests.conftest import command


@pytest.mark.parametrize("name", ["prepare", "tokenize", "synth", "eval", "voice", "serve", "export"])
def test_help_ends_with_two_examples(name: str) -> None:
    text = command(f"valle-{name}", "--help").stdout
    lines = text[text.index("examples:") :].strip().splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"  valle-{name} ") or line.strip() == f"valle-{name}" for line in lines[1:])


@pytest.mark.parametrize("name", ["voice add", "voice list", "voice import", "export hf", "export push"])
def test_help_of_subcommands_has_examples(name: str) -> None:
    words = name.split()
    text = command(f"valle-{words[0]}", *words[1:], "--help").stdout
    assert text.count(f"  valle-{name} ") >= 1 or f"valle-{name}" in text

"""docs/fidelity.md refers to existing code and tests, and the defaults are those of the papers."""

from __future__ import annotations

import inspect
import re

import pytest

from tests.conftest import ROOT
from valle.models.config import TransformerConfig
from valle.models.sampling import Sampling
from valle.training import ARModule, NARModule

DOCUMENT = ROOT / "docs" / "fidelity.md"


def test_every_function_and_test_in_the_document_exists() -> None:
    text = DOCUMENT.read_text()
    references = re.findall(r"`([a-z_0-9/]+\.py):(\w+)`", text)
    tests = set(re.findall(r"`(test_\w+)`", text))
    assert len(references) > 40
    assert len(tests) > 25
    for file, name in references:
        source = (ROOT / "valle" / file).read_text()
        assert re.search(rf"^\s*(class|def) {name}\b", source, re.MULTILINE), (file, name)
    all_tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert {name for name in tests if f"def {name}(" not in all_tests} == set()


def test_every_difference_is_explained() -> None:
    text = DOCUMENT.read_text()
    marked = {int(n) for n in re.findall(r"(?:\*\*differs\*\*:|see) (\d+)", text)}
    explained = {int(n) for n in re.findall(r"^(\d+)\. ", text, re.MULTILINE)}
    assert marked == explained


def test_defaults_are_those_of_the_papers() -> None:
    config = TransformerConfig()
    assert (config.layers, config.heads, config.dim, config.ffn_dim, config.dropout) == (12, 16, 1024, 4096, 0.1)
    assert (Sampling().ras_window, Sampling().ras_threshold) == (10, 0.1)
    assert not Sampling().repetition_aware
    for module in (ARModule, NARModule):
        options = inspect.signature(module).parameters
        assert options["learning_rate"].default == pytest.approx(5e-4)
        assert options["warmup_steps"].default == 32_000
        assert options["layout"].default == "valle"
    assert inspect.signature(ARModule).parameters["group_size"].default == 1
    assert inspect.signature(ARModule).parameters["tie_embeddings"].default

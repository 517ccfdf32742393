"""Recipes of valle-train: values of the papers, and limits of batches that belong together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from valle.data.utterance import MAX_DURATION
from valle.models.positions import MAX_POSITIONS
from valle.training.recipe_config import with_bases

RECIPES = sorted((ROOT / "recipes").glob("*/*.yaml"))
FULL_SIZE = [path for path in RECIPES if path.parent.name in ("valle", "valle2", "libritts") and path.stem != "base"]
# Frames per second of EnCodec.
FRAME_RATE = 75
# `TokensDataModule`.
DEFAULT_MAX_UTTERANCE = 20


def merge(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """Replace the values of one mapping by those of another one, in nested mappings, too."""
    merged = dict(lower)
    for key, value in upper.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if nested else value
    return merged


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe with all that it builds on."""
    recipe: dict[str, Any] = {}
    for argument in with_bases(["--config", str(path)]):
        if argument != "--config":
            recipe = merge(recipe, yaml.safe_load(Path(argument).read_text(encoding="utf-8")))
    return recipe


def arguments_of(path: Path, part: str) -> dict[str, Any]:
    """The arguments of the model or the data module of a recipe."""
    return read_recipe(path)[part]["init_args"]


def test_valle_trains_without_untranscribed_prompts_and_prefixes() -> None:
    ar = arguments_of(ROOT / "recipes" / "valle" / "ar.yaml", "model")
    nar = arguments_of(ROOT / "recipes" / "valle" / "nar.yaml", "model")
    assert ar["untranscribed_prompt_prob"] == 0
    assert (nar["prefix_prompt_prob"], nar["prompt_seconds"]) == (0, 3)
    assert nar.get("max_prompt_seconds", 0) == 0


@pytest.mark.parametrize("group_size", [1, 2, 4, 8])
def test_valle2_trains_on_prefixes_of_3_to_30_seconds(group_size: int) -> None:
    folder = ROOT / "recipes" / "valle2"
    ar = arguments_of(folder / f"ar_g{group_size}.yaml", "model")
    nar = arguments_of(folder / f"nar_g{group_size}.yaml", "model")
    assert (ar["untranscribed_prompt_prob"], ar["group_size"]) == (0, group_size)
    assert (nar["prefix_prompt_prob"], nar["prompt_seconds"], nar["max_prompt_seconds"]) == (1, 3, 30)
    # A prompt is at most half of its utterance.
    for name in ("ar", "nar"):
        assert arguments_of(folder / f"{name}_g{group_size}.yaml", "data")["max_utterance"] // 2 == 27


@pytest.mark.parametrize("path", FULL_SIZE, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recipes_of_full_size_divide_shards_among_ranks(path: Path) -> None:
    assert arguments_of(path, "data")["split_shards"] is True


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_longest_utterance_fits_into_batch_model_and_tokenizer(path: Path) -> None:
    recipe = read_recipe(path)
    data = recipe["data"]
    if not data["class_path"].endswith("TokensDataModule") or "model" not in recipe:
        pytest.skip("not a recipe of an AR or NAR model")
    max_utterance = data["init_args"].get("max_utterance", DEFAULT_MAX_UTTERANCE)
    assert max_utterance <= data["init_args"]["max_duration"]
    assert max_utterance <= MAX_DURATION
    if recipe["model"]["init_args"].get("layout") == "valle2":
        assert max_utterance * FRAME_RATE <= MAX_POSITIONS


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_comments_are_full_lines(path: Path) -> None:
    assert not re.findall(r"^ *[^# ].* #.*$", path.read_text(encoding="utf-8"), re.MULTILINE)

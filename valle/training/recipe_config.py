"""Recipes of `valle-train`: YAML files that build on others, and former names in them."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from valle.aliases import rename_flag, rename_in_recipe
from valle.errors import UserError

# What `valle-train preference` trains, and on what.
PREFERENCE = ("--model=valle.training.PreferenceModule", "--data=valle.data.preferences.PreferenceDataModule")
_CLASS_PATH = re.compile(r"^[^#\n]*\bclass_path:\s*([\w.]+)", re.MULTILINE)


def with_bases(arguments: list[str]) -> list[str]:
    """Put the recipes that a recipe builds on before each `--config FILE`.

    A recipe names another one in its line `base: OTHER`, relative to its own folder. Later values replace earlier ones.

    Args:
        arguments: Arguments of `valle-train`.

    Returns:
        The arguments, with present names in place of former ones.

    Raises:
        UserError: A base does not exist, or builds on the recipe itself.
    """
    grouped = not _trains_codec(arguments)
    expanded: list[str] = []
    for previous, argument in zip(["", *arguments], arguments, strict=False):
        path = argument if previous == "--config" else argument.removeprefix("--config=")
        if previous == "--config":
            expanded.pop()
        elif path == argument:
            expanded.append(rename_flag(argument, grouped))
            continue
        for recipe in _chain(Path(path)):
            expanded += ["--config", _renamed(recipe, grouped)]
    return expanded


def with_classes(arguments: list[str]) -> list[str]:
    """Replace the subcommand `preference` by `fit` with the classes of preference tuning, whatever recipes name."""
    if arguments[:1] != ["preference"]:
        return arguments
    last = max((index + 2 for index, argument in enumerate(arguments) if argument == "--config"), default=1)
    return ["fit", *arguments[1:last], *PREFERENCE, *arguments[last:]]


def _trains_codec(arguments: list[str]) -> bool:
    """Whether arguments or recipes select `CodecModule`, whose hyper-parameters are not grouped."""
    classes = [argument.rpartition("=")[2] for argument in arguments]
    for previous, argument in zip(["", *arguments], arguments, strict=False):
        if previous != "--config" and not argument.startswith("--config="):
            continue
        for recipe in _chain(Path(argument.removeprefix("--config="))):
            text = recipe.read_text(encoding="utf-8") if recipe.is_file() else ""
            classes += _CLASS_PATH.findall(text)
    return any(name.endswith("CodecModule") for name in classes)


def _renamed(recipe: Path, grouped: bool) -> str:
    """Return the recipe's path, or its content where former names were replaced in it."""
    text = recipe.read_text(encoding="utf-8") if recipe.is_file() else ""
    return rename_in_recipe(text, str(recipe), grouped) or str(recipe)


def _chain(recipe: Path) -> list[Path]:
    """Return a recipe and all that it builds on, the lowest first."""
    chain = [recipe]
    # A path that is not a file is reported by the parser.
    while chain[0].is_file():
        try:
            document = yaml.safe_load(chain[0].read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{chain[0]}: not YAML ({' '.join(str(error).split())[:200]})") from error
        base = document.get("base") if isinstance(document, dict) else None
        if base is None:
            break
        path = chain[0].parent / str(base)
        if not path.is_file():
            raise UserError(f"{chain[0]}: its base {base!r} does not exist")
        if any(path.samefile(other) for other in chain):
            raise UserError(f"{chain[0]}: its base {base!r} builds on it")
        chain.insert(0, path)
    return chain

"""Former names of hyper-parameters and classes, so that old checkpoints, recipes and flags still load.

A former name is accepted with a `FutureWarning` that gives the new one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import yaml

HYPER_PARAMETERS = {
    "early_stages": "stage_power",
    "expectation_layers": "latent_regression_layers",
    "prefix_prompts": "prefix_prompt_prob",
    "prompt_seconds_most": "max_prompt_seconds",
    "tied": "tie_embeddings",
    "voice_prompt": "untranscribed_prompt_prob",
}
# Hyper-parameters that a recipe or flag of the AR or NAR model once gave without their group. Checkpoints still do.
GROUPED = {
    "layers": "transformer.layers",
    "heads": "transformer.heads",
    "dim": "transformer.dim",
    "ffn_dim": "transformer.ffn_dim",
    "dropout": "transformer.dropout",
    "learning_rate": "optimizer.learning_rate",
    "warmup_steps": "optimizer.warmup_steps",
    "weight_decay": "optimizer.weight_decay",
    "seed": "training.seed",
    "activation_checkpointing": "training.activation_checkpointing",
    "compiled": "training.compiled",
    "lora_rank": "training.lora_rank",
    "latent_regression_layers": "latent_regression.layers",
    "latent_dim": "latent_regression.dim",
}
CLASSES = {
    "valle.data.batches.TokensDataModule": "valle.data.datamodule.TokensDataModule",
    "valle.data.crops.CropsDataModule": "valle.data.codec_datamodule.CropsDataModule",
}
# Former names of weights, as prefixes after the "model." of a training checkpoint.
WEIGHTS = {"expectation.usual.": "regression.code_mean.", "expectation.": "regression."}
_FLAG = re.compile(r"--model(\.init_args)?\.(?P<name>\w+)(?==|$)")


def _warn(former: str, name: str, source: str) -> None:
    warnings.warn(f"{source}: {former!r} is now called {name!r}", FutureWarning, stacklevel=3)


def rename_hyper_parameters(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Replace former names of hyper-parameters by the present ones.

    Args:
        values: hyper-parameters by name.
        source: where they stand, for the warning.
    """
    for former in values.keys() & HYPER_PARAMETERS.keys():
        _warn(former, HYPER_PARAMETERS[former], source)
    return {HYPER_PARAMETERS.get(name, name): value for name, value in values.items()}


def rename_weights(state: Mapping[str, Any]) -> dict[str, Any]:
    """Replace former names of weights by the present ones, silently: nobody writes them by hand."""
    renamed = {}
    for name, weight in state.items():
        head, rest = ("model.", name[6:]) if name.startswith("model.") else ("", name)
        for former, prefix in WEIGHTS.items():
            if rest.startswith(former):
                rest = prefix + rest[len(former) :]
        renamed[head + rest] = weight
    return renamed


def _group(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Move hyper-parameters into their groups."""
    grouped = {name: dict(value) if isinstance(value, dict) else value for name, value in values.items()}
    for name in grouped.keys() & GROUPED.keys():
        _warn(name, GROUPED[name], source)
        group, _, field = GROUPED[name].partition(".")
        grouped.setdefault(group, {})[field] = grouped.pop(name)
    return grouped


def rename_in_recipe(text: str, source: str, grouped: bool = True) -> str | None:
    """Replace former names in a recipe of `valle-train`.

    Args:
        text: YAML.
        source: its file, for the warning.
        grouped: whether the model's hyper-parameters are in groups, as those of AR and NAR models are.

    Returns:
        The recipe with the present names, or None when it has no former ones.
    """
    document = yaml.safe_load(text)
    renamed = False
    for section in ("model", "data"):
        part = document.get(section) if isinstance(document, dict) else None
        if not isinstance(part, dict):
            continue
        former = part.get("class_path")
        if former in CLASSES:
            _warn(former, CLASSES[former], source)
            part["class_path"] = CLASSES[former]
            renamed = True
        values = part.get("init_args")
        former_names = HYPER_PARAMETERS.keys() | (GROUPED.keys() if grouped else set())
        if section == "model" and isinstance(values, dict) and values.keys() & former_names:
            values = rename_hyper_parameters(values, source)
            part["init_args"] = _group(values, source) if grouped else values
            renamed = True
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False) if renamed else None


def rename_flag(argument: str, grouped: bool = True) -> str:
    """Replace a former name in an argument of `valle-train`, as `--model.init_args.NAME` or a class path.

    Args:
        argument: the argument.
        grouped: see `rename_in_recipe`.
    """
    flag, equals, value = argument.rpartition("=")
    if value in CLASSES:
        _warn(value, CLASSES[value], flag or "--data")
        return f"{flag}{equals}{CLASSES[value]}"
    found = _FLAG.match(argument)
    if found:
        name = HYPER_PARAMETERS.get(found["name"], found["name"])
        name = GROUPED.get(name, name) if grouped else name
    if found and name != found["name"]:
        _warn(found["name"], name, argument.split("=")[0])
        return argument[: found.start("name")] + name + argument[found.end("name") :]
    return argument

"""Configurations that `ARModule` and `NARModule` share, and their names in checkpoints.

A recipe groups the hyper-parameters, `optimizer: {learning_rate: 5e-4}`. A checkpoint stores them flat, by the names in
`valle.aliases.GROUPED`, so that the groups can change without a change of its format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from valle.aliases import GROUPED
from valle.models.config import TransformerConfig


@dataclass(frozen=True)
class DataConfig:
    """What a model has to know of its data. `valle-train` reads it from the folders of tokens.

    Attributes:
        vocabulary: Symbols of the text, phonemes or BPE units.
        language: espeak-ng language tag of the first folder, e.g. "en-us": the default of synthesis.
        languages: Language tags of all folders, sorted; empty in checkpoints of earlier versions, which have one.
        bpe: BPE tokenizer of the text as JSON; None: the text is phonemes.
        codec: Name of the codec of the codes.
        codebook_size: Entries of a codebook.
        num_codebooks: Codebooks.
        frame_rate: Frames of codes per second.
    """

    vocabulary: list[str] = field(default_factory=list)
    language: str = "en-us"
    languages: list[str] = field(default_factory=list)
    bpe: str | None = None
    codec: str = "encodec_24khz"
    codebook_size: int = 1024
    num_codebooks: int = 8
    frame_rate: float = 75.0


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its schedule. The defaults are the papers' (VALL-E, section 5.1).

    Attributes:
        learning_rate: Peak learning rate.
        warmup_steps: Steps of linear warm-up, before linear decay to zero at `trainer.max_steps`.
        weight_decay: Weight decay of matrices.
    """

    learning_rate: float = 5e-4
    warmup_steps: int = 32_000
    weight_decay: float = 0.01


@dataclass(frozen=True)
class TrainingConfig:
    """How training is computed, and which weights are trained.

    Attributes:
        seed: Seed of stages, prompts and dropout.
        activation_checkpointing: Store only the inputs of blocks and recompute the rest in the backward pass, which
            takes less memory and more time.
        compiled: Run the blocks through `torch.compile`.
        lora_rank: Rank of LoRA adapters; only they and the phoneme embeddings are trained. 0 trains all weights.
    """

    seed: int = 0
    activation_checkpointing: bool = False
    compiled: bool = False
    lora_rank: int = 0


@dataclass(frozen=True)
class LatentRegressionConfig:
    """A network that predicts the sum of the vectors of all codebooks after the first, for small NAR models.

    See `valle.extensions.latent_regression`. It is initialized with the codec's vectors: --init_codebooks true, or
    --init_from a model that has such a network.

    Attributes:
        layers: Blocks of the network; 0 (none) is the papers.
        dim: Width of the codec's vectors.
    """

    layers: int = 0
    dim: int = 128


GROUPS: dict[str, type] = {
    "data": DataConfig,
    "transformer": TransformerConfig,
    "optimizer": OptimizerConfig,
    "training": TrainingConfig,
    "latent_regression": LatentRegressionConfig,
}


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn arguments of a module into the flat hyper-parameters of a checkpoint."""
    names = {place: name for name, place in GROUPED.items()}
    flat = {}
    for name, value in values.items():
        if not is_dataclass(value):
            flat[name] = value
            continue
        for item in fields(value):
            place = f"{name}.{item.name}"
            flat[names.get(place, item.name)] = getattr(value, item.name)
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the flat hyper-parameters of a checkpoint into arguments of its module."""
    grouped: dict[str, dict[str, Any]] = {}
    nested = {}
    data = {item.name: f"data.{item.name}" for item in fields(DataConfig)}
    for name, value in flat.items():
        group, _, field_name = (GROUPED | data).get(name, name).rpartition(".")
        if group:
            grouped.setdefault(group, {})[field_name] = value
        else:
            nested[name] = value
    return nested | {group: GROUPS[group](**values) for group, values in grouped.items()}

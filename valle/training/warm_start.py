"""Warm start: begin training with the weights of another model (`--init_from`)."""

from __future__ import annotations

import contextlib
from pathlib import Path

import lightning as L
from torch import Tensor

from valle import codec
from valle.checkpoint import find_checkpoint, model_directory, read_checkpoint
from valle.errors import UserError
from valle.models.ar import convert_group_size
from valle.models.lora import merged, with_adapters
from valle.training.ar import ARModule
from valle.training.codec import CodecModule
from valle.training.nar import NARModule

EMBEDDING = "model.phoneme_embedding.weight"
LANGUAGES = "model.language_embedding.weight"
STREAM = "model.stream_"


def find_source(source: str, *kinds: str) -> Path:
    """Find the checkpoint that `--init_from` names.

    Args:
        source: Checkpoint, run directory, or name of a bundled model.
        kinds: "ar" or "nar", in order of preference, for a directory that has both.

    Raises:
        UserError: There is none.
    """
    if Path(source).is_file():
        return Path(source)
    directory = model_directory(source)
    for kind in kinds[:-1]:
        with contextlib.suppress(UserError):
            return find_checkpoint(directory, kind)
    return find_checkpoint(directory, kinds[-1])


def start_from(module: L.LightningModule, source: str) -> None:
    """Copy the weights of a model of the same width.

    Phoneme embeddings are copied by symbol; those of new symbols are initialized. An AR model can start from one of
    another group size, with a phoneme stream from one without, and a deeper model from one of fewer layers. A codec
    starts from a codec.

    Args:
        module: The module to train.
        source: Checkpoint, run directory, or name of a bundled model.

    Raises:
        UserError: There is no such model, or its weights do not fit.
    """
    if isinstance(module, CodecModule):
        module.start_from(codec.load(source))
        return
    assert isinstance(module, ARModule | NARModule)
    checkpoint = read_checkpoint(find_source(source, "ar" if isinstance(module, ARModule) else "nar"))
    hyper_parameters = checkpoint["hyper_parameters"]
    state = merged(checkpoint["state_dict"])
    own = module.state_dict()
    state = _convert_vocabulary(state, own, hyper_parameters["vocabulary"], module.hparams["vocabulary"])
    if isinstance(module, ARModule):
        state = _convert_groups(state, hyper_parameters["group_size"], module.model.group_size, source)
        state = _convert_stream(state, own)
        state = _convert_languages(state, own, hyper_parameters.get("languages", []), module.hparams["languages"])
    state = _add_layers(state, own, hyper_parameters["layers"], module.hparams["layers"])
    try:
        module.load_state_dict(with_adapters(state, own))
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--init_from {source}: a model of other sizes or layout ({reason}); leave it out") from error


def _convert_vocabulary(
    state: dict[str, Tensor], own: dict[str, Tensor], source: list[str], vocabulary: list[str]
) -> dict[str, Tensor]:
    """Copy the embeddings of symbols that both vocabularies have, and those of the marks after the symbols."""
    if own[EMBEDDING].shape[1] != state[EMBEDDING].shape[1]:
        return state
    index = {symbol: position for position, symbol in enumerate(source)}
    embedding = own[EMBEDDING].clone()
    for position, symbol in enumerate(vocabulary):
        if symbol in index:
            embedding[position] = state[EMBEDDING][index[symbol]]
    embedding[len(vocabulary) :] = state[EMBEDDING][len(source) :]
    return {**state, EMBEDDING: embedding}


def _convert_groups(state: dict[str, Tensor], source_size: int, group_size: int, source: str) -> dict[str, Tensor]:
    """Convert the weights of an AR model to another group size."""
    if source_size == group_size:
        return state
    weights = {name.removeprefix("model."): weight for name, weight in state.items()}
    try:
        weights = convert_group_size(weights, group_size, source_size)
    except ValueError as error:
        raise UserError(f"--init_from {source}: {error}; leave it out") from error
    return {f"model.{name}": weight for name, weight in weights.items()}


def _convert_stream(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the weights of a phoneme stream, which begin as zero, or leave those of the source out."""
    weights = {name: value for name, value in state.items() if not name.startswith(STREAM) or name in own}
    return {name: value for name, value in own.items() if name.startswith(STREAM)} | weights


def _convert_languages(
    state: dict[str, Tensor], own: dict[str, Tensor], source: list[str], languages: list[str]
) -> dict[str, Tensor]:
    """Copy the embeddings of languages that both models have; the others begin as zero."""
    former = state.pop(LANGUAGES, None)
    if LANGUAGES not in own:
        if former is not None:
            raise UserError(
                "--init_from: the model has language IDs; give --model.init_args.language_ids true, which ARModule has"
            )
        return state
    embedding = own[LANGUAGES].clone()
    for position, language in enumerate(languages):
        if former is not None and language in source:
            embedding[position] = former[source.index(language)]
    return {**state, LANGUAGES: embedding}


def _add_layers(state: dict[str, Tensor], own: dict[str, Tensor], source_layers: int, layers: int) -> dict[str, Tensor]:
    """Add blocks on top whose residuals begin as zero, so that the deeper model computes what the source computes."""
    for layer in range(source_layers, layers):
        block = f"model.transformer.blocks.{layer}."
        added = {name: value for name, value in own.items() if name.startswith(block)}
        residuals = {name: value * 0 for name, value in added.items() if name.split(".")[-2] in ("out", "ffn_out")}
        state = {**state, **added, **residuals}
    return state

"""Trained models from a run directory or an exported folder, without the training code.

An exported model is `ar.safetensors` and `nar.safetensors`, weights in half precision, each with a JSON file of its
sizes, its vocabulary and where it comes from beside it.
"""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from valle.aliases import rename_hyper_parameters, rename_weights
from valle.codec.merging import split_name
from valle.errors import UserError
from valle.extensions.language_ids import LanguageIdAR
from valle.extensions.latent_regression import LatentRegressionNAR
from valle.extensions.phoneme_stream import PhonemeStreamAR
from valle.files import write_text, write_weights
from valle.initialization import SkipInitialization
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.lora import merged
from valle.models.nar import NAR
from valle.optional import require

BUNDLED = Path(__file__).parent / "assets" / "models"
# Folder of the codec beside exported models.
CODEC = "codec"


def find_checkpoint(directory: Path, kind: str) -> Path:
    """Of `ar.safetensors`, `ar.ckpt`, `ar/best.ckpt` and `ar/last.ckpt` the first that is there; `kind`: ar or nar."""
    names = (f"{kind}.safetensors", f"{kind}.ckpt", f"{kind}/best.ckpt", f"{kind}/last.ckpt")
    candidates = [directory / name for name in names]
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(f"{directory}: holds no {kind.upper()} model; looked for {', '.join(str(p) for p in candidates)}")


def model_directory(name: str | Path, *, download: bool = False) -> Path:
    """Return a run directory, the folder of a bundled model, or that of a model of the Hugging Face Hub.

    Args:
        name: Path, name of a bundled model, or ORGANIZATION/NAME.
        download: Whether a model of the Hub that is not on this computer is downloaded; nothing else is.

    Raises:
        UserError: There is no such model.
    """
    bundled = sorted(path.name for path in BUNDLED.iterdir()) if BUNDLED.is_dir() else []
    if str(name) in bundled:
        return BUNDLED / name
    if Path(name).is_dir():
        return Path(name)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)) and (download or _is_hub_cached(str(name))):
        return _hub_directory(str(name), download=download)
    known = f"; bundled models: {', '.join(bundled)}" if bundled else ""
    hub = ", nor is it a model of the Hub that was downloaded (--download)" if str(name).count("/") == 1 else ""
    raise UserError(f"model {str(name)!r}: no such run directory{hub}{known}")


def _is_hub_cached(name: str) -> bool:
    """Return whether the cache of the Hub has a model."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    return (cache / f"models--{name.replace('/', '--')}").is_dir()


def _hub_directory(name: str, *, download: bool) -> Path:
    hub = require("huggingface_hub", "hub")
    try:
        return Path(hub.snapshot_download(name, local_files_only=not download))
    except Exception as error:
        # The library raises errors of many kinds, of its own and of its HTTP client.
        raise UserError(f"model {name!r}: {' '.join(str(error).split())[:200]}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """`hyper_parameters` and `state_dict` of a Lightning checkpoint or an exported model; no pickled code is run.

    Raises UserError when the file is damaged or foreign.
    """
    try:
        if path.suffix == ".safetensors":
            sizes = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["hyper_parameters"]
            checkpoint = {"hyper_parameters": sizes, "state_dict": {k: v.float() for k, v in load_file(path).items()}}
        else:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        checkpoint["hyper_parameters"] = rename_hyper_parameters(checkpoint["hyper_parameters"], str(path))
        checkpoint["state_dict"] = rename_weights(checkpoint["state_dict"])
    except (
        RuntimeError,
        pickle.UnpicklingError,
        SafetensorError,
        EOFError,
        AttributeError,
        KeyError,
        ValueError,
        TypeError,
        OSError,
    ) as error:
        raise UserError(
            f"{path}: not a model of valle-train, or damaged ({str(error).splitlines()[0][:120]}); copy it again"
        ) from error
    return checkpoint


def export_model(run: Path, directory: Path, provenance: dict[str, Any]) -> None:
    """Write the two models of a run in half precision, each with a JSON file of its sizes and its provenance.

    Args:
        run: Run directory, or folder of checkpoints.
        directory: Folder to write.
        provenance: Where the models come from, stored beside the steps of the run and torch's version.

    Raises:
        UserError: A model is missing or damaged.
    """
    for kind in ("ar", "nar"):
        path = find_checkpoint(run, kind)
        checkpoint = read_checkpoint(path)
        # A model that was exported before tells its steps in its provenance.
        steps = {"steps": checkpoint["global_step"]} if "global_step" in checkpoint else {}
        origin = {**steps, "torch": torch.__version__, **provenance}
        write_weights(directory / f"{kind}.safetensors", merged(checkpoint["state_dict"]), origin)
        description = {"hyper_parameters": dict(checkpoint["hyper_parameters"]), "provenance": origin}
        write_text(directory / f"{kind}.json", json.dumps(description, indent=2, ensure_ascii=False) + "\n")


def _build_model(h: dict[str, Any]) -> AR | NAR:
    """Build the model that hyper-parameters describe."""
    sizes: dict[str, Any] = {
        "vocabulary_size": len(h["vocabulary"]),
        "config": TransformerConfig(h["layers"], h["heads"], h["dim"], h["ffn_dim"], h["dropout"]),
        "codebook_size": h["codebook_size"],
        "layout": h["layout"],
    }
    if "group_size" in h:
        sizes |= {"group_size": h["group_size"], "tie_embeddings": h["tie_embeddings"]}
        # Earlier checkpoints have no such hyper-parameter.
        if h.get("phoneme_stream"):
            code_rate = h["frame_rate"] / split_name(h["codec"])[1]
            return PhonemeStreamAR(vocabulary=h["vocabulary"], code_rate=code_rate, **sizes)
        if h.get("language_ids"):
            return LanguageIdAR(languages=h["languages"], **sizes)
        return AR(**sizes)
    sizes["num_codebooks"] = h["num_codebooks"]
    # Earlier checkpoints have no such hyper-parameter.
    sizes["text_condition"] = h.get("text_condition", True)
    if h["latent_regression_layers"]:
        return LatentRegressionNAR(**sizes, layers=h["latent_regression_layers"], latent_dim=h["latent_dim"])
    return NAR(**sizes)


def load_model(path: Path) -> tuple[AR | NAR, dict[str, Any]]:
    """The model in a checkpoint, ready for inference, and its hyper-parameters."""
    checkpoint = read_checkpoint(path)
    h, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    try:
        # No memory is allocated and nothing is initialized: the weights are the file's own, read when they are used.
        with torch.device("meta"), SkipInitialization():
            model = _build_model(h)
        model.load_state_dict({k.removeprefix("model."): value for k, value in merged(state).items()}, assign=True)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: holds no AR or NAR model of this version ({str(error).splitlines()[0]})") from error
    return model.eval(), h

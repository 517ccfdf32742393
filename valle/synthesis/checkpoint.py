"""Trained models from a run directory, without the training code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from valle.errors import UserError
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.transformer import TransformerConfig

BUNDLED = Path(__file__).parent.parent / "assets" / "models"


def find_checkpoint(directory: Path, kind: str) -> Path:
    """`DIR/ar.ckpt`, else `DIR/ar/best.ckpt`, else `DIR/ar/last.ckpt` (`kind` is "ar" or "nar")."""
    candidates = [directory / f"{kind}.ckpt", directory / kind / "best.ckpt", directory / kind / "last.ckpt"]
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(f"{directory}: holds no {kind.upper()} model; looked for {', '.join(str(p) for p in candidates)}")


def model_directory(name: str | Path) -> Path:
    """A run directory, or the folder of a bundled model. Raises UserError when there is no such model."""
    bundled = sorted(path.name for path in BUNDLED.iterdir()) if BUNDLED.is_dir() else []
    if str(name) in bundled:
        return BUNDLED / name
    if Path(name).is_dir():
        return Path(name)
    known = f"; bundled models: {', '.join(bundled)}" if bundled else ""
    raise UserError(f"model {str(name)!r}: no such run directory{known}")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A Lightning checkpoint's contents, no pickled code allowed. Raises UserError when it is damaged or foreign."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        checkpoint["hyper_parameters"], checkpoint["state_dict"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, OSError) as error:
        raise UserError(
            f"{path}: not a checkpoint of valle-train, or damaged ({str(error).splitlines()[0][:120]}); copy it again"
        ) from error
    return checkpoint


def load_model(path: Path) -> tuple[AR | NAR, dict[str, Any]]:
    """The model in a checkpoint, ready for inference, and its hyper-parameters."""
    checkpoint = read_checkpoint(path)
    h, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    try:
        config = TransformerConfig(h["layers"], h["heads"], h["dim"], h["ffn_dim"], h["dropout"])
        vocabulary_size = len(h["vocabulary"])
        model: AR | NAR
        if "group_size" in h:
            model = AR(vocabulary_size, config, h["codebook_size"], h["group_size"])
        else:
            model = NAR(vocabulary_size, config, h["codebook_size"], h["num_codebooks"])
        model.load_state_dict({key.removeprefix("model."): value for key, value in state.items()})
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: holds no AR or NAR model of this version ({str(error).splitlines()[0]})") from error
    return model.eval(), h

"""Check that a checkpoint can be resumed: compare its hyper-parameters with those of the new run."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from valle.errors import UserError
from valle.training.hyper_parameters import option

# These are read at every step, or concern only how blocks are computed, so that a new value takes effect. All others
# belong to the weights, or to the saved state of optimizer and schedule.
CHANGEABLE = (
    "activation_checkpointing",
    "beta",
    "commitment",
    "compiled",
    "dropout",
    "stage_power",
    "guided_attention",
    "loss_weights",
    "nll_weight",
    "prefix_prompt_prob",
    "prompt_frames",
    "prompt_seconds",
    "max_prompt_seconds",
    "quantizer_dropout",
    "seed",
    "text_dropout",
    "untranscribed_prompt_prob",
)


def check_resumable(
    path: Path,
    checkpoint: Mapping[str, Any],
    hyper_parameters: Mapping[str, Any],
    from_data: Collection[str],
    ema_decay: float | None,
) -> None:
    """Compare a checkpoint with the run that is about to resume it.

    Args:
        path: File of the checkpoint.
        checkpoint: Its content.
        hyper_parameters: Those of the new run's module.
        from_data: Hyper-parameters that are read from the data, not given as options.
        ema_decay: Decay of the new run's moving average of the weights; None: without one.

    Raises:
        UserError: A hyper-parameter differs that a resumed run cannot change.
    """
    saved = {name: value for name, value in checkpoint["hyper_parameters"].items() if not name.startswith("_")}
    foreign = sorted(set(saved) - set(hyper_parameters))
    if foreign:
        raise UserError(
            f"{path}: holds another kind of model (its {', '.join(foreign)} are not of this one's); give another "
            "--trainer.default_root_dir"
        )
    grouped = "vocabulary" in hyper_parameters
    changed = [
        _difference(
            f"{name} of the data" if name in from_data else option(name, grouped), value, hyper_parameters[name]
        )
        for name, value in saved.items()
        if name not in CHANGEABLE and value != hyper_parameters[name]
    ]
    averaged = "averaging_state" in checkpoint
    if averaged != (ema_decay is not None):
        changed.append(f"--ema_decay: {'given' if averaged else 'not given'}, now {ema_decay or 'not given'}")
    if changed:
        raise UserError(
            f"{path}: cannot be resumed with other values ({'; '.join(changed)}); give the old ones, or train in "
            f"another --trainer.default_root_dir, from these weights with --init_from {path}"
        )


def _difference(source: str, old: Any, new: Any) -> str:
    """Describe a hyper-parameter that changed: its source, old and new value."""
    # Other lists, such as the languages, are short.
    if isinstance(old, list) and source.startswith("vocabulary"):
        return f"{source}: {_symbols(old, new)}, now {_symbols(new, old)}"
    return f"{source}: {_shown(old)}, now {_shown(new)}"


def _symbols(symbols: Sequence[str], others: Sequence[str]) -> str:
    """Describe a vocabulary: its size, and its first symbol that another one does not have at that position."""
    for index, symbol in enumerate(symbols):
        if index >= len(others) or symbol != others[index]:
            return f"{len(symbols)} symbols with {symbol!r} in position {index}"
    return f"{len(symbols)} symbols"


def _shown(value: Any) -> str:
    """Return a value as text; of a long one, such as a BPE tokenizer, its digest."""
    text = str(value)
    if len(text) > 120:
        return f"{len(text)} characters with SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return " ".join(text.split())

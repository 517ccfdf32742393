"""Valid ranges of the hyper-parameters of `ARModule` and `NARModule`, by their names in checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from valle.aliases import GROUPED
from valle.errors import UserError


class Range(NamedTuple):
    """A set of valid values and its description for error messages."""

    description: str
    contains: Callable[[Any], bool]


# Comparisons with NaN are false, so NaN is outside of every range.
COUNT = Range("at least 1", lambda value: value >= 1)
POSITIVE = Range("more than 0", lambda value: 0 < value < math.inf)
NON_NEGATIVE = Range("0 or more", lambda value: 0 <= value < math.inf)
PROBABILITY = Range("0 to 1", lambda value: 0 <= value <= 1)

RANGES = {
    "vocabulary": Range("at least one symbol", lambda value: len(value) > 0),
    "codebook_size": COUNT,
    "num_codebooks": COUNT,
    "layers": COUNT,
    "heads": COUNT,
    "dim": COUNT,
    "ffn_dim": COUNT,
    "prompt_frames": COUNT,
    "latent_dim": COUNT,
    "learning_rate": POSITIVE,
    "frame_rate": POSITIVE,
    "weight_decay": NON_NEGATIVE,
    "beta": POSITIVE,
    "nll_weight": NON_NEGATIVE,
    "guided_attention": NON_NEGATIVE,
    "stage_power": NON_NEGATIVE,
    "prompt_seconds": NON_NEGATIVE,
    "max_prompt_seconds": NON_NEGATIVE,
    "warmup_steps": NON_NEGATIVE,
    "lora_rank": NON_NEGATIVE,
    "latent_regression_layers": NON_NEGATIVE,
    "untranscribed_prompt_prob": PROBABILITY,
    "prefix_prompt_prob": PROBABILITY,
    "text_dropout": PROBABILITY,
    "dropout": Range("0 to less than 1", lambda value: 0 <= value < 1),
    "group_size": Range("1, 2, 4 or 8", lambda value: value in (1, 2, 4, 8)),
    "seed": Range("a number from 0 to 2^64 - 1", lambda value: 0 <= value < 2**64),
}


def option(name: str, grouped: bool = True) -> str:
    """Return the option of `valle-train` that sets a hyper-parameter.

    Args:
        name: Its name in checkpoints.
        grouped: Whether the module's hyper-parameters are in groups, as those of `ARModule` and `NARModule` are.
    """
    return f"--model.init_args.{GROUPED.get(name, name) if grouped else name}"


def check_ranges(values: Mapping[str, Any]) -> None:
    """Check hyper-parameters against `RANGES`.

    Args:
        values: hyper-parameters by name; names without a range are not checked.

    Raises:
        UserError: the first value that is outside of its range.
    """
    for name, value in values.items():
        valid = RANGES.get(name)
        if valid is not None and not valid.contains(value):
            raise UserError(f"{option(name)} {value}: give {valid.description}")

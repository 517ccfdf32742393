"""Checks of devices and seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valle.errors import UserError

if TYPE_CHECKING:
    import torch

# torch's CPU generator uses 32 bits of a seed, so a larger one would repeat the samples of another.
MAX_SEED = 2**32 - 1


def check_device(name: str) -> torch.device:
    """Return the torch device of a name.

    Args:
        name: "cpu", "cuda" or "cuda:N".

    Raises:
        UserError: The name is another one, or this machine has no such GPU.
    """
    # Commands check their arguments before they load torch.
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not known; use cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise UserError(f"device {name!r}: torch finds no CUDA GPU here; use cpu")
        if (device.index or 0) >= count:
            raise UserError(f"device {name!r}: this machine has {count} GPUs; use cuda:0 to cuda:{count - 1}")
    return device


def check_seed(seed: int) -> int:
    """Return the seed.

    Raises:
        UserError: It is not in the range 0 to 2^32 - 1.
    """
    if not 0 <= seed <= MAX_SEED:
        raise UserError(f"seed {seed} is out of range; use 0 to {MAX_SEED}")
    return seed

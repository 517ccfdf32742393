"""Checkpoints that survive a kill, a full disk and SIGTERM."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

from valle.errors import UserError
from valle.files import atomic_path


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file and renames it when it is on the disk.

    The last good checkpoint remains when the process is killed or the disk is full meanwhile.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint. Raises UserError when it cannot be written."""
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            try:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            except (RuntimeError, OSError) as error:
                # torch wraps what the file raises.
                cause = error.__context__ if isinstance(error.__context__, OSError) else error
                reason = getattr(cause, "strerror", None) or str(cause).splitlines()[0]
                raise UserError(
                    f"{path}: cannot be written ({reason}); the last checkpoint remains, resume with the same command"
                ) from error


class TopCheckpoints(ModelCheckpoint):
    """A second `ModelCheckpoint` of the same metric: Lightning distinguishes these by their class only."""


class SigtermCheckpoint(Callback):
    """On SIGTERM, finishes the step, saves `last.ckpt` and stops training.

    SLURM and cloud providers send SIGTERM some time before they take a machine away. All ranks stop at the same step,
    whichever received it.

    Args:
        last: File of the checkpoint.
    """

    def __init__(self, last: Path) -> None:
        self.last = last
        self.received = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take SIGTERM over from Lightning."""
        # Lightning's own handler communicates with other ranks at once, in the middle of a step.
        signal.signal(signal.SIGTERM, self._on_signal)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any) -> None:
        """Save the checkpoint and stop, if a rank received SIGTERM during the step.

        Raises:
            SIGTERMException: A rank received SIGTERM.
        """
        if trainer.strategy.reduce_boolean_decision(self.received, all=False):
            trainer.save_checkpoint(self.last)
            raise SIGTERMException

"""What keeps a run's work: checkpoints that are whole or not there, and one more when the machine is taken away."""

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
    """Writes a checkpoint under another name and renames it when it is on the disk: the last good one stays as it is
    when the process is killed or the disk is full meanwhile."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Raises UserError when it cannot be written."""
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            try:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            except (RuntimeError, OSError) as error:  # torch wraps what the file raises
                cause = error.__context__ if isinstance(error.__context__, OSError) else error
                reason = getattr(cause, "strerror", None) or str(cause).splitlines()[0]
                raise UserError(
                    f"{path}: cannot be written ({reason}); the one before is kept, the same command goes on from it"
                ) from error


class TopCheckpoints(ModelCheckpoint):
    """Lightning tells callbacks of one kind and one metric apart by their class only."""


class SigtermCheckpoint(Callback):
    """SIGTERM, which SLURM and clouds send some time before they take a machine away: the step is finished, `last.ckpt`
    is written, and training stops. All ranks stop at the same step, whichever was told."""

    def __init__(self, last: Path) -> None:
        self.last, self.told = last, False

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self.told = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Lightning's own handler talks to other ranks at once, in the middle of whatever they are doing.
        signal.signal(signal.SIGTERM, self._tell)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any) -> None:
        if trainer.strategy.reduce_boolean_decision(self.told, all=False):
            trainer.save_checkpoint(self.last)
            raise SIGTERMException

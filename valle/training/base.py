"""What training the AR and the NAR model have in common: optimizer, schedule, seeding, checks and logging."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from valle.aliases import rename_weights
from valle.checkpoint import read_checkpoint
from valle.data.datamodule import Batch
from valle.errors import UserError
from valle.models.ar import AR
from valle.models.lora import add_adapters
from valle.models.nar import NAR
from valle.text import Vocabulary
from valle.training.config import DataConfig, TrainingConfig, flatten, nest
from valle.training.hyper_parameters import check_ranges, option

ModelT = TypeVar("ModelT", AR, NAR)


def top_k_accuracy(logits: Tensor, targets: Tensor, k: int) -> Tensor:
    """Compute the share of targets that are among the k entries with the highest logits.

    Args:
        logits: (..., entries).
        targets: (...) ids; -100 is ignored.
        k: number of entries.

    Returns:
        A float32 scalar.
    """
    counted = targets != -100
    hits = (logits[counted].topk(k, dim=-1).indices == targets[counted][:, None]).any(-1)
    return hits.float().mean()


def warmup_decay_factor(step: int, warmup_steps: int, max_steps: int) -> float:
    """Compute the factor of the learning rate: linear warm-up, then linear decay to zero (VALL-E, section 5.1)."""
    warmup = (step + 1) / max(1, warmup_steps)
    decay = max(0.0, (max_steps - step) / max(1, max_steps - warmup_steps))
    return min(warmup, decay)


class BaseModule(L.LightningModule):
    """Common part of `ARModule` and `NARModule`.

    Subclasses hand all arguments of their constructor to this one, then build `model` by `_set_up_model`.

    Args:
        data: What the model has to know of its data.
        arguments: All other arguments; `hparams` stores them flat (`valle.training.config`).
    """

    model: AR | NAR

    def __init__(self, data: DataConfig, **arguments: Any) -> None:
        super().__init__()
        self.save_hyperparameters(flatten({"data": data, **arguments}))
        check_ranges(self.hparams)
        self.vocabulary = Vocabulary(list(data.vocabulary))
        self.sharded = False
        # Utterances since the last optimizer step, to be named if the gradient is not finite.
        self._utterance_ids: list[str] = []

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a module as Lightning does.

        Args:
            checkpoint_path: File of the checkpoint.
            args: See Lightning.
            kwargs: Hyper-parameters that replace saved ones, by their names in the checkpoint.
        """
        flat = read_checkpoint(Path(checkpoint_path))["hyper_parameters"] | kwargs
        arguments = nest({name: value for name, value in flat.items() if not name.startswith("_")})
        # Former checkpoints name Lightning's own function for instantiating from a command line.
        return super().load_from_checkpoint(checkpoint_path, *args, _instantiator=None, **arguments)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Rename weights of a checkpoint that an earlier version saved."""
        checkpoint["state_dict"] = rename_weights(checkpoint["state_dict"])

    def _set_up_model(self, build: Callable[[], ModelT], training: TrainingConfig) -> ModelT:
        """Build the model, and apply activation checkpointing, LoRA adapters and `torch.compile` to it.

        Raises:
            UserError: The sizes do not fit each other.
        """
        try:
            model = build()
        except ValueError as error:
            raise UserError(f"{option('dim')} {self.hparams['dim']}: {error}") from error
        model.transformer.checkpointing = training.activation_checkpointing
        if training.lora_rank:
            add_adapters(model, training.lora_rank)
        if training.compiled:
            for block in model.transformer.blocks:
                block.compile(dynamic=True)
        return model

    def configure_model(self) -> None:
        """Shard the weights over all ranks, block by block, if the strategy is `Sharded`."""
        if self.device_mesh is not None and not self.sharded:
            mesh = self.device_mesh["data_parallel"]
            for block in self.model.transformer.blocks:
                fully_shard(block, mesh=mesh)
            fully_shard(self.model, mesh=mesh)
            self.sharded = True

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the random numbers of the step by seed, number of the batch and rank."""
        # Dropout, stages and prompts depend only on seed, number of the batch and rank, so that a resumed run is
        # bitwise identical to one that was never stopped. The batches of a step whose gradients are accumulated differ.
        count = self.trainer.fit_loop.epoch_loop.total_batch_idx
        seed = self.hparams["seed"] * 1_000_003 + count * 1009 + self.global_rank
        torch.manual_seed(seed % 2**64)
        self._utterance_ids += batch.ids

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients as the trainer is configured to, after a check that they are finite.

        In float16, gradients overflow now and then: the scaler then skips the step and halves its scale.

        Raises:
            UserError: the loss or a gradient is not finite, in float16 even without a scale. The run stops before the
                weights are updated; the message names the step and the utterances.
        """
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if not torch.isfinite(norm):
            scaler = self._scaler()
            if scaler is not None and scaler.get_scale() > 1:
                self._utterance_ids.clear()
                return
            raise UserError(
                f"step {self.global_step}: the loss or its gradient is {float(norm)}, from utterances "
                f"{' '.join(self._utterance_ids)}; the last checkpoint was saved before. Lower the learning rate, or "
                "remove these utterances"
            )
        self._utterance_ids.clear()
        self.log("grad_norm", norm)
        # Not `self.clip_gradients`: Lightning assumes that every fused optimizer scales its gradients itself, and
        # refuses to clip them.
        if gradient_clip_algorithm == "value" and gradient_clip_val:
            nn.utils.clip_grad_value_(self.parameters(), gradient_clip_val)
        elif gradient_clip_val:
            nn.utils.clip_grads_with_norm_(self.parameters(), gradient_clip_val, norm)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build AdamW with weight decay on matrices only, and the schedule of `warmup_decay_factor`.

        Raises:
            UserError: the trainer has no `max_steps`.
        """
        h = self.hparams
        trained = [p for p in self.parameters() if p.requires_grad]
        matrices = [p for p in trained if p.ndim >= 2]
        others = [p for p in trained if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": h["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
        # A fused optimizer undoes the scale of float16 gradients itself, after they were clipped.
        fused = self._scaler() is None
        optimizer = torch.optim.AdamW(groups, lr=h["learning_rate"], betas=(0.9, 0.95), fused=fused)
        max_steps = self.trainer.max_steps
        if max_steps < 0:
            raise UserError("--trainer.max_steps must be given: the learning rate decays to zero at this step")
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_decay_factor(step, h["warmup_steps"], max_steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _scaler(self) -> torch.amp.GradScaler | None:
        """Return the scaler of the gradients in float16; None with other precisions."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def _log_values(self, split: str, values: dict[str, Tensor], batch: Batch) -> None:
        """Log values under `train/` or `valid/`; the progress bar shows the training loss."""
        named = {f"{split}/{name}": value for name, value in values.items()}
        self.log_dict(named, batch_size=len(batch.ids), sync_dist=split == "valid")
        if split == "train":
            self.log("loss", values["loss"].detach(), prog_bar=True, logger=False, batch_size=len(batch.ids))

    def _guidance_weight(self) -> float:
        """Weight of the guided attention loss at this step; it decays linearly to zero at `trainer.max_steps`."""
        remaining = max(0.0, 1 - self.global_step / max(1, self.trainer.max_steps))
        return self.hparams["guided_attention"] * remaining

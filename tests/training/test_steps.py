"""Single training steps: random numbers of accumulated batches, and gradients in float16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

from valle.data.datamodule import TokensDataModule
from valle.errors import UserError
from valle.models.config import TransformerConfig
from valle.training import ARModule
from valle.training.config import DataConfig, OptimizerConfig

TINY = TransformerConfig(layers=1, heads=2, dim=32, ffn_dim=32, dropout=0.1)


class Recorder(L.Callback):
    """Records the seed of every batch, and the weights after it."""

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.weights: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any) -> None:
        self.seeds.append(torch.initial_seed())
        self.weights.append(torch.cat([p.detach().flatten().clone() for p in pl_module.parameters()]))


def fit(tokens: Path, root: Path, steps: int, learning_rate: float = 0.01, **trainer: Any) -> tuple[ARModule, Recorder]:
    """Train a tiny AR model; return it with the record of its batches."""
    folders = [str(tokens / "train")], [str(tokens / "valid")]
    data = TokensDataModule(*folders, max_duration=8, num_buckets=2, num_workers=0)
    torch.manual_seed(0)
    module = ARModule(
        DataConfig(data.vocabulary.symbols, codec="mini", codebook_size=data.config.codebook_size),
        transformer=TINY,
        optimizer=OptimizerConfig(learning_rate=learning_rate, warmup_steps=0),
    )
    recorder = Recorder()
    options = {"max_steps": steps, "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
               "enable_progress_bar": False, "limit_val_batches": 0, "gradient_clip_val": 1.0,
               "use_distributed_sampler": False, "default_root_dir": root, "callbacks": [recorder]}  # fmt: skip
    L.Trainer(**options | trainer).fit(module, data)
    return module, recorder


def test_accumulated_batches_have_seeds_of_their_own(tokens: Path, tmp_path: Path) -> None:
    """Else all batches of a step would have the same stages, prompts and dropout."""
    _, recorder = fit(tokens, tmp_path, 2, accumulate_grad_batches=2)
    assert len(recorder.seeds) == 4
    assert len(set(recorder.seeds)) == 4


def float16(init_scale: float) -> MixedPrecision:
    """The plugin of --trainer.precision 16-mixed, which Lightning replaces on a CPU."""
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=init_scale))


def test_gradients_in_float16_are_clipped_without_their_scale(tokens: Path, tmp_path: Path) -> None:
    _, full = fit(tokens, tmp_path, 1, gradient_clip_val=1e-3)
    _, half = fit(tokens, tmp_path, 1, gradient_clip_val=1e-3, plugins=[float16(2.0**10)])
    # One step of Adam moves by the sign of the gradients, whatever their scale: their clipped sum is compared.
    module, _ = fit(tokens, tmp_path, 1, learning_rate=1e-9, gradient_clip_val=1e-3, plugins=[float16(2.0**10)])
    norm = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)
    assert (half.weights[0] - full.weights[0]).abs().mean() < 0.2 * 0.01


def test_overflow_in_float16_skips_the_step(tokens: Path, tmp_path: Path) -> None:
    plugin = float16(2.0**40)
    _, recorder = fit(tokens, tmp_path, 40, plugins=[plugin])
    assert torch.equal(recorder.weights[0], recorder.weights[1])
    assert not torch.equal(recorder.weights[0], recorder.weights[-1])
    assert bool(recorder.weights[-1].isfinite().all())
    assert plugin.scaler.get_scale() < 2.0**40


def test_loss_that_is_not_finite_stops_in_float16_too(tokens: Path, tmp_path: Path, monkeypatch: Any) -> None:
    step = ARModule.training_step
    monkeypatch.setattr(ARModule, "training_step", lambda *arguments: step(*arguments) * float("nan"))
    with pytest.raises(UserError, match="loss or its gradient is nan"):
        fit(tokens, tmp_path, 40, plugins=[float16(2.0**10)])

"""Interrupted runs lose nothing: killed, stopped by a signal, out of disk space, diverged."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import train
from tests.training.runs import (
    SAVE_EVERY_STEP,
    assert_same_weights,
    read_scalars,
    start_training,
    train_and_kill,
)
from valle.data.datamodule import TokensDataModule


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Poll a condition until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_resume_after_sigkill_is_bitwise_identical(tokens: Path, tmp_path: Path) -> None:
    straight = tmp_path / "straight"
    killed = tmp_path / "killed"
    train("ARModule", tokens, straight, 24, *SAVE_EVERY_STEP)
    # An epoch has 6 batches. The step at which a run is killed is not saved, so the first run has saved 6 steps.
    for step, position in ((7, (1, 0)), (9, (1, 2))):
        train_and_kill(step, "ARModule", tokens, killed, 24, *SAVE_EVERY_STEP)
        state = torch.load(killed / "last.ckpt", weights_only=True)["TokensDataModule"]
        assert (state["epoch"], state["batches_done"]) == position
    # Killed at a random moment, possibly while a checkpoint is written.
    process = start_training("ARModule", tokens, killed, 24, *SAVE_EVERY_STEP)
    modified = (killed / "last.ckpt").stat().st_mtime_ns
    wait_until(lambda: (killed / "last.ckpt").stat().st_mtime_ns != modified or process.poll() is not None)
    time.sleep(0.1)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    train("ARModule", tokens, killed, 24, *SAVE_EVERY_STEP)
    assert_same_weights(straight / "last.ckpt", killed / "last.ckpt")
    losses = read_scalars(killed)
    expected = read_scalars(straight)
    assert len(expected) == 24
    assert {step: losses[step] for step in expected} == expected


def test_resumed_nar_run_ends_with_the_same_weights(tokens: Path, tmp_path: Path) -> None:
    train("NARModule", tokens, tmp_path / "straight", 9, "--save_every=1")
    train_and_kill(5, "NARModule", tokens, tmp_path / "stopped", 9)
    reached = torch.load(tmp_path / "stopped" / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < reached < 9
    train("NARModule", tokens, tmp_path / "stopped", 9, "--save_every=1")
    assert_same_weights(tmp_path / "straight" / "last.ckpt", tmp_path / "stopped" / "last.ckpt")


def test_sigterm_saves_a_complete_step_and_the_same_command_resumes(tokens: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    process = start_training("NARModule", tokens, root, 100_000, "--save_every=100000")
    wait_until(lambda: bool(read_scalars(root)) if root.is_dir() else process.poll() is not None)
    # To the process group, as SLURM does: the worker that prepares batches gets it, too.
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in errors
    reached = torch.load(root / "last.ckpt", weights_only=True)["global_step"]
    assert reached > 0
    train("NARModule", tokens, root, reached + 2)
    assert torch.load(root / "last.ckpt", weights_only=True)["global_step"] == reached + 2


def test_failed_checkpoint_write_leaves_the_last_good_one(tokens: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run" / "last.ckpt"
    train("ARModule", tokens, tmp_path / "run", 3, *SAVE_EVERY_STEP)
    before = checkpoint.read_bytes()
    # No file can grow beyond half of the checkpoint, as on a disk that is nearly full.
    script = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2}, {len(before) // 2}))\n"
        "from valle.cli.train import main\n"
        "main()\n"
    )
    done = train("ARModule", tokens, tmp_path / "run", 6, *SAVE_EVERY_STEP, script=script)
    assert done.returncode == 2
    assert "last.ckpt: cannot be written" in done.stderr.splitlines()[-1]
    assert checkpoint.read_bytes() == before
    assert not list((tmp_path / "run").glob(".*partial*"))
    train("ARModule", tokens, tmp_path / "run", 6, *SAVE_EVERY_STEP)


def test_non_finite_loss_stops_before_the_update_and_names_the_batch(tokens: Path, tmp_path: Path) -> None:
    script = (
        "from valle.training import ARModule\n"
        "training_step = ARModule.training_step\n"
        "def diverge(self, batch, index):\n"
        "    return training_step(self, batch, index) * (float('nan') if self.global_step == 3 else 1.0)\n"
        "ARModule.training_step = diverge\n"
        "from valle.cli.train import main\n"
        "main()\n"
    )
    done = train("ARModule", tokens, tmp_path / "run", 5, *SAVE_EVERY_STEP, script=script)
    assert done.returncode == 2
    assert "step 3: the loss or its gradient is nan, from utterances" in done.stderr
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_best_checkpoints_and_moving_average_are_saved_and_resumed(tokens: Path, tmp_path: Path) -> None:
    options = ["--trainer.val_check_interval=1", "--trainer.check_val_every_n_epoch=null", "--save_every=1"]
    options += ["--keep_best=2", "--ema_decay=0.5"]
    train_and_kill(3, "ARModule", tokens, tmp_path / "run", 5, *options)
    assert len(list((tmp_path / "run" / "top").iterdir())) == 2
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    averaged = checkpoint["state_dict"]
    current = checkpoint["current_model_state"]
    assert any(not torch.equal(averaged[name], current[name]) for name in averaged)
    train("ARModule", tokens, tmp_path / "straight", 5, *options)
    train("ARModule", tokens, tmp_path / "run", 5, *options)
    assert_same_weights(tmp_path / "straight" / "last.ckpt", tmp_path / "run" / "last.ckpt")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_only_the_interrupted_epoch_is_resumed_in_its_middle(tokens: Path, num_workers: int) -> None:
    def read_epochs(batches_done: int) -> list[list[list[str]]]:
        sets = [str(tokens / "train")], [str(tokens / "valid")]
        data = TokensDataModule(*sets, max_duration=8, num_workers=num_workers)
        data.load_state_dict({"epoch": 0, "batches_done": batches_done})
        loader = data.train_dataloader()
        return [[batch.ids for batch in loader] for _ in range(2)]

    complete = read_epochs(0)
    assert len(complete[0]) > 2
    assert read_epochs(2) == [complete[0][2:], complete[1]]

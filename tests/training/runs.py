"""Start, kill and compare training runs of tiny models."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import BIN, train, train_arguments

# Every step is saved, and none is validated.
SAVE_EVERY_STEP = ["--save_every=1", "--trainer.check_val_every_n_epoch=null", "--trainer.val_check_interval=1000"]


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a checkpoint."""
    return torch.load(path, weights_only=True)["state_dict"]


def assert_same_weights(one: Path, two: Path) -> None:
    """Assert that two checkpoints have bitwise identical weights."""
    first = read_weights(one)
    second = read_weights(two)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def read_events(root: Path) -> EventAccumulator:
    """Read the TensorBoard events of a run."""
    events = EventAccumulator(str(root))
    events.Reload()
    return events


def read_scalars(root: Path, tag: str = "train/loss") -> dict[int, float]:
    """Return the last value that was logged at each step; none if the run has not logged this tag yet."""
    events = read_events(root)
    if tag not in events.Tags()["scalars"]:
        return {}
    return {event.step: event.value for event in events.Scalars(tag)}


def start_training(kind: str, tokens: Path, root: Path, steps: int, *more: str) -> subprocess.Popen[str]:
    """Start `valle-train` of a tiny model in a process group of its own, and do not wait for it."""
    return subprocess.Popen(
        [str(BIN / "valle-train"), *train_arguments(kind, tokens, root, steps, *more)],
        env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def train_and_kill(step: int, kind: str, tokens: Path, root: Path, steps: int, *more: str) -> None:
    """Train a tiny model and kill it by SIGKILL after a step, before the checkpoint of this step is written."""
    script = (
        "import os, signal\n"
        "from lightning.pytorch import Callback\n"
        "from valle.training import cli\n"
        "class Kill(Callback):\n"
        "    def on_train_batch_end(self, trainer, module, *rest):\n"
        f"        if trainer.global_step == {step}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "instantiate_trainer = cli.TrainCLI.instantiate_trainer\n"
        "def instantiate(self, **options):\n"
        "    trainer = instantiate_trainer(self, **options)\n"
        "    trainer.callbacks.insert(0, Kill())\n"
        "    return trainer\n"
        "cli.TrainCLI.instantiate_trainer = instantiate\n"
        "from valle.cli.train import main\n"
        "main()\n"
    )
    done = train(kind, tokens, root, steps, "--save_every=1", *more, script=script)
    assert done.returncode == -signal.SIGKILL

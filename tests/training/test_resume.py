"""A run is resumed with the hyper-parameters of its checkpoint, or refused in one line."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT, command, train_arguments
from valle.aliases import GROUPED
from valle.errors import UserError
from valle.training import ARModule, NARModule
from valle.training.codec import CodecModule
from valle.training.config import DataConfig, flatten
from valle.training.preference import PreferenceModule
from valle.training.resume import CHANGEABLE, check_resumable

VOCABULARY = ["<pad>", "a", "b"]
CHECKPOINT = Path("run/last.ckpt")
KINDS: dict[str, tuple[type, dict[str, Any]]] = {
    "ar": (ARModule, {"data": DataConfig(VOCABULARY)}),
    "nar": (NARModule, {"data": DataConfig(VOCABULARY)}),
    "preference": (PreferenceModule, {"data": DataConfig(VOCABULARY)}),
    "codec": (CodecModule, {"network": {"kind": "frame_rate", "sample_rate": 16000}}),
}


def hyper_parameters(kind: str) -> dict[str, Any]:
    """All hyper-parameters of a module with their values, as a checkpoint has them."""
    module, given = KINDS[kind]
    defaults = {name: p.default for name, p in inspect.signature(module).parameters.items()}
    return flatten(defaults | given)


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, list):
        return [*value[:-1], "other"]
    if isinstance(value, dict):
        return value | {"other": 1}
    return f"{value or ''}other"


def resume(kind: str, changed: dict[str, Any], ema_decay: float | None = None, averaged: bool = False) -> None:
    saved = hyper_parameters(kind)
    checkpoint = {"hyper_parameters": saved, **({"averaging_state": {}} if averaged else {})}
    check_resumable(CHECKPOINT, checkpoint, saved | changed, ("vocabulary", "codec"), ema_decay)


EVERY = [(kind, name) for kind in KINDS for name in hyper_parameters(kind)]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_hyper_parameter_takes_effect_or_is_refused(kind: str, name: str) -> None:
    old = hyper_parameters(kind)[name]
    resume(kind, {})
    if name in CHANGEABLE:
        resume(kind, {name: other(old)})
        return
    with pytest.raises(UserError) as caught:
        resume(kind, {name: other(old)})
    message = str(caught.value)
    assert "\n" not in message
    source = name if kind == "codec" else GROUPED.get(name, name)
    assert f"--model.init_args.{source}: " in message or f"{name} of the data: " in message
    assert "--init_from run/last.ckpt" in message
    if name not in ("vocabulary", "network"):
        assert f": {old}, now {other(old)}" in message


def test_changeable_hyper_parameters_exist_and_are_documented() -> None:
    assert set(CHANGEABLE) <= {name for _, name in EVERY}
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    table = text.split("## Resuming with other options")[1].split("\n## ")[0]
    assert {name for name in CHANGEABLE if f"`{name}`" not in table} == set()


def test_other_vocabulary_of_the_same_size_is_refused() -> None:
    with pytest.raises(UserError, match=r"vocabulary of the data: 3 symbols with 'b' in position 2, now 3 symbols with "
                                        "'c' in position 2"):  # fmt: skip
        resume("ar", {"vocabulary": ["<pad>", "a", "c"]})
    with pytest.raises(UserError, match="3 symbols, now 4 symbols with 'c' in position 3"):
        resume("ar", {"vocabulary": [*VOCABULARY, "c"]})


def test_moving_average_cannot_start_or_stop_on_resume() -> None:
    resume("ar", {}, 0.99, averaged=True)
    with pytest.raises(UserError, match=r"--ema_decay: not given, now 0\.99"):
        resume("ar", {}, 0.99)
    with pytest.raises(UserError, match="--ema_decay: given, now not given"):
        resume("ar", {}, None, averaged=True)


def test_another_kind_of_model_is_refused() -> None:
    checkpoint = {"hyper_parameters": hyper_parameters("ar")}
    with pytest.raises(UserError, match="another kind of model"):
        check_resumable(CHECKPOINT, checkpoint, hyper_parameters("nar"), (), None)


def refused(run: Path, tokens: Path, *more: str) -> str:
    """Return the error message of a run that is refused, and check that its directory is unchanged."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = command("valle-train", *train_arguments("ARModule", tokens, run, 5, *more), check=False)
    assert done.returncode == 2, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    return done.stderr.splitlines()[-1]


@pytest.fixture
def run(run_directory: Path, tmp_path: Path) -> Path:
    """A run that can be resumed."""
    root = tmp_path / "run"
    root.mkdir()
    os.link(run_directory / "ar" / "last.ckpt", root / "last.ckpt")
    (root / "config.yaml").write_text("old")
    return root


def test_command_refuses_to_resume_with_other_learning_rate_or_size(run: Path, tokens: Path) -> None:
    line = refused(
        run, tokens, "--model.init_args.optimizer.learning_rate=0.125", "--model.init_args.transformer.dim=64"
    )
    assert "--model.init_args.optimizer.learning_rate: 0.0005, now 0.125" in line
    assert "--model.init_args.transformer.dim: 32, now 64" in line


def test_command_refuses_to_resume_on_data_of_other_vocabulary(run: Path, run_directory: Path, tokens: Path) -> None:
    checkpoint = torch.load(run_directory / "ar" / "last.ckpt", weights_only=True)
    symbols = checkpoint["hyper_parameters"]["vocabulary"]
    symbols[-1] = "ʘ"
    (run / "last.ckpt").unlink()
    torch.save(checkpoint, run / "last.ckpt")
    line = refused(run, tokens)
    assert f"vocabulary of the data: {len(symbols)} symbols with 'ʘ' in position {len(symbols) - 1}, now" in line


def test_changed_loss_weight_takes_effect(run: Path, tokens: Path) -> None:
    command("valle-train", *train_arguments("ARModule", tokens, run, 4,
                                            "--model.init_args.untranscribed_prompt_prob=0.75",
                                            "--save_every=1"))  # fmt: skip
    checkpoint = torch.load(run / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4
    assert checkpoint["hyper_parameters"]["untranscribed_prompt_prob"] == 0.75

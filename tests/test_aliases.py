"""Former names in checkpoints, recipes and flags still work, with a warning that gives the new name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from valle.aliases import CLASSES, HYPER_PARAMETERS, WEIGHTS, rename_flag
from valle.checkpoint import load_model, read_checkpoint
from valle.training import ARModule, NARModule
from valle.training.recipe_config import with_bases


def former_checkpoint(path: Path, target: Path) -> Path:
    """Write a checkpoint as an earlier version would have."""
    checkpoint = torch.load(path, weights_only=True)
    former = {name: old for old, name in HYPER_PARAMETERS.items()}
    checkpoint["hyper_parameters"] = {former.get(n, n): v for n, v in checkpoint["hyper_parameters"].items()}
    state = {}
    for name, weight in checkpoint["state_dict"].items():
        for old, new in WEIGHTS.items():
            if name.startswith(f"model.{new}"):
                name = f"model.{old}{name.removeprefix(f'model.{new}')}"
                break
        state[name] = weight
    checkpoint["state_dict"] = state
    torch.save(checkpoint, target)
    return target


@pytest.mark.parametrize(("module", "kind", "former"), [(ARModule, "ar", "tied"), (NARModule, "nar", "early_stages")])
def test_checkpoint_with_former_names_loads(
    module: type, kind: str, former: str, run_directory: Path, tmp_path: Path
) -> None:
    present = run_directory / kind / "last.ckpt"
    path = former_checkpoint(present, tmp_path / f"{kind}.ckpt")
    assert former in torch.load(path, weights_only=True)["hyper_parameters"]
    with pytest.warns(FutureWarning, match=f"'{former}' is now called '{HYPER_PARAMETERS[former]}'"):
        loaded = module.load_from_checkpoint(path)
    expected = module.load_from_checkpoint(present)
    assert loaded.hparams == expected.hparams
    for name, weight in expected.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name]), name
    with pytest.warns(FutureWarning, match=former):
        model, hyper_parameters = load_model(path)
    assert not set(HYPER_PARAMETERS) & set(hyper_parameters)
    assert set(model.state_dict()) == {name.removeprefix("model.") for name in expected.state_dict()}


def test_weights_of_the_former_latent_regression_are_renamed(tmp_path: Path) -> None:
    state = {"model.expectation.usual.weight": torch.ones(1), "model.expectation.out.bias": torch.ones(2)}
    torch.save({"hyper_parameters": {}, "state_dict": state}, tmp_path / "nar.ckpt")
    renamed = read_checkpoint(tmp_path / "nar.ckpt")["state_dict"]
    assert sorted(renamed) == ["model.regression.code_mean.weight", "model.regression.out.bias"]


def test_recipe_with_former_names_is_read(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model:\n  class_path: valle.training.ARModule\n  init_args: {voice_prompt: 0.4, tied: false}\n"
        "data:\n  class_path: valle.data.batches.TokensDataModule\n"
    )
    with pytest.warns(FutureWarning) as caught:
        arguments = with_bases(["fit", "--config", str(recipe)])
    assert {"voice_prompt", "tied"} <= {str(w.message).split("'")[1] for w in caught}
    assert "untranscribed_prompt_prob: 0.4" in arguments[2]
    assert "tie_embeddings: false" in arguments[2]
    assert "valle.data.datamodule.TokensDataModule" in arguments[2]


@pytest.mark.parametrize("former", sorted(HYPER_PARAMETERS))
def test_flag_with_a_former_name_is_renamed(former: str) -> None:
    name = HYPER_PARAMETERS[former]
    with pytest.warns(FutureWarning, match=name):
        assert rename_flag(f"--model.init_args.{former}=1") == f"--model.init_args.{name}=1"
    with pytest.warns(FutureWarning, match=name):
        assert rename_flag(f"--model.init_args.{former}") == f"--model.init_args.{name}"
    assert rename_flag(f"--model.init_args.{name}=1") == f"--model.init_args.{name}=1"


@pytest.mark.parametrize("flag", ["", "--data=", "--data.class_path="])
@pytest.mark.parametrize("former", sorted(CLASSES))
def test_former_class_path_is_renamed(former: str, flag: str) -> None:
    with pytest.warns(FutureWarning, match=CLASSES[former]):
        assert rename_flag(f"{flag}{former}") == f"{flag}{CLASSES[former]}"

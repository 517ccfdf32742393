"""Former names in checkpoints, recipes and flags still work, with a warning that gives the new name."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import yaml

from tests.conftest import command
from valle.aliases import CLASSES, GROUPED, HYPER_PARAMETERS, WEIGHTS, rename_flag
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


def recipe_of(tmp_path: Path, module: str, init_args: dict[str, object]) -> Path:
    """Write a recipe, and one that builds on it and has `init_args`; return the second."""
    (tmp_path / "base.yaml").write_text(f"model: {{class_path: valle.training.{module}}}\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"base": "base.yaml", "model": {"init_args": init_args}}))
    return recipe


def read_recipe(recipe: Path, *arguments: str) -> tuple[dict[str, object], list[str]]:
    """Return the init_args that `valle-train` reads from a recipe, and the other arguments that it reads."""
    expanded = with_bases(["fit", "--config", str(recipe), *arguments])
    content = expanded[4]
    text = Path(content).read_text(encoding="utf-8") if content == str(recipe) else content
    return yaml.safe_load(text)["model"]["init_args"], expanded[5:]


def place(name: str) -> str:
    """Where a recipe has a hyper-parameter today."""
    name = HYPER_PARAMETERS.get(name, name)
    return GROUPED.get(name, name)


@pytest.mark.parametrize("former", sorted(HYPER_PARAMETERS.keys() | GROUPED.keys()))
def test_recipe_and_flags_with_a_former_name_are_read(former: str, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "NARModule", {former: 3, "prompt_seconds": 1.5})
    flags = [f"--model.init_args.{former}=1", f"--model.{former}", "1", "--model.init_args.prompt_seconds=2"]
    with pytest.warns(FutureWarning) as caught:
        init_args, arguments = read_recipe(recipe, *flags)
    group, _, name = place(former).rpartition(".")
    assert init_args == {"prompt_seconds": 1.5} | ({group: {name: 3}} if group else {name: 3})
    assert arguments[:2] == [f"--model.init_args.{place(former)}=1", f"--model.{place(former)}"]
    assert arguments[2:] == flags[2:]
    sources = [str(warning.message) for warning in caught if repr(former) in str(warning.message)]
    assert [source.split(":")[0] for source in sources] == [str(recipe), *(flag.split("=")[0] for flag in flags[:2])]


def test_former_names_join_the_groups_of_a_recipe(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "ARModule", {"layers": 3, "transformer": {"dim": 64}, "voice_prompt": 0.4})
    with pytest.warns(FutureWarning):
        init_args, _ = read_recipe(recipe)
    assert init_args == {"transformer": {"dim": 64, "layers": 3}, "untranscribed_prompt_prob": 0.4}


def test_comment_that_names_a_codec_does_not_select_one(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "ARModule", {"layers": 3})
    recipe.write_text("# class_path: valle.training.CodecModule\n" + recipe.read_text(encoding="utf-8"))
    with pytest.warns(FutureWarning):
        init_args, _ = read_recipe(recipe)
    assert init_args == {"transformer": {"layers": 3}}


def test_hyper_parameters_of_a_codec_are_not_grouped(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "CodecModule", {"learning_rate": 0.1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        init_args, arguments = read_recipe(recipe, "--model.init_args.warmup_steps=1")
    assert init_args == {"learning_rate": 0.1}
    assert arguments == ["--model.init_args.warmup_steps=1"]


def test_recipe_with_former_class_and_flat_names_trains(tokens: Path, tmp_path: Path) -> None:
    """A whole recipe of an earlier version, through the command."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model:\n  class_path: valle.training.ARModule\n"
        "  init_args: {voice_prompt: 0.4, tied: false, layers: 1, heads: 2, dim: 32, ffn_dim: 32,\n"
        "    learning_rate: 1e-3}\n"
        "data:\n  class_path: valle.data.batches.TokensDataModule\n"
        f"  init_args: {{train: [{tokens / 'train'}], valid: [{tokens / 'valid'}], num_buckets: 2}}\n"
        f"trainer: {{max_steps: 1, default_root_dir: {tmp_path / 'run'}}}\n"
    )
    done = command("valle-train", "fit", "--config", recipe)
    assert "'learning_rate' is now called 'optimizer.learning_rate'" in done.stderr
    hparams = ARModule.load_from_checkpoint(tmp_path / "run" / "last.ckpt").hparams
    assert hparams["untranscribed_prompt_prob"] == 0.4
    assert hparams["learning_rate"] == 1e-3
    assert hparams["layers"] == 1


@pytest.mark.parametrize("flag", ["", "--data=", "--data.class_path="])
@pytest.mark.parametrize("former", sorted(CLASSES))
def test_former_class_path_is_renamed(former: str, flag: str) -> None:
    with pytest.warns(FutureWarning, match=CLASSES[former]):
        assert rename_flag(f"{flag}{former}") == f"{flag}{CLASSES[former]}"

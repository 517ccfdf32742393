"""Training by the command: self-contained checkpoints, logs, schedule, recipes, options."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open

import valle
from tests.conftest import ROOT, command, train, train_arguments
from tests.training.runs import read_events, read_scalars
from valle import codec
from valle.data import kaldi
from valle.data.loader import Batch
from valle.errors import UserError
from valle.models.config import TransformerConfig
from valle.training import ARModule, NARModule
from valle.training.cli import train as train_command
from valle.training.config import DataConfig
from valle.training.prompts import trim_to_whole_groups
from valle.training.recipe_config import with_bases

RECIPES = ROOT / "recipes"


@pytest.mark.parametrize(("kind", "module"), [("ar", ARModule), ("nar", NARModule)])
def test_checkpoint_is_self_contained_and_has_no_pickled_code(run_directory: Path, kind: str, module: type) -> None:
    loaded = module.load_from_checkpoint(run_directory / kind / "last.ckpt", weights_only=True)
    assert loaded.hparams["codec"] == "mini"
    assert len(loaded.hparams["vocabulary"]) > 30
    assert loaded.vocabulary.symbols[0] == "<pad>"


def test_training_logs_losses_accuracies_and_samples(run_directory: Path, tokens: Path, tmp_path: Path) -> None:
    options = ["--trainer.val_check_interval=1", "--trainer.check_val_every_n_epoch=null"]
    train("ARModule", tokens, tmp_path / "ar", 1, *options)
    tags = read_events(tmp_path / "ar").Tags()
    assert {"train/loss", "train/top1", "train/top10", "valid/loss"} <= set(tags["scalars"])
    assert any(tag.startswith("lr") for tag in tags["scalars"])
    assert {"sample/codes", "sample/attention"} <= set(tags["images"])
    assert "sample/audio" in tags["audio"]
    scalars = read_events(run_directory / "nar").Tags()["scalars"]
    assert {f"valid/top10_stage{stage}" for stage in range(1, 8)} <= set(scalars)


def test_exported_model_synthesizes_and_can_be_trained_on(
    run_directory: Path, tokens: Path, speech: Path, tmp_path: Path
) -> None:
    origin = tmp_path / "origin.json"
    origin.write_text('{"data": "espeak-ng, 6 hours"}')
    command("python", "-m", "valle.training.export_model", run_directory, tmp_path / "model", "--provenance", origin)
    with safe_open(tmp_path / "model" / "ar.safetensors", "pt") as file:
        assert file.metadata()["data"] == "espeak-ng, 6 hours"
        assert int(file.metadata()["steps"]) > 0
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "ar.json", "ar.safetensors", "nar.json", "nar.safetensors"
    }  # fmt: skip
    source = valle.load(run_directory)
    exported = valle.load(tmp_path / "model")
    assert exported.vocabulary == source.vocabulary
    for part in ("ar", "nar"):
        weights = dict(getattr(exported, part).named_parameters())
        for name, weight in getattr(source, part).named_parameters():
            torch.testing.assert_close(weights[name], weight, atol=1e-3, rtol=1e-3)
    assert exported.synthesize("Good morning.", speech).duration > 0
    train("NARModule", tokens, tmp_path / "nar", 1, f"--init_from={tmp_path / 'model'}")
    (tmp_path / "model" / "ar.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match="not a model of valle-train, or damaged"):
        valle.load(tmp_path / "model")


def read_configuration(recipe: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    """Return the complete configuration that `valle-train` reads from a recipe."""
    with pytest.raises(SystemExit):
        train_command(["fit", "--config", str(recipe), "--print_config"])
    return yaml.safe_load(capsys.readouterr().out)


def test_recipes_are_valid_configurations(capsys: pytest.CaptureFixture[str]) -> None:
    recipes = [path for path in RECIPES.glob("*/*.yaml") if path.name != "base.yaml"]
    assert len(recipes) > 10
    for path in recipes:
        assert read_configuration(path, capsys)["model"]["class_path"].startswith("valle.training"), path


def test_valle2_recipes_differ_in_group_size_only(capsys: pytest.CaptureFixture[str]) -> None:
    configurations = []
    for size in (1, 2, 4, 8):
        config = read_configuration(RECIPES / "valle2" / f"ar_g{size}.yaml", capsys)
        assert config["model"]["init_args"].pop("group_size") == size
        config["trainer"].pop("default_root_dir")
        config.pop("base")
        configurations.append(config)
    assert all(config == configurations[0] for config in configurations)


def test_recipe_builds_on_its_base(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "base.yaml").write_text("trainer: {max_steps: 1}\n")
    (tmp_path / "a" / "middle.yaml").write_text("base: ../base.yaml\n")
    top = tmp_path / "top.yaml"
    top.write_text("base: a/middle.yaml\n")
    chain = [tmp_path / "a" / ".." / "base.yaml", tmp_path / "a" / "middle.yaml", top]
    expected = ["fit", *(x for path in chain for x in ("--config", str(path))), "--seed", "1"]
    assert with_bases(["fit", "--config", str(top), "--seed", "1"]) == expected
    assert with_bases(["fit", f"--config={top}", "--seed", "1"]) == expected
    (tmp_path / "base.yaml").write_text("base: a/middle.yaml\n")
    (tmp_path / "lost.yaml").write_text("base: nowhere.yaml\n")
    for name in ("base.yaml", "lost.yaml"):
        with pytest.raises(UserError, match="base"):
            with_bases(["fit", "--config", str(tmp_path / name)])


def test_valle2_layout_trains_on_bpe_units(corpus: Path, tokens: Path, tmp_path: Path) -> None:
    bpe = tmp_path / "bpe.json"
    command("valle-prepare", "bpe", corpus / "train", bpe, "--size", "60")
    for kind in ("ARModule", "NARModule"):
        more = ["--model.init_args.max_prompt_seconds=2"] if kind == "NARModule" else []
        train(kind, tokens, tmp_path / "run" / kind[:-6].lower(), 2, "--model.init_args.layout=valle2",
              f"--data.init_args.bpe={bpe}", *more)  # fmt: skip
    # The checkpoints contain it.
    bpe.unlink()
    tts = valle.load(tmp_path / "run")
    utterance = kaldi.read(corpus / "test_seen")[0]
    assert "".join(tts.encode_text("The baker sold a loaf.").symbols) == "▁the▁baker▁sold▁a▁loaf."
    assert tts.synthesize("The baker sold a loaf.", utterance.path, utterance.text).duration > 0
    with pytest.raises(UserError, match="'ñ'"):
        tts.synthesize("The señor sold a loaf.", utterance.path)


def test_grouped_code_modelling_is_one_option(tokens: Path, tmp_path: Path) -> None:
    train("ARModule", tokens, tmp_path / "ar", 1, "--model.init_args.group_size=4")
    assert ARModule.load_from_checkpoint(tmp_path / "ar" / "last.ckpt").model.group_size == 4


def test_training_without_tokens_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "valid").mkdir()
    done = command("valle-train", *train_arguments("ARModule", tmp_path, tmp_path / "run", 1), check=False)
    assert done.returncode == 2
    assert "contains no tokens" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_provenance_that_is_not_a_json_object_is_named(content: str, run_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "origin.json").write_text(content)
    done = command("python", "-m", "valle.training.export_model", run_directory, tmp_path / "model", "--provenance",
                   tmp_path / "origin.json", check=False)  # fmt: skip
    assert done.returncode == 2
    assert "origin.json" in done.stderr
    assert not (tmp_path / "model").exists()


def test_codec_is_trained_exported_and_loaded(speech: Path, tmp_path: Path) -> None:
    (tmp_path / "files.lst").write_text(f"{speech}\n")
    recipe = ROOT / "recipes" / "codec" / "mini.yaml"
    lists = [f"--data.init_args.{part}=[{tmp_path / 'files.lst'}]" for part in ("train", "valid")]
    sizes = ["--data.init_args.batch_size=2", "--data.init_args.epoch_size=2", "--trainer.max_steps=1"]
    root = tmp_path / "run"
    command("valle-train", "fit", "--config", recipe, *lists, *sizes, "--model.init_args.quantize_start=9",
            f"--trainer.default_root_dir={root}")  # fmt: skip
    command("python", "-m", "valle.training.export_codec", root / "last.ckpt", tmp_path / "codec")
    assert codec.load(tmp_path / "codec").frame_rate == 50


@pytest.mark.parametrize("module", ["ARModule", "NARModule"])
def test_loss_without_guided_attention_is_the_papers(module: str, tokens: Path, tmp_path: Path) -> None:
    for weight in (0.0, 1.0):
        train(module, tokens, tmp_path / f"{weight}", 1, f"--model.init_args.guided_attention={weight}")
    assert "train/guide" not in read_events(tmp_path / "0.0").Tags()["scalars"]
    assert read_scalars(tmp_path / "1.0", "train/guide")[0] > 0
    # Before the first update, the loss of the paper is the same in both.
    assert read_scalars(tmp_path / "0.0") == read_scalars(tmp_path / "1.0") != {}


@pytest.mark.parametrize(
    ("warmup_steps", "expected"),
    [(2, [0.002, 0.004, 0.004, 0.003, 0.002, 0.001]), (0, [0.004, 0.003, 0.002, 0.001])],
)
def test_learning_rate_warms_up_and_decays_linearly(
    warmup_steps: int, expected: list[float], tokens: Path, tmp_path: Path
) -> None:
    """VALL-E, section 5.1."""
    options = ["--model.init_args.optimizer.learning_rate=0.004"]
    options.append(f"--model.init_args.optimizer.warmup_steps={warmup_steps}")
    train("ARModule", tokens, tmp_path, len(expected), *options)
    assert list(read_scalars(tmp_path, "lr-AdamW/pg1").values()) == pytest.approx(expected)


# One layer, since torch.compile takes about ten seconds for each.
ONE_LAYER = [
    "--trainer.precision=32-true",
    "--model.init_args.transformer.dropout=0",
    "--model.init_args.transformer.layers=1",
]


@pytest.fixture(scope="module")
def one_layer(tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps of a model of one layer, in float32 without dropout."""
    root = tmp_path_factory.mktemp("one_layer")
    train("ARModule", tokens, root, 2, *ONE_LAYER)
    return root


@pytest.mark.parametrize("switch", ["activation_checkpointing", "compiled"])
def test_activation_checkpointing_and_compile_do_not_change_training(
    one_layer: Path, tokens: Path, tmp_path: Path, switch: str
) -> None:
    train("ARModule", tokens, tmp_path, 2, *ONE_LAYER, f"--model.init_args.training.{switch}=true")
    for tag in ("train/loss", "grad_norm"):
        expected = read_scalars(one_layer, tag)
        values = read_scalars(tmp_path, tag)
        assert len(expected) == 2
        assert expected.keys() == values.keys()
        assert all(abs(values[step] - value) < 1e-4 * value for step, value in expected.items()), tag


def test_first_frames_are_trimmed_to_whole_groups() -> None:
    """VALL-E 2, section 3.1."""
    codes = torch.arange(9)[None, :, None].expand(3, -1, 8)
    lengths = torch.tensor([9, 7, 4])
    trimmed, trimmed_lengths = trim_to_whole_groups(codes, lengths, 4)
    assert trimmed_lengths.tolist() == [8, 4, 4]
    rows = [row[:n, 0].tolist() for row, n in zip(trimmed, trimmed_lengths, strict=True)]
    assert rows == [[1, 2, 3, 4, 5, 6, 7, 8], [3, 4, 5, 6], [0, 1, 2, 3]]
    unchanged, unchanged_lengths = trim_to_whole_groups(codes, lengths, 1)
    assert torch.equal(unchanged, codes)
    assert torch.equal(unchanged_lengths, lengths)


def test_nar_prompts_are_prefixes_or_segments() -> None:
    """VALL-E: a segment of the target; VALL-E 2: a prefix of 3 to 30 seconds, at most half of the utterance."""
    frames = torch.arange(400)[None, :, None].expand(64, -1, 8)
    lengths = torch.full((64,), 400)
    lengths[0] = 100
    nothing = torch.zeros(64, 1, dtype=torch.long)
    batch = Batch(nothing, nothing[:, 0] + 1, frames, lengths, nothing, [""] * 64)

    def module(**options: float) -> NARModule:
        data = DataConfig(["<pad>", "a"], frame_rate=10.0)
        return NARModule(data, transformer=TransformerConfig(layers=1, heads=2, dim=32, ffn_dim=32), **options)  # type: ignore[arg-type]

    torch.manual_seed(0)
    split = module(prompt_seconds=10.0).split_prompt(batch, prefix=False)
    prompt, prompt_lengths, target, target_lengths, is_prompt = split
    assert prompt_lengths.tolist() == [50] + [100] * 63
    assert torch.equal(target_lengths, lengths)
    starts = prompt[:, 0, 0]
    assert starts.unique().numel() > 30
    for row in range(64):
        assert is_prompt[row].nonzero()[:, 0].tolist() == prompt[row, : prompt_lengths[row], 0].tolist()

    second = module(prompt_seconds=3.0, max_prompt_seconds=30.0)
    prompt, prompt_lengths, target, target_lengths, is_prompt = second.split_prompt(batch, prefix=True)
    assert not is_prompt.any()
    assert torch.equal(prompt_lengths + target_lengths, lengths)
    assert (prompt_lengths <= lengths // 2).all()
    assert 30 <= prompt_lengths.min() < 60 < 150 < prompt_lengths.max() <= 200
    for row in range(64):
        assert (prompt[row, 0, 0], target[row, 0, 0]) == (0, prompt_lengths[row])
    assert second.eval().split_prompt(batch, prefix=True)[1].unique().tolist() == [30]

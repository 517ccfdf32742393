"""Training: self-contained checkpoints, exact resuming, the command."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import valle
from tests.conftest import BIN, ROOT, command, nar_inputs, random_ids, train
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


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.parametrize(("kind", "module"), [("ar", ARModule), ("nar", NARModule)])
def test_checkpoint_is_self_contained_and_has_no_pickled_code(run_directory: Path, kind: str, module: type) -> None:
    loaded = module.load_from_checkpoint(run_directory / kind / "last.ckpt", weights_only=True)
    assert loaded.hparams["codec"] == "mini"
    assert len(loaded.hparams["vocabulary"]) > 30
    assert loaded.vocabulary.symbols[0] == "<pad>"


def test_resumed_nar_run_ends_with_the_same_weights(tokens: Path, tmp_path: Path) -> None:
    train("NARModule", tokens, tmp_path / "straight", 9, "--save_every=1")
    kill_after_step(5, "NARModule", tokens, tmp_path / "stopped", 9)
    reached = torch.load(tmp_path / "stopped" / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < reached < 9
    train("NARModule", tokens, tmp_path / "stopped", 9, "--save_every=1")
    straight, resumed = weights(tmp_path / "straight" / "last.ckpt"), weights(tmp_path / "stopped" / "last.ckpt")
    for name, value in straight.items():
        assert torch.equal(value, resumed[name]), name


def kill_after_step(step: int, kind: str, tokens: Path, root: Path, steps: int, *more: str) -> None:
    """The same training, killed by SIGKILL after a step, before that step's checkpoint is written."""
    script = (
        "import os, signal\n"
        "from lightning.pytorch import Callback\n"
        "from valle.training import cli\n"
        "class Stop(Callback):\n"
        "    def on_train_batch_end(self, trainer, module, *rest):\n"
        f"        if trainer.global_step == {step}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "original = cli.TrainCLI.instantiate_trainer\n"
        "def instantiate(self, **options):\n"
        "    trainer = original(self, **options); trainer.callbacks.insert(0, Stop()); return trainer\n"
        "cli.TrainCLI.instantiate_trainer = instantiate\n"
        "from valle.cli.train import main\n"
        "main()\n"
    )
    done = train(kind, tokens, root, steps, "--save_every=1", *more, script=script)
    assert done.returncode == -signal.SIGKILL


def test_training_logs_losses_accuracies_and_samples(run_directory: Path, tokens: Path, tmp_path: Path) -> None:
    train(
        "ARModule",
        tokens,
        tmp_path / "ar",
        2,
        "--trainer.val_check_interval=1",
        "--trainer.check_val_every_n_epoch=null",
    )
    events = EventAccumulator(str(tmp_path / "ar"))
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "train/top1", "train/top10", "valid/loss"} <= set(tags["scalars"])
    assert any(tag.startswith("lr") for tag in tags["scalars"])
    assert {"sample/codes", "sample/attention"} <= set(tags["images"])
    assert "sample/audio" in tags["audio"]
    stages = EventAccumulator(str(run_directory / "nar"))
    stages.Reload()
    assert {f"valid/top10_stage{stage}" for stage in range(1, 8)} <= set(stages.Tags()["scalars"])


def test_init_from_copies_weights_of_another_run(run_directory: Path, tokens: Path, tmp_path: Path) -> None:
    start = run_directory / "ar" / "last.ckpt"
    train(
        "ARModule",
        tokens,
        tmp_path / "ar",
        1,
        f"--init_from={start}",
        "--model.init_args.optimizer.learning_rate=1e-12",
    )
    before, after = weights(start), weights(tmp_path / "ar" / "last.ckpt")
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_code_embeddings_are_initialized_with_the_codecs_vectors(tokens: Path, tmp_path: Path) -> None:
    train("NARModule", tokens, tmp_path / "nar", 1, "--init_codebooks=true", "--model.optimizer.learning_rate=1e-12",
          "--model.init_args.transformer.dim=64", "--model.init_args.transformer.heads=2")  # fmt: skip
    state = weights(tmp_path / "nar" / "last.ckpt")
    vectors = codec.load("mini").codebooks
    embedded = torch.stack([state[f"model.code_embeddings.{book}.weight"] for book in range(8)])
    vectors = vectors - vectors.mean(1, keepdim=True)
    codes = torch.randint(1024, (8, 200), generator=torch.Generator().manual_seed(0))[..., None]
    latents, sums = (x.gather(1, codes.expand(-1, -1, 64)).sum(0) for x in (vectors, embedded))
    alike = F.cosine_similarity(*latents.reshape(2, 100, -1))
    torch.testing.assert_close(F.cosine_similarity(*sums.reshape(2, 100, -1)), alike, atol=1e-3, rtol=0)


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
    whole, exported = valle.load(run_directory), valle.load(tmp_path / "model")
    assert exported.vocabulary == whole.vocabulary
    for part in ("ar", "nar"):
        halves = dict(getattr(exported, part).named_parameters())
        for name, weight in getattr(whole, part).named_parameters():
            torch.testing.assert_close(halves[name], weight, atol=1e-3, rtol=1e-3)
    assert exported.synthesize("Good morning.", speech).duration > 0
    train("NARModule", tokens, tmp_path / "nar", 1, f"--init_from={tmp_path / 'model'}")
    (tmp_path / "model" / "ar.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match="not a model of valle-train, or damaged"):
        valle.load(tmp_path / "model")


def configuration(recipe: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    """What valle-train makes of a recipe."""
    with pytest.raises(SystemExit):
        train_command(["fit", "--config", str(recipe), "--print_config"])
    return yaml.safe_load(capsys.readouterr().out)


def test_recipes_are_valid_configurations(capsys: pytest.CaptureFixture[str]) -> None:
    recipes = [path for path in RECIPES.glob("*/*.yaml") if path.name != "base.yaml"]
    assert len(recipes) > 10
    for path in recipes:
        assert configuration(path, capsys)["model"]["class_path"].startswith("valle.training"), path


def test_valle2_recipes_differ_in_group_size_only(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for size in (1, 2, 4, 8):
        config = configuration(RECIPES / "valle2" / f"ar_g{size}.yaml", capsys)
        assert config["model"]["init_args"].pop("group_size") == size
        config["trainer"].pop("default_root_dir"), config.pop("base")
        shown.append(config)
    assert all(config == shown[0] for config in shown)


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
    bpe.unlink()  # it travels in the checkpoints
    tts = valle.load(tmp_path / "run")
    utterance = kaldi.read(corpus / "test_seen")[0]
    assert "".join(tts.encode_text("The baker sold a loaf.").symbols) == "▁the▁baker▁sold▁a▁loaf."
    assert tts.synthesize("The baker sold a loaf.", utterance.path, utterance.text).duration > 0
    with pytest.raises(UserError, match="'ñ'"):
        tts.synthesize("The señor sold a loaf.", utterance.path)


def test_deeper_model_begins_by_computing_the_same(run_directory: Path, tokens: Path, tmp_path: Path) -> None:
    shallow = NARModule.load_from_checkpoint(run_directory / "nar" / "last.ckpt")
    layers = shallow.hparams["layers"]
    train("NARModule", tokens, tmp_path / "nar", 1, f"--init_from={run_directory}",
          "--model.optimizer.learning_rate=1e-30", f"--model.transformer.layers={layers + 2}")  # fmt: skip
    deep = NARModule.load_from_checkpoint(tmp_path / "nar" / "last.ckpt")
    assert len(deep.model.transformer.blocks) == layers + 2
    codes = random_ids(1, 12, 8, high=1024)
    inputs = nar_inputs(random_ids(1, 12), codes, codes)
    stage = torch.tensor([3])
    torch.testing.assert_close(deep.eval().model(inputs, stage), shallow.eval().model(inputs, stage))


def test_grouped_model_starts_from_one_of_single_codes(tokens: Path, run_directory: Path, tmp_path: Path) -> None:
    train("ARModule", tokens, tmp_path / "ar", 1, "--model.init_args.group_size=2", f"--init_from={run_directory}",
          "--model.init_args.optimizer.learning_rate=1e-30")  # fmt: skip
    double = ARModule.load_from_checkpoint(tmp_path / "ar" / "last.ckpt").model
    single = ARModule.load_from_checkpoint(run_directory / "ar" / "last.ckpt").model
    assert torch.equal(double.head.weight, single.head.weight)
    torch.testing.assert_close(double.group_prediction.weight, torch.eye(32).repeat(2, 1))
    done = subprocess.run(
        [str(BIN / "valle-train"), "fit", "--model", "valle.training.ARModule", "--data",
         "valle.data.datamodule.TokensDataModule", f"--data.init_args.train=[{tokens / 'train'}]",
         f"--data.init_args.valid=[{tokens / 'valid'}]", "--trainer.max_steps=1", f"--init_from={run_directory}",
         "--model.init_args.transformer.dim=64", f"--trainer.default_root_dir={tmp_path / 'other'}"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--init_from" in done.stderr.splitlines()[-1]


def test_grouped_code_modelling_is_one_option(tokens: Path, tmp_path: Path) -> None:
    train("ARModule", tokens, tmp_path / "ar", 1, "--model.init_args.group_size=4")
    assert ARModule.load_from_checkpoint(tmp_path / "ar" / "last.ckpt").model.group_size == 4


def test_training_without_tokens_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(BIN / "valle-train"), "fit", "--model", "valle.training.ARModule", "--data",
         "valle.data.datamodule.TokensDataModule", f"--data.init_args.train=[{tmp_path}]",
         f"--data.init_args.valid=[{tmp_path}]", "--trainer.max_steps=1",
         f"--trainer.default_root_dir={tmp_path / 'run'}"],
        capture_output=True, text=True,
    )  # fmt: skip
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
    sizes = ["--data.init_args.batch_size=2", "--data.init_args.epoch_size=4", "--trainer.max_steps=2"]
    root = tmp_path / "run"
    command("valle-train", "fit", "--config", recipe, *lists, *sizes, "--model.init_args.quantize_start=9",
            f"--trainer.default_root_dir={root}")  # fmt: skip
    command("python", "-m", "valle.training.export_codec", root / "last.ckpt", tmp_path / "codec")
    assert codec.load(tmp_path / "codec").frame_rate == 50


@pytest.mark.parametrize("module", ["ARModule", "NARModule"])
def test_loss_without_guided_attention_is_the_papers(module: str, tokens: Path, tmp_path: Path) -> None:
    for weight in (0.0, 1.0):
        train(module, tokens, tmp_path / f"{weight}", 1, f"--model.init_args.guided_attention={weight}",
              "--trainer.log_every_n_steps=1")  # fmt: skip
    tags = []
    for weight in (0.0, 1.0):
        events = EventAccumulator(str(tmp_path / f"{weight}"))
        events.Reload()
        tags.append({tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"] if tag.startswith("train")})
    assert "train/guide" not in tags[0]
    assert tags[1]["train/guide"] > 0
    assert tags[0]["train/loss"] == tags[1]["train/loss"], "before the first update both see the same"


def test_learning_rate_warms_up_and_decays_linearly(tokens: Path, tmp_path: Path) -> None:
    """VALL-E, section 5.1; the warm-up of the tests' models is 2 steps."""
    train("ARModule", tokens, tmp_path, 6, "--model.init_args.optimizer.learning_rate=0.004")
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    rates = [event.value for event in events.Scalars("lr-AdamW/pg1")]
    assert rates == pytest.approx([0.002, 0.004, 0.004, 0.003, 0.002, 0.001])


def test_first_frames_are_trimmed_to_whole_groups() -> None:
    """VALL-E 2, section 3.1."""
    codes = torch.arange(9)[None, :, None].expand(3, -1, 8)
    lengths = torch.tensor([9, 7, 4])
    cut, left = trim_to_whole_groups(codes, lengths, 4)
    assert left.tolist() == [8, 4, 4]
    rows = [row[:n, 0].tolist() for row, n in zip(cut, left, strict=True)]
    assert rows == [[1, 2, 3, 4, 5, 6, 7, 8], [3, 4, 5, 6], [0, 1, 2, 3]]
    same, left = trim_to_whole_groups(codes, lengths, 1)
    assert torch.equal(same, codes)
    assert torch.equal(left, lengths)


def test_nar_prompts_are_prefixes_or_segments() -> None:
    """VALL-E: a segment, here in the target too; VALL-E 2: the beginning, 3 to 30 seconds, at most half."""
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
    prompt, prompt_lengths, target, target_lengths, given = split
    assert prompt_lengths.tolist() == [50] + [100] * 63
    assert torch.equal(target_lengths, lengths)
    starts = prompt[:, 0, 0]
    assert starts.unique().numel() > 30
    for row in range(64):
        assert given[row].nonzero()[:, 0].tolist() == prompt[row, : prompt_lengths[row], 0].tolist()

    second = module(prompt_seconds=3.0, max_prompt_seconds=30.0)
    prompt, prompt_lengths, target, target_lengths, given = second.split_prompt(batch, prefix=True)
    assert not given.any()
    assert torch.equal(prompt_lengths + target_lengths, lengths)
    assert (prompt_lengths <= lengths // 2).all()
    assert 30 <= prompt_lengths.min() < 60 < 150 < prompt_lengths.max() <= 200
    for row in range(64):
        assert (prompt[row, 0, 0], target[row, 0, 0]) == (0, prompt_lengths[row])
    assert second.eval().split_prompt(batch, prefix=True)[1].unique().tolist() == [30]

"""Options and data that valle-train cannot work with are one line and exit code 2."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.conftest import command, train_arguments
from valle.data import kaldi
from valle.data.datamodule import TokensDataModule
from valle.data.tokens import TokensConfig
from valle.errors import UserError
from valle.models import positions
from valle.training import ARModule, NARModule
from valle.training.cli import train
from valle.training.config import nest
from valle.training.hyper_parameters import option

SIZES = {"vocabulary": ["<pad>", "a"], "layers": 1, "heads": 2, "dim": 16, "ffn_dim": 16}
TOO_LARGE = 2**64
WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def refused_line(tokens: Path, root: Path, *options: str) -> str:
    """Run `valle-train` with invalid options and return its error message of one line."""
    done = command("valle-train", *train_arguments("ARModule", tokens, root, 1, *options), check=False)
    assert done.returncode == 2, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert not (root / "last.ckpt").exists()
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        pytest.param("--trainer.accelerator", "gpu", marks=WITHOUT_GPU),
        ("--trainer.devices", "foo"),
        ("--ckpt_path", "nothing.ckpt"),
        ("--seed_everything", str(TOO_LARGE)),
    ],
)  # fmt: skip
def test_unavailable_device_or_strategy_is_one_line(option: str, value: str, tokens: Path, tmp_path: Path) -> None:
    assert f"{option} {value}" in refused_line(tokens, tmp_path / "run", f"{option}={value}")


@pytest.mark.parametrize("seed", [TOO_LARGE, -1])
@pytest.mark.parametrize("module", [ARModule, NARModule])
def test_seed_over_64_bits_is_refused(module: type, seed: int, tokens: Path) -> None:
    with pytest.raises(UserError, match=f"seed {seed}"):
        module(**nest(SIZES | {"seed": seed}))
    with pytest.raises(UserError, match=f"seed {seed}"):
        TokensDataModule([str(tokens / "train")], [str(tokens / "valid")], seed=seed)


def test_the_largest_seed_trains(tokens: Path, tmp_path: Path) -> None:
    largest = TOO_LARGE - 1
    seeds = [f"--{part}.init_args.seed={largest}" for part in ("model", "data")]
    command("valle-train", *train_arguments("ARModule", tokens, tmp_path / "run", 1, *seeds))
    assert (tmp_path / "run" / "last.ckpt").is_file()


def test_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match=r"--model\.init_args\.transformer\.dim 15"):
        ARModule(**nest(SIZES | {"dim": 15}))


@pytest.fixture(scope="module")
def single(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens of a corpus with one training utterance."""
    folder = tmp_path_factory.mktemp("single")
    kaldi.write(folder / "data", kaldi.read(corpus / "train")[:1])
    command("valle-tokenize", folder / "data", folder / "tokens", "--codec", "mini")
    return folder / "tokens"


def test_one_training_utterance_is_one_line(single: Path, tokens: Path, tmp_path: Path) -> None:
    shutil.copytree(single, tmp_path / "tokens" / "train")
    shutil.copytree(tokens / "valid", tmp_path / "tokens" / "valid")
    line = refused_line(tmp_path / "tokens", tmp_path / "run")
    assert "1 utterances to train on" in line
    assert str(tmp_path / "tokens" / "train") in line


def test_fewer_short_utterances_than_buckets_make_batches(tokens: Path) -> None:
    valid = [str(tokens / "valid")]
    seconds = sorted(cut.duration for cut in _cuts(tokens / "train"))
    data = TokensDataModule([str(tokens / "train")], valid, max_utterance=seconds[2] + 1e-3, num_workers=0)
    assert sum(len(batch.ids) for batch in data.train_dataloader()) == 3
    with pytest.raises(UserError, match=r"0 utterances to train on of at most 0\.1 s"):
        TokensDataModule([str(tokens / "train")], valid, max_utterance=0.1, num_workers=0).train_dataloader()


def _cuts(directory: Path):
    from lhotse import CutSet

    return CutSet.from_shar(fields={"cuts": sorted(map(str, directory.glob("cuts.*.jsonl.gz")))})


@pytest.mark.parametrize("option", ["max_duration", "max_utterance"])
def test_zero_duration_is_refused(option: str, tokens: Path) -> None:
    with pytest.raises(UserError, match=option):
        TokensDataModule([str(tokens / "train")], [str(tokens / "valid")], **{option: 0.0})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", float("nan")),
        ("learning_rate", -1.0),
        ("dropout", 1.0),
        ("weight_decay", float("inf")),
        ("warmup_steps", -5),
        ("layers", 0),
        ("heads", 0),
        ("ffn_dim", -4),
        ("lora_rank", -2),
        ("codebook_size", 0),
        ("guided_attention", float("nan")),
    ],
)
@pytest.mark.parametrize("module", [ARModule, NARModule])
def test_hyper_parameter_out_of_range_is_refused(module: type, name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{option(name)} {value}"):
        module(**nest(SIZES | {name: value}))


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [(ARModule, "untranscribed_prompt_prob", -3.0), (ARModule, "group_size", 3), (NARModule, "num_codebooks", 0),
     (NARModule, "frame_rate", float("nan")), (NARModule, "prompt_seconds", -1.0),
     (NARModule, "prefix_prompt_prob", 2.0)],
)  # fmt: skip
def test_hyper_parameter_of_one_module_out_of_range_is_refused(module: type, name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{option(name)} {value}"):
        module(**nest(SIZES | {name: value}))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--config", "bad.yaml"], "bad.yaml: not YAML"),
        (["--config", "none.yaml"], "none.yaml"),
        (["--model", "NoSuch"], "NoSuch"),
        (["--trainer.max_steps", "many"], "trainer.max_steps"),
        (["--modle", "3"], "--modle"),
    ],
)
def test_unparsable_command_line_is_one_line(tmp_path: Path, arguments: list[str], named: str) -> None:
    (tmp_path / "bad.yaml").write_text("a: [1\n", encoding="utf-8")
    done = command("valle-train", "fit", *arguments, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert named in done.stderr


@pytest.mark.parametrize(
    ("module", "options", "room"),
    [
        ("ARModule", ["--model.untranscribed_prompt_prob=0"], 60),
        ("ARModule", ["--model.untranscribed_prompt_prob=0.5", "--model.prompt_frames=20"], 60 - 20 - 1),
        ("NARModule", ["--model.prefix_prompt_prob=1"], 60),
        ("NARModule", ["--model.prefix_prompt_prob=0.5"], 60 - 20),
    ],
)
def test_utterances_without_positions_are_named_before_training_starts(
    module: str, options: list[str], room: int, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Learned positions end; a run must not fail at its first long utterance."""
    monkeypatch.setattr(positions, "MAX_POSITIONS", 60)
    arguments = train_arguments(module, tokens, tmp_path / "run", 1, "--model.layout=valle2", *options)
    seconds = room / TokensConfig.read(tokens / "train").frame_rate
    remedy = rf"max_utterance {int(10 * seconds) / 10:g}$"
    with pytest.raises(UserError, match=rf"^\d+ utterances are longer .* {seconds:.1f} s \(.*{remedy}"):
        train(arguments)
    assert not (tmp_path / "run" / "last.ckpt").exists()

"""Training that loses nothing and scales: killed, told to stop, out of disk, diverged; on several ranks."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import valle
from tests.conftest import BIN, command, train, train_arguments
from tests.training.test_training import kill_after_step
from valle.data.datamodule import TokensDataModule
from valle.errors import UserError
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.lora import add_adapters, merged
from valle.training import ARModule
from valle.training.config import nest
from valle.training.warm_start import start_from

ONE_AT_A_TIME = ["--save_every=1", "--trainer.check_val_every_n_epoch=null", "--trainer.val_check_interval=1000"]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def same(one: Path, two: Path) -> None:
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def losses(root: Path, tag: str = "train/loss") -> dict[int, float]:
    """The last value that was logged of each step."""
    events = EventAccumulator(str(root))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(tag)}


def start(kind: str, tokens: Path, root: Path, steps: int, *more: str) -> subprocess.Popen[str]:
    """`valle-train` of a tiny model that runs on."""
    arguments = train_arguments(kind, tokens, root, steps, *more)
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.Popen(
        [str(BIN / "valle-train"), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_resume_after_sigkill_is_bitwise_identical(tokens: Path, tmp_path: Path) -> None:
    root, rng = tmp_path / "killed", random.Random(0)
    train("ARModule", tokens, tmp_path / "straight", 40, *ONE_AT_A_TIME)
    for step, place in ((7, (1, 0)), (9, (1, 2))):  # 6 batches an epoch; the one at whose end it is killed is not saved
        kill_after_step(step, "ARModule", tokens, root, 40, *ONE_AT_A_TIME)
        state = torch.load(root / "last.ckpt", weights_only=True)["TokensDataModule"]
        assert (state["epoch"], state["batches_done"]) == place
    for _ in range(2):
        process = start("ARModule", tokens, root, 40, *ONE_AT_A_TIME)
        before = (root / "last.ckpt").stat().st_mtime_ns
        for _ in range(600):
            if (root / "last.ckpt").stat().st_mtime_ns != before or process.poll() is not None:
                break
            time.sleep(0.1)
        time.sleep(rng.random())
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    train("ARModule", tokens, root, 40, *ONE_AT_A_TIME)
    same(tmp_path / "straight" / "last.ckpt", root / "last.ckpt")
    straight, killed = losses(tmp_path / "straight"), losses(root)
    assert {step: killed[step] for step in straight} == straight


def test_sigterm_saves_a_complete_step_and_the_same_command_resumes(tokens: Path, tmp_path: Path) -> None:
    options = ["--save_every=100000", "--trainer.log_every_n_steps=1"]
    process = start("NARModule", tokens, tmp_path / "run", 100_000, *options)
    for _ in range(600):
        if list((tmp_path / "run").glob("events*")) and losses_or_none(tmp_path / "run"):
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)  # as SLURM does: the worker that makes batches gets it too
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in errors
    reached = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"]
    assert reached > 0
    train("NARModule", tokens, tmp_path / "run", reached + 2)
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == reached + 2


def losses_or_none(root: Path) -> dict[int, float] | None:
    try:
        return losses(root)
    except KeyError:
        return None


def test_failed_checkpoint_write_leaves_the_last_good_one(tokens: Path, tmp_path: Path) -> None:
    train("ARModule", tokens, tmp_path / "run", 3, *ONE_AT_A_TIME)
    before = (tmp_path / "run" / "last.ckpt").read_bytes()

    def little_disk() -> None:  # a file cannot grow beyond half of the checkpoint, as on a disk that is nearly full
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    done = subprocess.run(
        [str(BIN / "valle-train"), *train_arguments("ARModule", tokens, tmp_path / "run", 6, *ONE_AT_A_TIME)],
        capture_output=True,
        text=True,
        preexec_fn=little_disk,
        check=False,
    )
    assert done.returncode == 2
    assert "last.ckpt: cannot be written" in done.stderr.splitlines()[-1]
    assert (tmp_path / "run" / "last.ckpt").read_bytes() == before
    assert not list((tmp_path / "run").glob(".*partial*"))
    train("ARModule", tokens, tmp_path / "run", 6, *ONE_AT_A_TIME)


def test_non_finite_loss_stops_before_the_update_and_names_the_batch(tokens: Path, tmp_path: Path) -> None:
    train("ARModule", tokens, tmp_path / "run", 3, *ONE_AT_A_TIME)
    script = (
        "import torch\n"
        "from valle.training import ARModule\n"
        "step = ARModule.training_step\n"
        "def broken(self, batch, index):\n"
        "    return step(self, batch, index) * (float('nan') if self.global_step == 5 else 1.0)\n"
        "ARModule.training_step = broken\n"
        "from valle.cli.train import main\n"
        "main()\n"
    )
    done = train("ARModule", tokens, tmp_path / "run", 9, *ONE_AT_A_TIME, script=script)
    assert done.returncode == 2
    assert "step 5: the loss or its gradient is nan, from utterances" in done.stderr
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 5
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_best_checkpoints_and_moving_average_are_saved(tokens: Path, tmp_path: Path) -> None:
    often = ["--trainer.val_check_interval=1", "--trainer.check_val_every_n_epoch=null", "--save_every=1"]
    often += ["--keep_best=2", "--ema_decay=0.5"]
    kill_after_step(3, "ARModule", tokens, tmp_path / "run", 5, *often)
    assert len(list((tmp_path / "run" / "top").iterdir())) == 2
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    averaged, current = checkpoint["state_dict"], checkpoint["current_model_state"]
    assert any(not torch.equal(averaged[name], current[name]) for name in averaged)
    train("ARModule", tokens, tmp_path / "straight", 5, *often)
    train("ARModule", tokens, tmp_path / "run", 5, *often)
    same(tmp_path / "straight" / "last.ckpt", tmp_path / "run" / "last.ckpt")


@pytest.mark.parametrize("switch", ["activation_checkpointing", "compiled"])
def test_activation_checkpointing_and_compile_do_not_change_training(tokens: Path, tmp_path: Path, switch: str) -> None:
    options = ["--trainer.precision=32-true", "--model.init_args.transformer.dropout=0"]
    train("ARModule", tokens, tmp_path / "plain", 3, *options)
    train("ARModule", tokens, tmp_path / switch, 3, *options, f"--model.init_args.{switch}=true")
    for tag in ("train/loss", "grad_norm"):
        one, two = losses(tmp_path / "plain", tag), losses(tmp_path / switch, tag)
        assert one.keys() == two.keys()
        assert all(abs(one[step] - two[step]) < 1e-4 * one[step] for step in one), tag


@pytest.mark.parametrize("strategy", ["ddp", "sharded"])
def test_two_ranks_equal_one_rank_on_the_same_batches(tokens: Path, tmp_path: Path, strategy: str) -> None:
    """Two gloo processes against one that takes both ranks' batches in turn before each step. Sums are made in another
    order: weights and losses agree to 1e-4."""
    options = ["--model.init_args.transformer.dropout=0", "--model.init_args.untranscribed_prompt_prob=0",
               "--trainer.precision=32-true",
               "--data.init_args.max_duration=8"]  # fmt: skip
    train("ARModule", tokens, tmp_path / "two", 6, *options, "--trainer.devices=2", f"--trainer.strategy={strategy}")
    script = (
        "from valle.data.datamodule import TokensDataModule\n"
        "cut_batches = TokensDataModule.cut_batches\n"
        "class Both:\n"
        "    def __init__(self, parts): self.parts = parts\n"
        "    def set_epoch(self, epoch): [part.set_epoch(epoch) for part in self.parts]\n"
        "    def __iter__(self): return (cuts for pair in zip(*self.parts) for cuts in pair)\n"
        "def both(self, directories, *, shuffle):\n"
        "    if not shuffle: return cut_batches(self, directories, shuffle=shuffle)\n"
        "    return Both([cut_batches(self, directories, shuffle=shuffle, rank=r, world_size=2) for r in (0, 1)])\n"
        "TokensDataModule.cut_batches = both\n"
        "from valle.cli.train import main\n"
        "main()\n"
    )
    done = train(
        "ARModule", tokens, tmp_path / "one", 6, *options, "--trainer.accumulate_grad_batches=2", script=script
    )
    assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path / "one" / "last.ckpt"), weights(tmp_path / "two" / "last.ckpt")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-4, rtol=1e-3, msg=name)
    curve, other = losses(tmp_path / "one", "valid/loss"), losses(tmp_path / "two", "valid/loss")
    assert curve.keys() == other.keys()
    assert all(abs(curve[step] - other[step]) < 1e-4 * curve[step] for step in curve)
    train("ARModule", tokens, tmp_path / "two", 8, *options)  # one rank resumes the run of two


def batches_of_rank(data: TokensDataModule, rank: int) -> list[list[str]]:
    """Ids of the utterances in each training batch of one of two ranks."""
    cut_batches = data.cut_batches(data.train, shuffle=True, rank=rank, world_size=2)
    return [[cut.id for cut in cuts] for cuts in cut_batches]


def test_ranks_divide_all_utterances_into_equal_numbers_of_steps(tokens: Path) -> None:
    sets = [str(tokens / "train")], [str(tokens / "valid")]
    data = TokensDataModule(*sets, max_duration=4, num_workers=0)
    seen = [batches_of_rank(data, rank) for rank in (0, 1)]
    assert len(seen[0]) == len(seen[1]) > 1
    ids = [name for rank in seen for batch in rank for name in batch]
    assert len(ids) == len(set(ids))
    split = TokensDataModule(*sets, max_duration=8, num_workers=0, split_shards=True)
    own = [batches_of_rank(split, rank) for rank in (0, 1)]
    assert len(own[0]) == len(own[1]) > 1
    assert not {i for batch in own[0] for i in batch} & {i for batch in own[1] for i in batch}
    with pytest.raises(UserError, match="fewer shards"):
        split.cut_batches(split.train, shuffle=True, rank=19, world_size=20)


def test_epoch_does_not_depend_on_what_was_read_before(tokens: Path) -> None:
    def epochs(*numbers: int) -> list[list[list[str]]]:
        data = TokensDataModule([str(tokens / "train")], [str(tokens / "valid")], max_duration=4, num_workers=0)
        source, found = data.cut_batches(data.train, shuffle=True), []
        for number in numbers:
            source.set_epoch(number)
            found.append([[cut.id for cut in cuts] for cuts in source])
        return found

    first, second, third = epochs(0, 1, 2)
    assert first != second
    assert epochs(2) == [third]
    assert epochs(1, 0) == [second, first]


def test_four_ranks_tokenize_the_same_bytes_as_one(corpus: Path, tmp_path: Path) -> None:
    options = ["--codec", "mini", "--shard-size", "2"]
    command("valle-tokenize", corpus / "train", tmp_path / "one", *options)
    ranks = [
        subprocess.Popen(
            [str(BIN / "valle-tokenize"), str(corpus / "train"), str(tmp_path / "four"), *options],
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": "4"},
            stdout=subprocess.DEVNULL,
        )
        for rank in range(4)
    ]
    assert [process.wait() for process in ranks] == [0] * 4
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "four").iterdir())
    assert len(names) > 12
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "four" / name).read_bytes(), name


def test_adapters_begin_as_zero_and_merge_into_the_weights() -> None:
    torch.manual_seed(0)
    model = AR(12, TransformerConfig(2, 2, 32, 64, 0.0), codebook_size=50).eval()
    arguments = torch.tensor([[1, 2, 3]]), torch.tensor([3]), torch.randint(0, 50, (1, 9)), torch.tensor([9])
    before, plain = model(*arguments), dict(model.state_dict())
    add_adapters(model, 4)
    torch.testing.assert_close(model(*arguments), before)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".up"):
                parameter.normal_()
    adapted = model(*arguments)
    assert (adapted - before).abs().max() > 0.01
    whole = AR(12, TransformerConfig(2, 2, 32, 64, 0.0), codebook_size=50).eval()
    whole.load_state_dict(merged(model.state_dict()))
    torch.testing.assert_close(whole(*arguments), adapted)
    assert merged(plain).keys() == plain.keys()


def test_lora_trains_adapters_only(run_directory: Path, tokens: Path, speech: Path, tmp_path: Path) -> None:
    for kind in ("AR", "NAR"):
        source = run_directory / kind.lower() / "last.ckpt"
        options = [f"--init_from={source}", "--model.init_args.training.lora_rank=2"]
        train(f"{kind}Module", tokens, tmp_path / kind.lower(), 2, *options)
        before, after = weights(source), weights(tmp_path / kind.lower() / "last.ckpt")
        for name, value in before.items():
            adapted = f"{name.removesuffix('.weight')}.parametrizations.weight.original"
            if "phoneme_embedding" not in name:
                assert torch.equal(after[adapted if adapted in after else name], value), name
        assert any(name.endswith(".up") and value.abs().max() > 0 for name, value in after.items())
        train(f"{kind}Module", tokens, tmp_path / kind.lower(), 4, *options)  # resumes
    assert valle.load(tmp_path).synthesize("Good morning.", speech).duration > 0
    assert ARModule.load_from_checkpoint(tmp_path / "ar" / "last.ckpt").hparams["lora_rank"] == 2
    command("python", "-m", "valle.training.export_model", tmp_path, tmp_path / "exported")
    assert valle.load(tmp_path / "exported").synthesize("Good morning.", speech).duration > 0


def test_larger_vocabulary_copies_embeddings_by_symbol(run_directory: Path) -> None:
    source = run_directory / "ar" / "last.ckpt"
    before = ARModule.load_from_checkpoint(source)
    symbols = [*before.vocabulary.symbols[:5], "ʀ", *before.vocabulary.symbols[5:], "œ̃"]
    module = ARModule(**nest(before.hparams | {"vocabulary": symbols}))
    fresh = module.model.phoneme_embedding.weight.detach().clone()
    start_from(module, str(source))
    old, new = before.model.phoneme_embedding.weight, module.model.phoneme_embedding.weight
    for index, symbol in enumerate(symbols):
        known = symbol in before.vocabulary.symbols
        assert torch.equal(new[index], old[before.vocabulary.symbols.index(symbol)] if known else fresh[index]), symbol
    assert torch.equal(new[len(symbols) :], old[len(before.vocabulary.symbols) :])  # the mark after the text
    assert torch.equal(module.model.head.weight, before.model.head.weight)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_only_the_interrupted_epoch_is_resumed_in_its_middle(tokens: Path, num_workers: int) -> None:
    def batches(done: int) -> list[list[list[str]]]:
        sets = [str(tokens / "train")], [str(tokens / "valid")]
        data = TokensDataModule(*sets, max_duration=8, num_workers=num_workers)
        data.load_state_dict({"epoch": 0, "batches_done": done})
        loader = data.train_dataloader()
        return [[batch.ids for batch in loader] for _ in range(2)]

    whole, resumed = batches(0), batches(2)
    assert len(whole[0]) > 2
    assert resumed == [whole[0][2:], whole[1]]

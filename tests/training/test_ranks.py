"""Training and tokenizing on several ranks."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.conftest import command, train, train_arguments
from tests.processes import run_forked
from tests.training.runs import read_scalars, read_weights
from valle.data.datamodule import TokensDataModule
from valle.errors import UserError

OPTIONS = [
    "--model.init_args.transformer.dropout=0",
    "--model.init_args.untranscribed_prompt_prob=0",
    "--trainer.precision=32-true",
    "--data.init_args.max_duration=8",
]


@pytest.fixture(scope="module")
def one_rank(tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one rank that accumulates the gradients of both ranks' batches before each step."""
    root = tmp_path_factory.mktemp("ranks") / "one"
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
    done = train("ARModule", tokens, root, 6, *OPTIONS, "--trainer.accumulate_grad_batches=2", script=script)
    assert done.returncode == 0, done.stderr
    return root


@pytest.mark.parametrize("strategy", ["ddp", "sharded"])
def test_two_ranks_equal_one_rank_on_the_same_batches(
    one_rank: Path, tokens: Path, tmp_path: Path, strategy: str
) -> None:
    """Two gloo processes. The order of sums differs, so that weights and losses agree to 1e-4."""
    root = tmp_path / "two"
    train("ARModule", tokens, root, 6, *OPTIONS, "--trainer.devices=2", f"--trainer.strategy={strategy}")
    expected = read_weights(one_rank / "last.ckpt")
    weights = read_weights(root / "last.ckpt")
    assert expected.keys() == weights.keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, atol=1e-4, rtol=1e-3, msg=name)
    expected_losses = read_scalars(one_rank, "valid/loss")
    losses = read_scalars(root, "valid/loss")
    assert expected_losses.keys() == losses.keys()
    assert len(losses) > 0
    assert all(abs(losses[step] - value) < 1e-4 * value for step, value in expected_losses.items())
    # One rank resumes the run of two.
    train("ARModule", tokens, root, 7, *OPTIONS)


def test_a_late_rank_saves_the_last_step_with_the_others(tokens: Path, tmp_path: Path) -> None:
    """The last step is not that of a regular save, and rank 1 ends seconds after rank 0."""
    script = tmp_path / "late.py"
    script.write_text(
        "import os, time\n"
        "from valle.training.cli import TrainCLI\n"
        "from valle.cli.train import main\n"
        "after_fit = TrainCLI.after_fit\n"
        "def late(self):\n"
        "    time.sleep(4 * int(os.environ.get('LOCAL_RANK', 0)))\n"
        "    after_fit(self)\n"
        "TrainCLI.after_fit = late\n"
        "main()\n",
        encoding="utf-8",
    )
    options = [*OPTIONS, "--trainer.devices=2", "--trainer.strategy=ddp", "--save_every=2"]
    command("python", script, *train_arguments("ARModule", tokens, tmp_path / "run", 3, *options))
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 3


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
    split = TokensDataModule(*sets, max_duration=8, num_workers=0, split_shards=True, buffer_size=16)
    of_ranks = [batches_of_rank(split, rank) for rank in (0, 1)]
    assert len(of_ranks[0]) == len(of_ranks[1]) > 1
    assert not {i for batch in of_ranks[0] for i in batch} & {i for batch in of_ranks[1] for i in batch}
    with pytest.raises(UserError, match="fewer shards"):
        split.cut_batches(split.train, shuffle=True, rank=19, world_size=20)


def test_epoch_does_not_depend_on_what_was_read_before(tokens: Path) -> None:
    def epochs(*numbers: int) -> list[list[list[str]]]:
        data = TokensDataModule([str(tokens / "train")], [str(tokens / "valid")], max_duration=4, num_workers=0)
        source = data.cut_batches(data.train, shuffle=True)
        batches = []
        for number in numbers:
            source.set_epoch(number)
            batches.append([[cut.id for cut in cuts] for cuts in source])
        return batches

    first, second, third = epochs(0, 1, 2)
    assert first != second
    assert epochs(2) == [third]
    assert epochs(1, 0) == [second, first]


def test_four_ranks_tokenize_the_same_bytes_as_one(corpus: Path, tmp_path: Path) -> None:
    options = ["--codec", "mini", "--shard-size", "2"]
    command("valle-tokenize", corpus / "train", tmp_path / "one", *options)

    def tokenize(rank: int) -> int:
        arguments = ["valle-tokenize", str(corpus / "train"), str(tmp_path / "four"), *options]
        return run_forked(arguments, environment=os.environ | {"RANK": str(rank), "WORLD_SIZE": "4"}).returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(tokenize, range(4))) == [0] * 4
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "four").iterdir())
    assert len(names) > 12
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "four" / name).read_bytes(), name

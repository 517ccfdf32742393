"""`valle-train`: Lightning's command line over our modules, with what every run needs already set."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
import torch
import yaml
from lightning.pytorch.callbacks import EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException

from valle import codec
from valle.aliases import rename_flag, rename_in_recipe
from valle.checkpoint import find_checkpoint, model_directory, read_checkpoint
from valle.data.datamodule import TokensDataModule
from valle.errors import UserError
from valle.extensions.latent_regression import LatentRegressionNAR
from valle.models.ar import convert_group_size
from valle.models.lora import merged, with_adapters
from valle.text import Vocabulary
from valle.training.ar import ARModule
from valle.training.callbacks import AtomicCheckpointIO, SigtermCheckpoint, TopCheckpoints
from valle.training.codec import CodecModule
from valle.training.nar import NARModule
from valle.training.resume import check_resumable
from valle.training.samples import SampleCallback

# What a model takes from the data it is trained on: argument of the model -> how it is read off the data module.
FROM_DATA = {
    "language": lambda data: data.config.language,
    "bpe": lambda data: data.bpe,
    "codec": lambda data: data.config.codec,
    "codebook_size": lambda data: data.config.codebook_size,
    "num_codebooks": lambda data: data.config.num_codebooks,
    "frame_rate": lambda data: data.config.frame_rate,
}


def from_tokens(read: Callable[[TokensDataModule], Any], data: L.LightningDataModule) -> Any:
    """What `read` finds in tokenized data; None for other data, whose model (a codec) takes none of it."""
    return read(data) if isinstance(data, TokensDataModule) else None


def _checkpoint(source: str, *kinds: str) -> Path:
    """A checkpoint, or the first of these kinds of models that a run directory or a bundled model holds."""
    if Path(source).is_file():
        return Path(source)
    directory = model_directory(source)
    for kind in kinds[:-1]:
        with contextlib.suppress(UserError):
            return find_checkpoint(directory, kind)
    return find_checkpoint(directory, kinds[-1])


def has_bfloat16() -> bool:
    """Whether this machine computes in bfloat16 itself."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()


def start_from(module: L.LightningModule, source: str) -> None:
    """Copy the weights of a model of the same width: a checkpoint, a run directory or the name of a bundled model.

    Phoneme embeddings go by symbol; new symbols start afresh. An AR model may start from one of other groups, and a
    deeper model from one of fewer layers: the layers on top begin as doing nothing. A codec starts from a codec.
    """
    if isinstance(module, CodecModule):
        module.start_from(codec.load(source))
        return
    checkpoint = read_checkpoint(_checkpoint(source, "ar" if isinstance(module, ARModule) else "nar"))
    state, own = merged(checkpoint["state_dict"]), module.state_dict()
    key = "model.phoneme_embedding.weight"
    if key in own and own[key].shape[1] == state[key].shape[1]:
        before = {symbol: index for index, symbol in enumerate(checkpoint["hyper_parameters"]["vocabulary"])}
        embedding = own[key].clone()
        for index, symbol in enumerate(module.hparams["vocabulary"]):
            if symbol in before:
                embedding[index] = state[key][before[symbol]]
        embedding[len(module.hparams["vocabulary"]) :] = state[key][len(before) :]
        state = {**state, key: embedding}
    if isinstance(module, ARModule) and checkpoint["hyper_parameters"]["group_size"] != module.model.group_size:
        weights = {name.removeprefix("model."): weight for name, weight in state.items()}
        try:
            weights = convert_group_size(weights, module.model.group_size, checkpoint["hyper_parameters"]["group_size"])
        except ValueError as error:
            raise UserError(f"--init_from {source}: {error}; leave it out") from error
        state = {f"model.{name}": weight for name, weight in weights.items()}
    for layer in range(checkpoint["hyper_parameters"]["layers"], module.hparams["layers"]):
        block = f"model.transformer.blocks.{layer}."
        fresh = {name: value for name, value in own.items() if name.startswith(block)}
        silent = {name: value * 0 for name, value in fresh.items() if name.split(".")[-2] in ("out", "ffn_out")}
        state = {**state, **fresh, **silent}
    try:
        module.load_state_dict(with_adapters(state, own))
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--init_from {source}: a model of other sizes or layout ({reason}); leave it out") from error


def with_bases(arguments: list[str]) -> list[str]:
    """Before each `--config FILE`, the recipe it builds on: what its line `base: OTHER` names, seen from its folder.

    What comes later goes over what came before. Raises UserError for a base that is not there, or its own.
    """
    expanded: list[str] = []
    for previous, argument in zip(["", *arguments], arguments, strict=False):
        path = argument if previous == "--config" else argument.removeprefix("--config=")
        if previous == "--config":
            expanded.pop()
        elif path == argument:
            expanded.append(rename_flag(argument))
            continue
        expanded += [part for recipe in _chain(Path(path)) for part in ("--config", _renamed(recipe))]
    return expanded


def _renamed(recipe: Path) -> str:
    """The recipe's path, or its content where former names were replaced in it."""
    text = recipe.read_text(encoding="utf-8") if recipe.is_file() else ""
    return rename_in_recipe(text, str(recipe)) or str(recipe)


def _chain(recipe: Path) -> list[Path]:
    chain = [recipe]
    while chain[0].is_file():  # what is no file the parser reports
        try:
            document = yaml.safe_load(chain[0].read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{chain[0]}: not YAML ({' '.join(str(error).split())[:200]})") from error
        base = document.get("base") if isinstance(document, dict) else None
        if base is None:
            break
        path = chain[0].parent / str(base)
        if not path.is_file():
            raise UserError(f"{chain[0]}: its base {base!r} is not there")
        if any(path.samefile(other) for other in chain):
            raise UserError(f"{chain[0]}: its base {base!r} builds on it")
        chain.insert(0, path)
    return chain


class _Parser(LightningArgumentParser):
    """Reports what it cannot parse as a UserError of one line, without the usage of all options."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the UserError that a class raised, or one with the parser's message."""
        found: BaseException | None = ex
        while found is not None and not isinstance(found, UserError):
            found = found.__cause__ or found.__context__
        raise found or UserError(f"{' '.join(message.split())[:400]}; see valle-train fit --help") from ex


class TrainCLI(LightningCLI):
    """Adds what depends on the data and on the machine, checkpoints, resuming and TensorBoard.

    A run lives in `trainer.default_root_dir`: best.ckpt (lowest validation loss), last.ckpt (where a stopped run goes
    on), config.yaml and TensorBoard's events. The same command started again goes on from last.ckpt.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--save_every", type=int, default=500, help="steps between two writes of last.ckpt")
        parser.add_argument(
            "--keep_best", type=int, default=1, help="checkpoints kept by validation loss: best.ckpt, top/"
        )
        parser.add_argument(
            "--ema_decay",
            type=float,
            help="validate and keep a moving average of the weights, with this decay (0.999 and the like)",
        )
        parser.add_argument("--base", type=str, help="in a recipe: the recipe it builds on, seen from its folder")
        parser.add_argument(
            "--init_from",
            type=str,
            help="checkpoint, run directory or bundled model whose weights training starts from",
        )
        parser.add_argument(
            "--init_codebooks",
            type=bool,
            default=False,
            help="let a NAR model's code embeddings begin as the vectors of the codec's codebooks",
        )
        parser.link_arguments("data", "model.init_args.vocabulary", compute_fn=self._vocabulary, apply_on="instantiate")
        for name, read in FROM_DATA.items():
            parser.link_arguments(
                "data", f"model.init_args.{name}", compute_fn=partial(from_tokens, read), apply_on="instantiate"
            )

    def _parse_ckpt_path(self) -> None:
        """Do not let Lightning replace the given options by those of --ckpt_path: `check_resumable` compares them."""

    def _vocabulary(self, data: L.LightningDataModule) -> Any:
        """The symbols of the model that training starts from, in its order, then those that only the data has.

        A corpus of minutes lacks some of a language's symbols, and a fine-tuned AR model keeps the ids that the NAR
        model beside it has.
        """
        source = self._run_config.init_from
        if source and isinstance(data, TokensDataModule):
            known = read_checkpoint(_checkpoint(source, "ar", "nar"))["hyper_parameters"]["vocabulary"]
            new = [symbol for symbol in data.vocabulary.symbols if symbol not in known]
            data.vocabulary = Vocabulary([*known, *new])
        return from_tokens(lambda tokens: tokens.vocabulary.symbols, data)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line. Raises UserError for a seed that NumPy does not take."""
        super().parse_arguments(parser, args)
        seed = self.config[self.config.subcommand].seed_everything
        if not isinstance(seed, bool) and seed is not None and not 0 <= seed < 2**32:
            raise UserError(f"--seed_everything {seed}: give a number from 0 to 2^32 - 1")

    def before_instantiate_classes(self) -> None:
        config = self._run_config
        config.base = None  # it has been read; the run's own config.yaml is whole
        if config.trainer.precision is None:
            config.trainer.precision = "bf16-mixed" if has_bfloat16() else "32-true"
        if self.subcommand == "fit" and config.ckpt_path is None:
            last = Path(config.trainer.default_root_dir) / "last.ckpt"
            config.ckpt_path = str(last) if last.is_file() else None

    @property
    def _run_config(self) -> Any:
        return self.config[str(self.subcommand)]

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        config = self._run_config
        root = config.trainer.default_root_dir
        callbacks: list[Any] = [
            ModelCheckpoint(root, "best", monitor="valid/loss", enable_version_counter=False),
            ModelCheckpoint(root, "last", every_n_train_steps=config.save_every, enable_version_counter=False),
            LearningRateMonitor("step"),
            SigtermCheckpoint(Path(root) / "last.ckpt"),
        ]
        if config.keep_best > 1:
            callbacks.insert(0, TopCheckpoints(f"{root}/top", monitor="valid/loss", save_top_k=config.keep_best))
        if config.ema_decay is not None:
            callbacks.insert(0, EMAWeightAveraging(decay=config.ema_decay))
        if isinstance(self.datamodule, TokensDataModule):
            callbacks.append(SampleCallback())
        logger = TensorBoardLogger(root, name=None, version="")
        try:
            return super().instantiate_trainer(
                **kwargs,
                callbacks=[*(config.trainer.callbacks or []), *callbacks],
                logger=logger,
                plugins=[*(config.trainer.plugins or []), AtomicCheckpointIO()],
            )
        except (MisconfigurationException, ValueError, TypeError) as error:
            options = ("accelerator", "devices", "num_nodes", "strategy", "precision")
            given = " ".join(f"--trainer.{name} {config.trainer[name]}" for name in options)
            raise UserError(f"this machine cannot train with {given}: {' '.join(str(error).split())}") from error

    def after_fit(self) -> None:
        """A run that ended between two saves is saved where it ended."""
        last = Path(self._run_config.trainer.default_root_dir) / "last.ckpt"
        if not last.is_file() or read_checkpoint(last)["global_step"] != self.trainer.global_step:
            self.trainer.save_checkpoint(last)

    def before_fit(self) -> None:
        config = self._run_config
        if self.trainer.is_global_zero:  # what a killed process was writing
            for leftover in Path(config.trainer.default_root_dir).glob(".*.partial.ckpt"):
                leftover.unlink()
        if config.ckpt_path:
            path = Path(config.ckpt_path)
            if not path.is_file():
                raise UserError(f"--ckpt_path {path}: no such file; give a checkpoint of valle-train")
            from_data = ("vocabulary", *FROM_DATA) if isinstance(self.datamodule, TokensDataModule) else ()
            check_resumable(path, read_checkpoint(path), self.model.hparams, from_data, config.ema_decay)
            return
        if config.init_from:
            start_from(self.model, config.init_from)
        elif config.init_codebooks:
            if not isinstance(self.model, NARModule):
                raise UserError("--init_codebooks is for the NAR model alone; leave it out")
            try:
                self.model.model.init_from_codebooks(codec.load(self.model.hparams["codec"]).codebooks)
            except ValueError as error:
                raise UserError(f"--model.init_args.latent_dim: {error}") from error
        elif isinstance(self.model, NARModule) and isinstance(self.model.model, LatentRegressionNAR):
            raise UserError(
                "latent_regression_layers: the codec's vectors are predicted; give --init_codebooks true"
            )


def train(arguments: list[str] | None = None) -> None:
    """Parse `fit --config FILE ...`, the command's own arguments unless others are given, and run it."""
    if arguments is None:
        sys.argv[1:] = with_bases(sys.argv[1:])
    else:
        arguments = with_bases(arguments)
    try:
        _run(arguments)
    except SIGTERMException:
        print("stopped by SIGTERM after a whole step; the same command goes on from last.ckpt", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)


def _run(arguments: list[str] | None) -> None:
    TrainCLI(
        subclass_mode_model=True,
        subclass_mode_data=True,
        model_class=L.LightningModule,
        datamodule_class=L.LightningDataModule,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={
            "default_root_dir": "exp/run",
            "gradient_clip_val": 1.0,
            "use_distributed_sampler": False,  # Lhotse's sampler parts the data itself
        },
        seed_everything_default=0,
        args=arguments,
        parser_class=_Parser,
    )

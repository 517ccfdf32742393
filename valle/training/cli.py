"""The command line of `valle-train`: Lightning's, with the settings that every run needs."""

from __future__ import annotations

import math
import signal
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException

from valle import codec
from valle.checkpoint import read_checkpoint
from valle.data.datamodule import TokensDataModule
from valle.data.preferences import PreferenceDataModule
from valle.errors import UserError
from valle.extensions.latent_regression import LatentRegressionNAR
from valle.text import Vocabulary
from valle.training.ar import ARModule
from valle.training.callbacks import AtomicCheckpointIO, SigtermCheckpoint, TopCheckpoints
from valle.training.config import DataConfig
from valle.training.hyper_parameters import option
from valle.training.nar import NARModule
from valle.training.recipe_config import with_bases, with_classes
from valle.training.resume import check_resumable
from valle.training.samples import SampleCallback
from valle.training.warm_start import find_source, start_from

# Hyper-parameters that are read from the data.
FROM_DATA = [item.name for item in fields(DataConfig)]


def has_bfloat16() -> bool:
    """Return whether this machine computes in bfloat16 without emulation."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()


class _Parser(LightningArgumentParser):
    """Reports what it cannot parse as a UserError of one line, without the usage of all options."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the UserError that a class raised, or one with the parser's message."""
        found: BaseException | None = ex
        while found is not None and not isinstance(found, UserError):
            found = found.__cause__ or found.__context__
        raise found or UserError(f"{' '.join(message.split())[:400]}; see valle-train fit --help") from ex


class TrainCLI(LightningCLI):
    """Lightning's command line with arguments that depend on the data and the machine, checkpoints, and TensorBoard.

    A run is saved in `trainer.default_root_dir`: best.ckpt (lowest validation loss), last.ckpt (from which a stopped
    run resumes), config.yaml and TensorBoard's events. The same command started again resumes from last.ckpt.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of a run, and link the arguments of a model that its data determine."""
        parser.add_argument("--save_every", type=int, default=500, help="steps between two saves of last.ckpt")
        parser.add_argument(
            "--keep_best",
            type=int,
            default=1,
            help="checkpoints with the lowest validation loss that are saved: best.ckpt, top/",
        )
        parser.add_argument(
            "--ema_decay",
            type=float,
            help="validate and save an exponential moving average of the weights, with this decay (such as 0.999)",
        )
        parser.add_argument("--base", type=str, help="in a recipe: the recipe it builds on, relative to its folder")
        parser.add_argument(
            "--init_from",
            type=str,
            help="checkpoint, run directory or bundled model whose weights training starts from",
        )
        parser.add_argument(
            "--init_codebooks",
            type=bool,
            default=False,
            help="initialize a NAR model's code embeddings with the vectors of the codec's codebooks",
        )
        parser.link_arguments("data", "model.init_args.data", compute_fn=self._data_config, apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Keep Lightning from replacing options by those of --ckpt_path: `check_resumable` compares them."""

    def _data_config(self, data: L.LightningDataModule) -> dict[str, Any] | None:
        """Return the fields of `DataConfig`; None for data without tokens, whose model (a codec) has no such argument.

        The vocabulary begins with the symbols of the model that training starts from, in its order; those that only the
        data has follow. A corpus of minutes lacks some of a language's symbols, and the ids of a fine-tuned AR model
        must remain those of the NAR model that it is used with. The same holds for the languages of a model with
        language IDs.
        """
        if not isinstance(data, TokensDataModule):
            return None
        source = self._run_config.init_from
        if isinstance(data, PreferenceDataModule):
            return self._preference_config(data, source)
        if source:
            former = read_checkpoint(find_source(source, "ar", "nar"))["hyper_parameters"]
            known = former["vocabulary"]
            new = [symbol for symbol in data.vocabulary.symbols if symbol not in known]
            data.vocabulary = Vocabulary([*known, *new])
            if former.get("language_ids"):
                data.languages = [*former["languages"], *(x for x in data.languages if x not in former["languages"])]
        return {
            "vocabulary": data.vocabulary.symbols,
            "bpe": data.bpe,
            "languages": data.languages,
            **{
                name: getattr(data.config, name) for name in FROM_DATA if name not in ("vocabulary", "bpe", "languages")
            },
        }

    def _preference_config(self, data: PreferenceDataModule, source: str | None) -> dict[str, Any]:
        """Return the fields of `DataConfig` of the model that preference tuning starts from.

        Raises:
            UserError: There is none, or the pairs are of another codec or of other symbols.
        """
        if not source:
            raise UserError("--init_from: preference tuning starts from a trained AR model; give it")
        known = read_checkpoint(find_source(source, "ar"))["hyper_parameters"]
        if known.get("phoneme_stream"):
            raise UserError(f"--init_from {source}: has a phoneme stream, which preference tuning cannot train")
        if known["codec"] != data.config.codec:
            raise UserError(f"--init_from {source}: of codec {known['codec']}, the pairs are of {data.config.codec}")
        missing = [symbol for symbol in data.vocabulary.symbols if symbol not in known["vocabulary"]]
        if missing:
            raise UserError(f"--init_from {source}: lacks the symbol {missing[0]!r} of the pairs; give their --model")
        data.vocabulary = Vocabulary(list(known["vocabulary"]))
        # Checkpoints of earlier versions lack what was added since; `DataConfig` has its default.
        return {name: known[name] for name in FROM_DATA if name in known}

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line. Raises UserError for a seed that NumPy does not accept."""
        super().parse_arguments(parser, args)
        seed = self.config[self.config.subcommand].seed_everything
        if not isinstance(seed, bool) and seed is not None and not 0 <= seed < 2**32:
            raise UserError(f"--seed_everything {seed}: give a number from 0 to 2^32 - 1")

    def before_instantiate_classes(self) -> None:
        """Choose the precision and the checkpoint to resume from, where none is given."""
        config = self._run_config
        # The base was read already, and the config.yaml of the run is complete.
        config.base = None
        if config.trainer.precision is None:
            config.trainer.precision = "bf16-mixed" if has_bfloat16() else "32-true"
        if self.subcommand == "fit" and config.ckpt_path is None:
            last = Path(config.trainer.default_root_dir) / "last.ckpt"
            config.ckpt_path = str(last) if last.is_file() else None

    @property
    def _run_config(self) -> Any:
        return self.config[str(self.subcommand)]

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Make the trainer with the checkpoints, callbacks and logger that every run has.

        Raises:
            UserError: This machine cannot train with the given devices, strategy or precision.
        """
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
        if isinstance(self.datamodule, TokensDataModule) and not isinstance(self.datamodule, PreferenceDataModule):
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
        """Save the last step, if the run ended between two saves."""
        last = Path(self._run_config.trainer.default_root_dir) / "last.ckpt"
        outdated = not last.is_file() or read_checkpoint(last)["global_step"] != self.trainer.global_step
        # All ranks must save or none. One that reads the file late would find what rank 0 has just written there.
        if self.trainer.strategy.broadcast(outdated):
            self.trainer.save_checkpoint(last)

    def before_fit(self) -> None:
        """Check the checkpoint that a run resumes from, or load the weights that it starts from.

        Raises:
            UserError: The checkpoint is missing or belongs to another run, or the data or the options do not fit the
                model.
        """
        config = self._run_config
        # Files that a killed process was writing.
        if self.trainer.is_global_zero:
            for leftover in Path(config.trainer.default_root_dir).glob(".*.partial.ckpt"):
                leftover.unlink()
        if isinstance(self.datamodule, TokensDataModule):
            self.datamodule.aligned_only = bool(self.model.hparams.get("phoneme_stream"))
        self._check_lengths()
        if config.ckpt_path:
            path = Path(config.ckpt_path)
            if not path.is_file():
                raise UserError(f"--ckpt_path {path}: no such file; give a checkpoint of valle-train")
            from_data = FROM_DATA if isinstance(self.datamodule, TokensDataModule) else ()
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
                raise UserError(f"{option('latent_dim')}: {error}") from error
        elif isinstance(self.model, NARModule) and isinstance(self.model.model, LatentRegressionNAR):
            raise UserError(
                f"{option('latent_regression_layers')}: the codec's vectors are predicted; give --init_codebooks true"
            )

    def _check_lengths(self) -> None:
        """Compare the data with the model's learned positions before training starts.

        Raises:
            UserError: There are utterances that the model has no positions for.
        """
        if not isinstance(self.datamodule, TokensDataModule) or not isinstance(self.model, ARModule | NARModule):
            return
        frames = self.model.max_utterance_frames
        if frames is None:
            return
        seconds = frames / self.datamodule.config.frame_rate
        ids = self.datamodule.longer_than(seconds)
        if ids:
            examples = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
            raise UserError(
                f"{len(ids)} utterances are longer than the model has positions for, {seconds:.1f} s ({examples}); "
                f"give --data.init_args.max_utterance {math.floor(10 * seconds) / 10:g}"
            )


def train(arguments: list[str] | None = None) -> None:
    """Run `valle-train`.

    Args:
        arguments: As `fit --config FILE ...`, or `preference --config FILE ...`; None: those of the process.
    """
    if arguments is None:
        sys.argv[1:] = with_classes(with_bases(sys.argv[1:]))
    else:
        arguments = with_classes(with_bases(arguments))
    try:
        _run(arguments)
    except SIGTERMException:
        print("stopped by SIGTERM after a complete step; the same command resumes from last.ckpt", file=sys.stderr)
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
            "use_distributed_sampler": False,  # Lhotse's sampler divides the data among ranks itself
        },
        seed_everything_default=0,
        args=arguments,
        parser_class=_Parser,
    )

"""Compare AR models that are trained with and without guided attention (valle/extensions/guided_attention.py).

    python egs/mini/local/spoken.py corpus --voices 8 --utterances 100
    for set in train valid test_seen; do valle-tokenize corpus/$set tokens/$set --codec small; done
    python benchmarks/guided_attention.py tokens [--steps 1000] [--seeds 0 1]

Trains small AR models (4 layers, width 128, G = 2) from random weights; those of a seed differ only in the weight of
this loss. Prints by number of steps the validation loss in nats per code on 24 held-out sentences, and how much it
rises with the text of another utterance: a model that does not attend to the text has the same loss with any text.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from valle.cli.common import keep_memory, run
from valle.data.datamodule import TokensDataModule
from valle.data.loader import Batch
from valle.files import write_text
from valle.models.config import TransformerConfig
from valle.training import ARModule
from valle.training.ar import trim_to_whole_groups
from valle.training.config import DataConfig, OptimizerConfig

# Weights of the loss: without guided attention, and that of recipes/mini/ar.yaml.
WEIGHTS = (0.0, 0.5)
GROUP_SIZE = 2
# Seconds of speech per step.
MAX_DURATION = 30.0
MEASUREMENTS = 5


@torch.inference_mode()
def validation_losses(module: ARModule, batches: list[Batch]) -> tuple[float, float]:
    """Return the loss with each utterance's own text, and with that of another one, in nats per code."""
    module.eval()
    sums = [0.0, 0.0]
    frames = 0
    for batch in batches:
        codes, lengths = trim_to_whole_groups(batch.codes, batch.code_lengths, GROUP_SIZE)
        count = int(lengths.sum())
        frames += count
        for shift in (0, 1):
            text = (batch.phonemes.roll(shift, 0), batch.phoneme_lengths.roll(shift, 0))
            loss, _, _ = module.model.loss(*text, codes[..., 0], lengths)
            sums[shift] += count * float(loss)
    module.train()
    return sums[0] / frames, sums[1] / frames


class ValidationLosses(Callback):
    """Measures `validation_losses` at intervals.

    Args:
        batches: Of validation.
        every: Steps between two measurements.

    Attributes:
        rows: Steps, loss, and loss with the text of another utterance.
    """

    def __init__(self, batches: list[Batch], every: int) -> None:
        self.batches = batches
        self.every = every
        self.rows: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Measure if it is time."""
        assert isinstance(module, ARModule)
        if trainer.global_step % self.every == 0:
            own, other = validation_losses(module, self.batches)
            self.rows.append({"steps": trainer.global_step, "loss": round(own, 4), "other_text": round(other, 4)})


def train(tokens: Path, weight: float, seed: int, steps: int) -> list[dict[str, float]]:
    """Train a model; return its validation losses."""
    L.seed_everything(seed, verbose=False)
    data = TokensDataModule(
        [str(tokens / "train")],
        [str(tokens / "valid"), str(tokens / "test_seen")],
        max_duration=MAX_DURATION,
        seed=seed,
    )
    config = data.config
    module = ARModule(
        DataConfig(
            data.vocabulary.symbols,
            codec=config.codec,
            codebook_size=config.codebook_size,
            num_codebooks=config.num_codebooks,
            frame_rate=config.frame_rate,
        ),
        transformer=TransformerConfig(layers=4, heads=4, dim=128, ffn_dim=512, dropout=0.0),
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=50),
        group_size=GROUP_SIZE,
        untranscribed_prompt_prob=0.0,
        guided_attention=weight,
    )
    losses = ValidationLosses(list(data.val_dataloader()), max(1, steps // MEASUREMENTS))
    with tempfile.TemporaryDirectory() as root:
        trainer = L.Trainer(
            max_steps=steps, callbacks=[losses], logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, limit_val_batches=0, use_distributed_sampler=False, gradient_clip_val=1.0,
            default_root_dir=root, accelerator="cpu",
        )  # fmt: skip
        trainer.fit(module, data)
    return losses.rows


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path, help="folder of the folders of tokens train, valid and test_seen")
    parser.add_argument("--steps", type=int, default=1000, help="training steps (1000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds, each of two models (0 1)")
    parser.add_argument("--json", type=Path, help="JSON file of the losses")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    keep_memory()
    print("| seed | guided attention | steps | validation loss | with another text |\n|---|---|---|---|---|")
    results = []
    for seed in args.seeds:
        for weight in WEIGHTS:
            rows = train(args.tokens, weight, seed, args.steps)
            results.append({"seed": seed, "guided_attention": weight, "losses": rows})
            for row in rows:
                rise = row["other_text"] - row["loss"]
                print(f"| {seed} | {weight} | {row['steps']} | {row['loss']:.3f} | {rise:+.3f} |", flush=True)
    if args.json is not None:
        write_text(args.json, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    run(_main)

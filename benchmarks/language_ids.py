"""Measure how much the language IDs of an AR model (valle/extensions/language_ids.py) determine its output.

    python benchmarks/language_ids.py exp/run dump/valid_de dump/valid_en

Prints for each folder of tokens the loss of its utterances in nats per code with the ID of their own language, and how
much it rises with that of each other language, with 95 % confidence intervals over the utterances.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from valle.checkpoint import find_checkpoint, load_model
from valle.cli.common import run
from valle.data.datamodule import TokensDataModule
from valle.data.loader import Batch
from valle.data.tokens import TokensConfig
from valle.errors import UserError
from valle.evaluation.metrics import interval
from valle.extensions.language_ids import LanguageIdAR
from valle.text import Vocabulary
from valle.training.prompts import trim_to_whole_groups


@torch.inference_mode()
def utterance_losses(model: LanguageIdAR, batch: Batch, language: int) -> list[float]:
    """Return the loss of each utterance of a batch with the ID of a language, in nats per code."""
    codes, lengths = trim_to_whole_groups(batch.codes, batch.code_lengths, model.group_size)
    condition = model.embed_languages(torch.full((len(lengths), 1), language))
    logits = model(batch.phonemes, batch.phoneme_lengths, codes[..., 0], lengths, condition)
    targets = model.targets(codes[..., 0], lengths)
    losses = cross_entropy(logits.permute(0, 3, 1, 2), targets, ignore_index=-100, reduction="none")
    return (losses.sum((1, 2)) / (targets != -100).sum((1, 2))).tolist()


def _interval(values: np.ndarray) -> str:
    low, high = interval(np.mean, [values])
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="run directory")
    parser.add_argument("tokens", type=Path, nargs="+", help="folders of tokens")
    args = parser.parse_args()
    path = find_checkpoint(args.model, "ar")
    model, parameters = load_model(path)
    if not isinstance(model, LanguageIdAR):
        raise UserError(f"{path}: was trained without language IDs; give a model with --model.init_args.language_ids")
    print("| tokens | language | utterances | loss | rise with another ID |\n|---|---|---|---|---|")
    for directory in args.tokens:
        own = TokensConfig.read(directory).language
        if own not in model.languages:
            raise UserError(f"{directory}: is in {own}; the model was trained on {', '.join(model.languages)}")
        data = TokensDataModule([str(directory)], [str(directory)], num_workers=0)
        data.vocabulary = Vocabulary(list(parameters["vocabulary"]))
        batches = list(data.val_dataloader())
        losses = {
            language: np.array([x for batch in batches for x in utterance_losses(model, batch, index)])
            for index, language in enumerate(model.languages)
        }
        rises = "; ".join(f"{name} {_interval(values - losses[own])}" for name, values in losses.items() if name != own)
        print(f"| {directory.name} | {own} | {len(losses[own])} | {_interval(losses[own])} | {rises} |")


if __name__ == "__main__":
    run(_main)

"""Export an AR model, or the average of several models of the same size and vocabulary.

    python local/average.py OUT MODEL... [--weights 0.5 0.5] [--provenance FILE.json]

MODEL is a checkpoint of valle-train or an exported ar.safetensors. Writes OUT/ar.safetensors, in half precision, and
OUT/ar.json with the hyper-parameters of the last model. Averaging a fine-tuned model with the one that it was
initialized from retains more of what the latter can do.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from valle.checkpoint import read_checkpoint
from valle.cli.common import run
from valle.errors import UserError
from valle.files import read_provenance, write_text, write_weights
from valle.models.lora import merged


def average(states: list[dict[str, torch.Tensor]], weights: list[float]) -> dict[str, torch.Tensor]:
    """Compute the weighted mean of each tensor.

    Args:
        states: Weights of models by name.
        weights: Weight of each model; their sum is normalized to 1.
    """
    total = sum(weights)
    pairs = list(zip(states, weights, strict=True))
    return {name: sum((weight / total) * state[name] for state, weight in pairs) for name in states[0]}


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder to write")
    parser.add_argument("models", type=Path, nargs="+", help="models to average")
    parser.add_argument("--weights", type=float, nargs="+", help="one per model (default: equal weights)")
    parser.add_argument("--provenance", type=Path, help="JSON object that describes data and licences")
    args = parser.parse_args()
    weights = args.weights or [1.0] * len(args.models)
    if len(weights) != len(args.models):
        raise UserError(f"--weights: {len(weights)} for {len(args.models)} models; give one per model")
    checkpoints = [read_checkpoint(path) for path in args.models]
    states = [merged(checkpoint["state_dict"]) for checkpoint in checkpoints]
    for path, checkpoint, state in zip(args.models, checkpoints, states, strict=True):
        shapes = {name: tensor.shape for name, tensor in state.items()}
        if shapes != {name: tensor.shape for name, tensor in states[-1].items()}:
            raise UserError(f"{path}: has another size than {args.models[-1]}; average models of the same size")
        if checkpoint["hyper_parameters"]["vocabulary"] != checkpoints[-1]["hyper_parameters"]["vocabulary"]:
            raise UserError(f"{path}: has another vocabulary than {args.models[-1]}; average models of the same data")
    provenance = {"torch": torch.__version__, **read_provenance(args.provenance)}
    if len(args.models) > 1:
        provenance["average"] = " ".join(f"{weight:g}" for weight in weights)
    if "global_step" in checkpoints[-1]:
        provenance["steps"] = checkpoints[-1]["global_step"]
    write_weights(args.output / "ar.safetensors", average(states, weights), provenance)
    description = {"hyper_parameters": dict(checkpoints[-1]["hyper_parameters"]), "provenance": provenance}
    write_text(args.output / "ar.json", json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    print(f"{args.output}: {len(args.models)} models")


if __name__ == "__main__":
    run(_main)

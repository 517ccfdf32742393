"""Export an AR model, or the average of several of the same sizes and vocabulary: a fine-tuned one and where it began.

    python local/average.py OUT MODEL... [--weights 0.5 0.5] [--provenance FILE.json]

MODEL is a checkpoint of valle-train or an exported ar.safetensors. Writes OUT/ar.safetensors and OUT/ar.json, in half
precision; the hyper-parameters are those of the last model.
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
    """Weighted mean of each tensor; the weights are normalized to a sum of one."""
    total = sum(weights)
    pairs = list(zip(states, weights, strict=True))
    return {name: sum((weight / total) * state[name] for state, weight in pairs) for name in states[0]}


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--weights", type=float, nargs="+", help="one a model (default: equal)")
    parser.add_argument("--provenance", type=Path, help="JSON object of data and licences")
    args = parser.parse_args()
    weights = args.weights or [1.0] * len(args.models)
    if len(weights) != len(args.models):
        raise UserError(f"--weights: {len(weights)} for {len(args.models)} models; give one a model")
    checkpoints = [read_checkpoint(path) for path in args.models]
    states = [merged(checkpoint["state_dict"]) for checkpoint in checkpoints]
    for path, checkpoint, state in zip(args.models, checkpoints, states, strict=True):
        shapes = {name: tensor.shape for name, tensor in state.items()}
        if shapes != {name: tensor.shape for name, tensor in states[-1].items()}:
            raise UserError(f"{path}: has other sizes than {args.models[-1]}")
        if checkpoint["hyper_parameters"]["vocabulary"] != checkpoints[-1]["hyper_parameters"]["vocabulary"]:
            raise UserError(f"{path}: has another vocabulary than {args.models[-1]}")
    origin = {"torch": torch.__version__, **read_provenance(args.provenance)}
    if len(args.models) > 1:
        origin["average"] = " ".join(f"{weight:g}" for weight in weights)
    if "global_step" in checkpoints[-1]:
        origin["steps"] = checkpoints[-1]["global_step"]
    write_weights(args.output / "ar.safetensors", average(states, weights), origin)
    description = {"hyper_parameters": dict(checkpoints[-1]["hyper_parameters"]), "provenance": origin}
    write_text(args.output / "ar.json", json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    print(f"{args.output}: {len(args.models)} models")


if __name__ == "__main__":
    run(_main)

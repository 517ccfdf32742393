"""Codec folders: `codec.json` (sizes, provenance) and `codec.safetensors` (weights)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from valle.codec.network import CodecNetwork
from valle.codec.networks import build_network
from valle.codec.phone_labelled import PhoneLabelledCodec
from valle.codec.quantizer import NO_PHONE
from valle.codec.trained import TrainedCodec
from valle.errors import UserError
from valle.files import write_text, write_weights
from valle.initialization import SkipInitialization

CONFIG = "codec.json"
WEIGHTS = "codec.safetensors"
# Moving averages of the quantizer, which only training needs.
_TRAINING_ONLY = ("embed_avg", "cluster_size", "inited")
# Missing in folders that were written before codes had labels.
_OPTIONAL = "quantizer.phones"


def make_codec(name: str, network: CodecNetwork) -> TrainedCodec:
    """Make a codec of a network: a `PhoneLabelledCodec` where entries of its first codebook are labelled."""
    is_labelled = bool((network.quantizer.get_buffer("phones") != NO_PHONE).any())
    return PhoneLabelledCodec(name, network) if is_labelled else TrainedCodec(name, network)


def load_codec(directory: Path, name: str) -> TrainedCodec:
    """Read a codec folder.

    Args:
        directory: The folder.
        name: Name of the codec.

    Raises:
        UserError: A file is missing or damaged.
    """
    for file in (CONFIG, WEIGHTS):
        if not (directory / file).is_file():
            raise UserError(
                f"codec {name!r}: {directory / file} is missing; a codec folder holds {CONFIG} and {WEIGHTS}"
            )
    try:
        with SkipInitialization():
            network = build_network(json.loads((directory / CONFIG).read_text(encoding="utf-8"))["network"])
        state = {key: value.float() for key, value in load_file(directory / WEIGHTS).items()}
        missing, unexpected = network.load_state_dict(state, strict=False)
        lacking = [key for key in missing if not key.endswith((*_TRAINING_ONLY, _OPTIONAL))]
        if lacking or unexpected:
            raise ValueError(f"weights {[*lacking, *unexpected][0]!r} do not fit")
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"codec {name!r}: {directory} is damaged ({str(error).splitlines()[0]})") from error
    # Without this flag the quantizer would replace its codebooks by the k-means of its first batch.
    for key, buffer in network.quantizer.named_buffers():
        if key.endswith("inited"):
            buffer.fill_(1)
    return make_codec(name, network)


def save_codec(network: CodecNetwork, config: dict[str, Any], directory: Path, provenance: dict[str, Any]) -> None:
    """Write a codec folder, its weights in half precision.

    Args:
        network: The trained network.
        config: Its kind and sizes, as `valle.codec.networks.build_network` takes them.
        directory: The folder.
        provenance: Where the weights come from, stored in both files.
    """
    state = {key: value for key, value in network.state_dict().items() if not key.endswith(_TRAINING_ONLY)}
    write_weights(directory / WEIGHTS, state, provenance)
    write_text(directory / CONFIG, json.dumps({"network": config, "provenance": provenance}, indent=2) + "\n")

"""Codecs trained here: a folder with `codec.json` (sizes, provenance) and `codec.safetensors` (weights)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from valle.codec.base import Codec
from valle.codec.networks import CodecNetwork, build_network
from valle.codec.quantizer import codebook_vectors
from valle.errors import UserError
from valle.files import write_text, write_weights
from valle.text.phones import UNKNOWN

CONFIG, WEIGHTS = "codec.json", "codec.safetensors"
_TRAINING_ONLY = ("embed_avg", "cluster_size", "inited")  # the quantizer's moving averages
_OPTIONAL = "quantizer.phones"  # UNKNOWN where a codec does not say


class TrainedCodec(Codec):
    """A codec network that was trained by `valle-train` and exported by `export`."""

    def __init__(self, name: str, network: CodecNetwork) -> None:
        self.name, self.network = name, network.eval()
        self.sample_rate, self.hop, self.context = network.sample_rate, network.hop, network.context
        self.num_codebooks, self.codebook_size = network.num_codebooks, network.codebook_size

    @property
    def codebooks(self) -> Tensor:
        return codebook_vectors(self.network.quantizer)

    @property
    def phones(self) -> Tensor | None:
        phones = self.network.quantizer.get_buffer("phones")
        return phones if bool((phones != UNKNOWN).any()) else None

    def _encode(self, waveforms: Tensor, frames: Tensor, phones: Tensor | None) -> Tensor:
        return self.network.encode(waveforms, frames, phones)

    def _decode(self, codes: Tensor, frames: Tensor) -> Tensor:
        return self.network.decode(codes, frames)


def load_trained(directory: Path, name: str) -> TrainedCodec:
    """Read an exported codec. Raises UserError when a file is missing or damaged."""
    for file in (CONFIG, WEIGHTS):
        if not (directory / file).is_file():
            raise UserError(
                f"codec {name!r}: {directory / file} is missing; a codec folder holds {CONFIG} and {WEIGHTS}"
            )
    try:
        network = build_network(json.loads((directory / CONFIG).read_text(encoding="utf-8"))["network"])
        state = {key: value.float() for key, value in load_file(directory / WEIGHTS).items()}
        missing, unexpected = network.load_state_dict(state, strict=False)
        lacking = [key for key in missing if not key.endswith((*_TRAINING_ONLY, _OPTIONAL))]
        if lacking or unexpected:
            raise ValueError(f"weights {[*lacking, *unexpected][0]!r} do not fit")
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"codec {name!r}: {directory} is damaged ({str(error).splitlines()[0]})") from error
    for key, buffer in network.quantizer.named_buffers():
        if key.endswith("inited"):
            buffer.fill_(1)
    return TrainedCodec(name, network)


def export(network: CodecNetwork, config: dict[str, Any], directory: Path, provenance: dict[str, Any]) -> None:
    """Write a trained network as half-precision safetensors beside a JSON of its sizes and where it came from."""
    state = {key: value for key, value in network.state_dict().items() if not key.endswith(_TRAINING_ONLY)}
    write_weights(directory / WEIGHTS, state, provenance)
    write_text(directory / CONFIG, json.dumps({"network": config, "provenance": provenance}, indent=2) + "\n")

"""The trainable codec networks by name."""

from __future__ import annotations

from typing import Any

from valle.codec.frame_rate import FrameRateCodec
from valle.codec.seanet import SEANetCodec

CodecNetwork = FrameRateCodec | SEANetCodec
NETWORKS = {"frame_rate": FrameRateCodec, "seanet": SEANetCodec}


def build_network(config: dict[str, Any]) -> CodecNetwork:
    """`{"kind": "frame_rate", "sample_rate": 16000, ...}` -> the network. Raises ValueError for an unknown kind."""
    sizes = dict(config)
    kind = sizes.pop("kind", None)
    if kind not in NETWORKS:
        raise ValueError(f"codec network kind {kind!r} is not known; known are {', '.join(NETWORKS)}")
    return NETWORKS[kind](**sizes)

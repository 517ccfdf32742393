"""The trainable codec networks by name."""

from __future__ import annotations

from typing import Any

from valle.codec.frame_rate import FrameRateConfig, FrameRateNetwork
from valle.codec.network import CodecNetwork
from valle.codec.seanet import SEANetConfig, SEANetNetwork

KINDS = ("frame_rate", "seanet")


def build_network(config: dict[str, Any]) -> CodecNetwork:
    """Build a codec network.

    Args:
        config: Its kind and the fields of that kind's config, e.g. `{"kind": "frame_rate", "sample_rate": 16000}`.

    Raises:
        ValueError: The kind is unknown.
        TypeError: A field is unknown.
    """
    sizes = dict(config)
    kind = sizes.pop("kind", None)
    if kind == "frame_rate":
        return FrameRateNetwork(FrameRateConfig(**sizes))
    if kind == "seanet":
        return SEANetNetwork(SEANetConfig(**sizes))
    raise ValueError(f"codec network kind {kind!r} is not known; known are {', '.join(KINDS)}")

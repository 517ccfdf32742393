"""Fixtures and helpers of the codec tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from valle import codec
from valle.codec.frame_rate import FrameRateConfig, FrameRateNetwork


@pytest.fixture(scope="module", params=["mini", "small"])
def bundled(request: pytest.FixtureRequest) -> codec.Codec:
    return codec.load(request.param)


def magnitude_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of compressed magnitudes in windows of 40 ms, which does not depend on phases."""
    magnitudes = FrameRateNetwork(FrameRateConfig(phases=False)).magnitudes
    compressed = [magnitudes(torch.from_numpy(x)[None]).flatten().numpy() ** 0.3 for x in (one, other)]
    return float(np.corrcoef(*compressed)[0, 1])

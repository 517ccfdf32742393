"""Quality of speech without a reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from speechmos import dnsmos as package

from valle import audio
from valle.evaluation.quality import SAMPLE_RATE, dnsmos


def test_dnsmos_has_the_four_values_of_its_package(speech: Path) -> None:
    # Three times this is between 9 and 10 s: one window of the models.
    samples = audio.read(speech, SAMPLE_RATE, end=3.1).samples
    expected = package.run(samples, SAMPLE_RATE)
    scores = dnsmos(samples)
    assert scores == {
        "dnsmos_p835": pytest.approx(expected["ovrl_mos"]),
        "dnsmos_p808": pytest.approx(expected["p808_mos"]),
        "sig": pytest.approx(expected["sig_mos"]),
        "bak": pytest.approx(expected["bak_mos"]),
    }
    assert abs(scores["dnsmos_p835"] - scores["dnsmos_p808"]) > 0.01

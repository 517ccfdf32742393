"""Metrics of a codec."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import noise
from tests.evaluation.conftest import RATE, FakeEncoder, FakeRecognizer
from valle import audio, codec
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.evaluation.codec_scores import perplexity, score_codec, table


@given(st.lists(st.integers(0, 7), min_size=1, max_size=50))
def test_perplexity_is_between_one_and_the_entries_in_use(codes: list[int]) -> None:
    result = perplexity(torch.tensor(codes), 8)
    assert 1 - 1e-9 <= result <= len(set(codes)) + 1e-9
    assert perplexity(torch.arange(8), 8) == pytest.approx(8)


def test_recordings_that_cannot_be_scored_are_skipped_and_noted(tmp_path: Path) -> None:
    for key, seconds in (("long", 1.0), ("short", 0.2)):
        audio.write(tmp_path / f"{key}.wav", noise(seconds), RATE)
    (tmp_path / "page.wav").write_text("<html></html>")
    recordings = [Utterance(key, tmp_path / f"{key}.wav", "", "") for key in ("long", "short", "page")]
    scores = score_codec(codec.load("mini"), recordings, FakeRecognizer(), FakeEncoder())  # type: ignore[arg-type]
    assert (scores.metrics["sim"].count, scores.metrics["wer"].count, scores.metrics["mel"].count) == (1, 1, 2)
    text = table("t", scores)
    assert "encoder needs longer audio" in text
    assert "page.wav: is a web page or text, not an audio file" in text
    with pytest.raises(UserError, match=r"page\.wav: is a web page or text, not an audio file"):
        score_codec(codec.load("mini"), recordings[2:], FakeRecognizer(), FakeEncoder())  # type: ignore[arg-type]

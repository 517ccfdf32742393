"""Scores, items and stand-in scoring models that tests of the evaluation share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import noise
from valle import audio, codec
from valle.evaluation import scorer as scorer_module
from valle.evaluation.items import ScoringItem
from valle.evaluation.metrics import METRICS
from valle.evaluation.score import Score
from valle.evaluation.scorer import Scorer
from valle.evaluation.scoring import score_items

RATE = 16_000
TEXT = "The quick brown fox."
PROVENANCE = {"date": "", "commit": "", "recipe": "", "command": ""}
METRIC = {m.name: m for m in METRICS}
SCORE = Score(
    id="u",
    system="synthesized",
    speaker="s",
    path="u-1.wav",
    start=0,
    end=None,
    text="a b",
    transcript="a b",
    words=10,
    word_errors=5,
    characters=3,
    character_errors=0,
    sim_o=0.9,
    sim_r=0.9,
    speaker_correct=False,
    dnsmos_p835=3.0,
    dnsmos_p808=3.5,
    sig=3.0,
    bak=4.0,
    seconds=2.0,
    pause_seconds=0.2,
    longest_silence=0.2,
    longest_loop=0.1,
    has_loop=False,
    has_silence=False,
    early_stop=False,
)


def fail_if_short(name: str, samples: np.ndarray, result: object) -> object:
    """Return the result of a stand-in scoring model; recordings shorter than half a second fail."""
    if len(samples) < RATE // 2:
        raise RuntimeError(f"{name} needs\nlonger audio")
    return result


class FakeRecognizer:
    """Recognizes every word of the text; fails for a whole batch that contains a short recording."""

    def transcribe(self, recordings):
        return [fail_if_short("recognizer", samples, TEXT) for samples in recordings]


class FakeEncoder:
    """Returns the same embedding for every recording; fails for a short one, or returns NaN with `nan`."""

    def __init__(self, nan: bool = False) -> None:
        self.nan = nan

    def embed(self, samples):
        if self.nan and len(samples) < RATE // 2:
            return np.array([np.nan, 0.0])
        return fail_if_short("encoder", samples, np.array([1.0, 0.0]))


@pytest.fixture
def fake_dnsmos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace DNSMOS, which takes seconds for each recording, by a stand-in."""
    quality = {"dnsmos_p835": 3.0, "dnsmos_p808": 3.5, "sig": 3.0, "bak": 4.0}
    monkeypatch.setattr(scorer_module, "dnsmos", lambda samples: fail_if_short("DNSMOS", samples, quality))


@pytest.fixture
def items(tmp_path: Path, fake_dnsmos: None) -> list[ScoringItem]:
    """Utterances without a reference: two long ones, a short one, and a file that is not audio."""
    wav = tmp_path / "wav"
    for key, seconds in (("long1", 1.0), ("long2", 1.2), ("short", 0.2)):
        audio.write(wav / f"{key}.wav", noise(seconds), RATE)
    (wav / "page.wav").write_text("<html></html>")
    audio.write(tmp_path / "prompt.wav", noise(1.0), RATE)
    return [
        ScoringItem(key, "s", TEXT, tmp_path / "prompt.wav", None, (wav / f"{key}.wav",))
        for key in ("long1", "short", "page", "long2")
    ]


def score_with_fakes(items: list[ScoringItem], folder: Path, encoder: object = None) -> dict[str, Score]:
    """Score items by stand-in scoring models; return the scores by id."""
    scorer = Scorer(items, codec.load("mini"), FakeRecognizer(), encoder or FakeEncoder())  # type: ignore[arg-type]
    return {s.id: s for s in score_items(items, scorer, folder, {"prompts": scorer.prompts_digest})}

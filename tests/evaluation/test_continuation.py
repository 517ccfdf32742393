"""Scoring of continuations without their prompts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import noise
from tests.evaluation.conftest import RATE, FakeEncoder, FakeRecognizer
from valle import audio, codec
from valle.errors import UserError
from valle.evaluation.continuation import without_prompts
from valle.evaluation.failures import report_notes
from valle.evaluation.items import ScoringItem, read_items
from valle.evaluation.score import Score
from valle.evaluation.scorer import Scorer
from valle.evaluation.scoring import score_items

pytestmark = pytest.mark.usefixtures("fake_dnsmos")
TONE = (0.3 * np.sin(np.arange(RATE) * 0.3)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A continuation: a prompt of 1 s of a tone, then 1.5 s of noise, as recording and as two candidates."""
    audio.write(tmp_path / "prompt.wav", TONE, RATE)
    for name in ("reference", "wav/u-1", "wav/u-2"):
        audio.write(tmp_path / f"{name}.wav", np.concatenate((TONE, noise(1.5))), RATE)
    (tmp_path / "list.tsv").write_text(
        "id\tprompt\tprompt_text\ttext\treference\nu\tprompt.wav\tSay:\tSay the quick brown fox.\treference.wav\n"
    )
    return tmp_path


class ToneEncoder(FakeEncoder):
    """Returns the share of the energy of a recording that is in its first second, as an angle."""

    def embed(self, samples: np.ndarray) -> np.ndarray:
        energy = np.square(samples)
        angle = energy[:RATE].sum() / energy.sum()
        return np.array([np.cos(angle), np.sin(angle)])


def score(items: list[ScoringItem], folder: Path) -> dict[str, Score]:
    scorer = Scorer(items, codec.load("mini"), FakeRecognizer(), ToneEncoder())  # type: ignore[arg-type]
    return {s.system: s for s in score_items(items, scorer, folder / "out", {"prompts": scorer.prompts_digest})}


def test_only_the_part_after_the_prompt_is_scored(folder: Path) -> None:
    whole = read_items(folder / "list.tsv", folder / "wav")
    items = without_prompts(whole)
    # "Say" is the prompt's; FakeRecognizer recognizes the rest.
    assert [item.text for item in items] == ["the quick brown fox"]
    for s in score(items, folder).values():
        assert s.seconds == pytest.approx(1.5, abs=0.02), s.system
        assert (s.words, s.word_errors) == (4, 0)
    for s in score(whole, folder).values():
        assert s.seconds == pytest.approx(2.5, abs=0.02), s.system
        assert (s.words, s.word_errors) == (5, 1)
    assert "Only the speech after the prompt is scored" in report_notes(items, [])


@pytest.mark.parametrize("prompt_text", [None, "something else"])
def test_unknown_words_after_the_prompt_leave_similarity_and_quality(folder: Path, prompt_text: str | None) -> None:
    whole = [replace(item, prompt_text=prompt_text) for item in read_items(folder / "list.tsv", folder / "wav")]
    items = without_prompts(whole)
    scores = score(items, folder)
    for s in scores.values():
        assert s.text is s.transcript is s.words is s.word_errors is s.characters is s.early_stop is None
        assert s.failures == {}
        assert s.dnsmos_p808 is not None
    recording = scores["recording"]
    assert recording.sim_o == pytest.approx(score(items, folder)["recording"].sim_o)
    # The prompt itself is not compared with the prompt.
    assert recording.sim_o != pytest.approx(score(whole, folder)["recording"].sim_o, abs=0.01)
    (note, *_) = [note for note in report_notes(items, list(scores.values())) if note.startswith("WER")]
    assert note.endswith("not scored for 1 of 1 utterances: the words after the prompt are not available")


def test_recorded_duration_of_the_prompt_is_used_and_other_speech_is_refused(folder: Path) -> None:
    records = folder / "wav" / "speech.jsonl"
    line = {"file": "u-1.wav", "seconds": 2.5, "rtf": 0.5, "no_end": False}
    records.write_text(json.dumps(line | {"prompt_seconds": 0.9}) + "\n")
    (item,) = without_prompts(read_items(folder / "list.tsv", folder / "wav"))
    assert (item.offset, item.synthesized_offset) == (1.0, 0.9)
    assert score([item], folder)["synthesized"].seconds == pytest.approx(1.6)
    records.write_text(json.dumps(line) + "\n")
    with pytest.raises(UserError, match=r"u-1\.wav: is no continuation with its prompt"):
        without_prompts(read_items(folder / "list.tsv", folder / "wav"))
    with pytest.raises(UserError, match="has no prompt"):
        without_prompts([replace(item, prompt=None)])


def test_loops_in_the_prompt_are_not_those_of_the_continuation(folder: Path) -> None:
    codes = np.arange(125)[:, None].repeat(8, axis=1)
    codes[5:45] = 7
    (folder / "wav" / "codes").mkdir()
    np.save(folder / "wav" / "codes" / "u-1.npy", codes)
    items = read_items(folder / "list.tsv", folder / "wav")
    assert score(items, folder)["synthesized"].has_loop
    assert not score(without_prompts(items), folder)["synthesized"].has_loop

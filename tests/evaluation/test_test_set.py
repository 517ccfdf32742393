"""Test sets: protocols, prompts, and synthesis of whole sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import valle
from tests.conftest import command
from valle import audio
from valle.data import kaldi
from valle.evaluation.continuation import without_prompts
from valle.evaluation.items import read_items
from valle.evaluation.test_set import choose_prompts, read_prompts, read_synthesis_records
from valle.synthesis import TTS


@pytest.fixture(scope="module")
def tts(run_directory: Path) -> TTS:
    # Without a watermark: audio is compared with what the codec decodes.
    return valle.load(run_directory, watermark=False)


def test_prompts_follow_the_papers_protocols(corpus: Path) -> None:
    utterances = kaldi.with_durations(kaldi.read(corpus / "test_unseen"))
    by_speaker: dict[str, list[kaldi.Utterance]] = {}
    for u in utterances:
        by_speaker.setdefault(u.speaker, []).append(u)
    before = {u.id: group[i - 1] for group in by_speaker.values() for i, u in enumerate(group)}  # the first: the last

    for key, choice in choose_prompts(utterances, "reference").items():
        assert (choice.utterance, choice.seconds, choice.text) == (before[key], None, before[key].text)
    cropped = choose_prompts(utterances, "reference", 2.0)
    assert all((c.seconds, c.text) == (2.0, None) for c in cropped.values())

    for u in utterances:
        choice = choose_prompts(utterances, "closest", 4.0)[u.id]
        lengths = [o.duration for o in by_speaker[u.speaker] if o.id != u.id]
        assert choice.utterance.id != u.id
        assert choice.utterance.duration == max((d for d in lengths if d <= 4.0), default=min(lengths))

    long = [u for u in utterances if u.duration > 3.0]
    for u in long:
        choice = choose_prompts(long, "continuation")[u.id]
        assert (choice.utterance, choice.seconds, choice.text) == (u, 3.0, "")
        assert abs(choice.read().duration - 3.0) < 0.01
    with pytest.raises(valle.UserError, match="valle-prepare subset"):
        choose_prompts(utterances, "continuation", 60.0)

    alone = choose_prompts(utterances[:1])[utterances[0].id]
    assert (alone.utterance.id, alone.text) == (utterances[0].id, None)


def test_continuation_is_written_with_its_prompt(tts: TTS, corpus: Path, run_directory: Path, tmp_path: Path) -> None:
    command("valle-synth", "--model", run_directory, "--data", corpus / "test_seen", "--limit", "2", "--output-dir",
            tmp_path, "--protocol", "continuation", "--prompt-seconds", "1", "--num-candidates", "2",
            "--no-watermark")  # fmt: skip
    for prompt in (tmp_path / "prompts").iterdir():
        given = tts.codec.encode(audio.read(prompt).samples, 16_000)
        for candidate in (1, 2):
            spoken = audio.read(tmp_path / f"{prompt.stem}-{candidate}.wav").samples
            assert len(spoken) > 16_000  # a second of prompt, and something after it
            np.testing.assert_allclose(spoken[:12_000], tts.codec.decode(given)[:12_000], atol=2e-3)
    records = read_synthesis_records(tmp_path)
    assert len(records) == 4
    assert {record["prompt_seconds"] for record in records.values()} == {1.0}
    items = without_prompts(read_items(corpus / "test_seen", tmp_path))
    assert [(item.offset, item.synthesized_offset, item.text) for item in items] == [(1.0, 1.0, None)] * 2


def test_similarity_leaves_out_prompts_that_are_the_utterance_itself(
    corpus: Path, run_directory: Path, tmp_path: Path
) -> None:
    utterances = kaldi.read(corpus / "test_unseen")
    by_speaker = {u.speaker: u for u in utterances}
    alone, other = list(by_speaker.values())[:2]
    pair = [u for u in utterances if u.speaker == other.speaker][:2]
    kaldi.write(tmp_path / "data", [alone, *pair])
    command("valle-synth", "--model", run_directory, "--data", tmp_path / "data", "--output-dir", tmp_path / "wav")
    prompts = read_prompts(tmp_path / "wav")
    assert prompts[alone.id] is None
    assert all(prompts[u.id] is not None for u in pair)
    items = read_items(tmp_path / "data", tmp_path / "wav")
    assert [item.id for item in items if item.prompt is None] == [alone.id]

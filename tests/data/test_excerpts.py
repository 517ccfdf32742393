"""Short utterances cut from aligned recordings, and untranscribed prompts of the same speaker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import command
from valle import audio, codec
from valle.data import kaldi
from valle.data.datamodule import TokensDataModule
from valle.data.excerpts import MAX_PROMPT, MIN_PROMPT, excerpts, phrases, with_prompts
from valle.data.utterance import AudioSegment, Utterance
from valle.text import phonemize
from valle.text.phones import phone_class
from valle.training.prompts import prepend_untranscribed_prompts

RATE = 16_000
PHONE = 0.1


def make_utterance(key: str, parts: list[str], path: Path, speaker: str = "a", pause: float = 0.4) -> Utterance:
    """An utterance with pauses around its parts, in which each phone lasts `PHONE` seconds."""
    phones: list[tuple[str, float]] = [("", 0.0)]
    now = pause
    for part in parts:
        for symbol in phonemize([part])[0]:
            if phone_class(symbol) > 0:
                phones.append((symbol, round(now, 3)))
                now += PHONE
        phones.append(("", round(now, 3)))
        now += pause
    return Utterance(key, path, " ".join(parts), speaker, duration=round(now, 3), phones=tuple(phones))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Noise of 20 seconds, the audio of the utterances of these tests."""
    path = tmp_path / "noise.wav"
    audio.write(path, np.random.default_rng(0).normal(0, 0.1, 20 * RATE).astype(np.float32), RATE)
    return path


def test_phrases_contain_all_words_in_order_and_end_at_pauses(recording: Path) -> None:
    parts = ["Yes,", "the baker sold a loaf,", "thank you very much."]
    utterance = make_utterance("u", parts, recording)
    result = phrases([utterance])[0]
    assert [" ".join(phrase.words) for phrase in result] == parts
    assert all(phrase.matches_phones for phrase in result)
    assert result[0].start == pytest.approx(0.4)
    assert [round(phrase.pause, 3) for phrase in result] == [0.4, 0.4, 0.4]
    assert phrases([replace(utterance, phones=None)]) == [[]]


def test_excerpts_are_phrases_of_the_given_length_with_their_phones(recording: Path) -> None:
    utterance = make_utterance(
        "u", ["Yes,", "the baker sold a loaf,", "and then he went home to his old wife"], recording
    )
    yes, loaf = excerpts([utterance], 1, 5)
    assert (yes.text, loaf.text) == ("Yes.", "the baker sold a loaf.")
    for excerpt in (yes, loaf):
        assert excerpt.phones is not None
        assert excerpt.end is not None
        phones = [phone for phone, _ in excerpt.phones if phone]
        assert phones == [symbol for symbol in phonemize([excerpt.text])[0] if phone_class(symbol) > 0]
        # The same phone at the same moment of the recording.
        moments = {round(excerpt.start + at, 3) for phone, at in excerpt.phones if phone}
        assert moments <= {at for phone, at in utterance.phones or () if phone}
        assert 0 <= excerpt.start < excerpt.end <= (utterance.duration or 0)
    assert (yes.end or 0) <= loaf.start
    assert [excerpt.text for excerpt in excerpts([utterance], 6, 9)] == ["and then he went home to his old wife."]


def test_a_phrase_with_other_phones_than_its_words_is_not_cut_out(recording: Path) -> None:
    utterance = make_utterance("u", ["Yes,", "the baker sold a loaf."], recording)
    wrong = replace(utterance, text="Yes, extraordinarily incomprehensible misunderstandings everywhere again.")
    assert all(excerpt.text == "Yes." for excerpt in excerpts([wrong], 1, 5))


def test_a_whole_utterance_is_not_cut_out(recording: Path) -> None:
    assert excerpts([make_utterance("u", ["the baker sold a loaf."], recording, pause=0.1)], 1, 5) == []


def test_prompts_are_other_speech_of_the_same_speaker(recording: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    audio.write(other, np.zeros(4 * RATE, dtype=np.float32), RATE)
    pool = [
        Utterance("a1", recording, "one", "a", duration=20.0),
        Utterance("a2", other, "two", "a", duration=4.0),
        Utterance("b1", other, "three", "b", duration=4.0),
    ]
    cut = [Utterance(f"a1-{n}", recording, "one", "a", start=9.0, end=11.0, duration=2.0) for n in range(40)]
    prompted = with_prompts(cut, pool, seed=0)
    assert prompted == with_prompts(cut, pool, seed=0)
    prompts = [u.prompt for u in prompted if u.prompt is not None]
    assert len(prompts) == 40
    assert {prompt.path for prompt in prompts} == {recording, other}
    for prompt in prompts:
        assert MIN_PROMPT - 0.01 <= prompt.end - prompt.start <= MAX_PROMPT + 0.01
        assert prompt.path == other or prompt.end <= 9.0 or prompt.start >= 11.0
    assert with_prompts(pool[2:], pool, seed=0)[0].prompt is None


def test_prompts_are_written_and_read_back(recording: Path, tmp_path: Path) -> None:
    utterances = [
        Utterance("a1", recording, "one", "a", duration=20.0, prompt=AudioSegment(recording, 1.25, 3.5)),
        Utterance("a2", recording, "two", "a", duration=20.0),
    ]
    kaldi.write(tmp_path / "data", utterances)
    assert kaldi.read(tmp_path / "data") == utterances
    assert kaldi.validate(tmp_path / "data") == []


@pytest.mark.parametrize("line", ["a1 2 1 noise.wav", "a1 x 1 noise.wav", "a1 0 1", "a1 0 1 missing.wav"])
def test_a_wrong_prompt_is_reported_with_file_and_line(recording: Path, tmp_path: Path, line: str) -> None:
    kaldi.write(tmp_path, [Utterance("a1", recording, "one", "a", duration=20.0)])
    (tmp_path / "utt2prompt").write_text(f"{line}\n")
    errors = kaldi.validate(tmp_path)
    assert len(errors) == 1
    assert errors[0].startswith(f"{tmp_path / 'utt2prompt'}:1: 'a1'")


def test_training_batches_contain_excerpts_and_their_prompts(recording: Path, tmp_path: Path) -> None:
    data, short, tokens = tmp_path / "data", tmp_path / "short", tmp_path / "tokens"
    long = make_utterance(
        "u", ["Yes,", "the baker sold a loaf of bread to the old man,", "thank you very much."], recording
    )
    kaldi.write(data, [long])
    command("valle-prepare", "excerpts", data, short, "--words", "1,4")
    assert [u.text for u in kaldi.read(short)] == ["Yes.", "thank you very much."]
    command("valle-tokenize", short, tokens, "--codec", "small")
    (batch,) = TokensDataModule([str(tokens)], [str(tokens)], num_workers=0).val_dataloader()
    assert batch.prompts is not None
    assert batch.prompt_lengths is not None
    small = codec.load("small")
    prompts = {u.id: u.prompt for u in kaldi.read(short)}
    for key, prompt, length in zip(batch.ids, batch.prompts, batch.prompt_lengths, strict=True):
        segment = prompts[key]
        assert segment is not None
        samples = audio.read(segment.path, RATE, start=segment.start, end=segment.end).samples
        assert length == -(-len(samples) // small.hop)
        right = (prompt[:length] == small.encode(samples, RATE)[:, 0]).float().mean()
        assert right > 0.9  # a batch is padded, which the last frames see


def test_excerpts_without_alignment_or_phrases_are_refused(recording: Path, tmp_path: Path) -> None:
    kaldi.write(tmp_path / "data", [replace(make_utterance("u", ["Yes,", "no."], recording), phones=None)])
    for words, message in (("1,5", "run valle-prepare align"), ("5,1", "--words 5,1"), ("few", "--words few")):
        failed = command(
            "valle-prepare", "excerpts", tmp_path / "data", tmp_path / "out", "--words", words, check=False
        )
        assert failed.returncode == 2
        assert message in failed.stderr


def test_an_untranscribed_prompt_may_be_longer_than_the_utterance() -> None:
    codes = torch.arange(40).repeat(2, 1)
    lengths = torch.tensor([10, 40])
    prompts = torch.stack((torch.arange(100, 164), torch.zeros(64, dtype=torch.long)))
    eos = 1024
    whole, given, before = prepend_untranscribed_prompts(
        codes, lengths, prompts, torch.tensor([64, 0]), group_size=2, max_frames=30, eos=eos
    )
    assert before.tolist() == [32, 22]
    # A prompt from the data: its last frames, EOS tokens, then the utterance, all of which is predicted.
    assert whole[0, :42].tolist() == [*range(134, 164), eos, eos, *range(10)]
    assert given[0, :42].tolist() == [True] * 32 + [False] * 10
    # None in the data: half of the utterance itself, whose frames are left out of the loss where they come again.
    segment = whole[1, :20]
    assert whole[1, 20:62].tolist() == [eos, eos, *range(40)]
    assert whole[1, 22:62][given[1, 22:62]].tolist() == segment.tolist()

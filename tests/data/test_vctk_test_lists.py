"""Test lists of the papers for VCTK."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import ROOT, command, noise
from valle import audio
from valle.data import kaldi
from valle.evaluation.test_list import read_test_list

SCRIPT = ROOT / "egs" / "vctk" / "local" / "test_lists.py"


def write_data(folder: Path, seconds: dict[str, list[float]]) -> Path:
    """A data directory of utterances of these durations by speaker."""
    audio.write(folder / "one.wav", noise(0.1), 16_000)
    utterances = []
    for speaker, durations in seconds.items():
        for index, duration in enumerate(durations):
            path = folder / f"{speaker}-{index}.wav"
            path.hardlink_to(folder / "one.wav")
            text = f"Sentence {index}."
            utterances.append(kaldi.Utterance(f"{speaker}-{index}", path, text, speaker, duration=duration))
    kaldi.write(folder / "data", utterances)
    return folder / "data"


def test_each_speaker_has_one_text_and_the_prompt_closest_to_the_length(tmp_path: Path) -> None:
    durations = {"p225": [2.0, 2.9, 3.1, 4.8, 9.0], "p226": [6.0, 7.0, 11.0], "p227": [1.0, 12.0]}
    data = write_data(tmp_path, durations)
    command("python", SCRIPT, data, tmp_path / "lists", "--seed", "3")
    lists = {n: read_test_list(tmp_path / "lists" / f"prompt_{n}s.tsv") for n in (3, 5, 10)}
    for length, lines in lists.items():
        assert [line.speaker for line in lines] == list(durations)
        for line in lines:
            target = int(line.id[-1])
            others = [d for index, d in enumerate(durations[line.speaker]) if index != target]
            expected = max((d for d in others if d <= length), default=min(others))
            prompt = int(line.prompt.stem[-1])
            assert durations[line.speaker][prompt] == expected
            assert (line.text, line.prompt_text) == (f"Sentence {target}.", f"Sentence {prompt}.")
            assert line.reference is not None
            assert line.reference.stem == line.id
    # The texts are the same for all lengths of prompts, and others with another seed.
    ids = [[line.id for line in lines] for lines in lists.values()]
    assert ids[0] == ids[1] == ids[2]
    command("python", SCRIPT, data, tmp_path / "other", "--seed", "4")
    assert [line.id for line in read_test_list(tmp_path / "other" / "prompt_3s.tsv")] != ids[0]


def test_a_speaker_with_one_utterance_is_refused_in_one_line(tmp_path: Path) -> None:
    data = write_data(tmp_path, {"p225": [2.0, 3.0], "p226": [6.0]})
    done = command("python", SCRIPT, data, tmp_path / "lists", check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "'p226' has 1" in done.stderr
    assert not (tmp_path / "lists").exists()

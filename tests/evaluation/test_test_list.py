"""Test lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import command
from valle.errors import UserError
from valle.evaluation.test_list import TestLine, read_test_list

FIELD = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12).map(str.strip)


@given(st.lists(st.fixed_dictionaries({"text": FIELD.filter(bool), "speaker": FIELD}), min_size=1, max_size=4))
def test_test_list_round_trip(tmp_path_factory: pytest.TempPathFactory, rows) -> None:
    folder = tmp_path_factory.mktemp("list")
    (folder / "p.wav").touch()
    lines = ["speaker\ttext\tprompt", *(f"{row['speaker']}\t{row['text']}\tp.wav" for row in rows)]
    (folder / "list.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    items = read_test_list(folder / "list.tsv")
    assert [line.text for line in items] == [row["text"] for row in rows]
    assert [line.speaker for line in items] == [row["speaker"] or "p.wav" for row in rows]
    assert [line.id for line in items] == [f"{i + 1:04d}" for i in range(len(rows))]
    assert all(line.reference is None and line.prompt_text is None for line in items)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "first line must name the columns"),
        ("prompt\tspeaker\n", "first line must name the columns"),
        ("prompt\ttext\ttext\n", "first line must name the columns"),
        ("prompt\ttext\tvoice\n", "first line must name the columns"),
        ("prompt\ttext\n", "has no line"),
        ("prompt\ttext\np.wav\n", "line 2: has 1 fields"),
        ("prompt\ttext\np.wav\t\n", "line 2: prompt and text must not be empty"),
        ("prompt\ttext\nq.wav\ta\n", "line 2: prompt .*q.wav does not exist"),
        ("prompt\ttext\tid\np.wav\ta\t../x\n", "cannot name a file"),
        ("prompt\ttext\tid\np.wav\ta\tx\n\np.wav\tb\tx\n", "line 4: the id 'x' is used twice"),
    ],
)
def test_invalid_test_list_is_a_user_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "p.wav").touch()
    (tmp_path / "list.tsv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_test_list(tmp_path / "list.tsv")


LIBRISPEECH_LINE = '12-3-0009\t4.355\tShe said "no.\t12-45-0000\t6.645\tBut it\'s "done"!\n'


def test_list_of_librispeech_pc_names_recordings_of_the_corpus(tmp_path: Path) -> None:
    for name in ("12/3/12-3-0009.flac", "12/45/12-45-0000.flac", "12/45/12-45-0001.flac"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    path = tmp_path / "librispeech_pc_test_clean_cross_sentence.lst"
    path.write_text(LIBRISPEECH_LINE + LIBRISPEECH_LINE.replace("12-45-0000", "12-45-0001"))
    first, second = read_test_list(path)
    assert first == TestLine(
        id="12-45-0000",
        prompt=tmp_path / "12" / "3" / "12-3-0009.flac",
        prompt_text='She said "no.',
        text='But it\'s "done"!',
        reference=tmp_path / "12" / "45" / "12-45-0000.flac",
        speaker="12",
    )
    assert second.reference == tmp_path / "12" / "45" / "12-45-0001.flac"


def test_list_of_seed_tts_eval_has_an_optional_reference(tmp_path: Path) -> None:
    for name in ("prompt-wavs/p.wav", "wavs/u.wav", "wavs/other.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    line = "u|We asked over twenty people.|prompt-wavs/p.wav|Get the trust fund to the bank early.\n"
    (tmp_path / "meta.lst").write_text(
        line + line.replace("u|", "v|", 1) + line.replace("u|", "w|", 1).replace("\n", "|wavs/other.wav\n")
    )
    lines = read_test_list(tmp_path / "meta.lst")
    assert lines[0] == TestLine(
        id="u",
        prompt=tmp_path / "prompt-wavs" / "p.wav",
        prompt_text="We asked over twenty people.",
        text="Get the trust fund to the bank early.",
        reference=tmp_path / "wavs" / "u.wav",
        speaker="prompt-wavs/p.wav",
    )
    assert [line.reference for line in lines[1:]] == [None, tmp_path / "wavs" / "other.wav"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no line; give one line per utterance"),
        ("prompt\ttext\n", "line 1: a .lst must have the 6 tab-separated fields"),
        (LIBRISPEECH_LINE, r"line 1: prompt .*12/3/12-3-0009\.flac does not exist; paths are relative to the list"),
        (LIBRISPEECH_LINE + "a|b|c|d\n", "line 2: a .lst must have"),
        ("u|a|p.wav|b|q.wav|c\n", "line 1: a .lst must have"),
        ("u|a|p.wav|b\nu|a|p.wav|b\n", "line 2: the id 'u' is used twice"),
        ("../u|a|p.wav|b\n", "cannot name a file"),
    ],
)
def test_invalid_published_list_is_a_user_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "p.wav").touch()
    (tmp_path / "meta.lst").write_text(content)
    with pytest.raises(UserError, match=message):
        read_test_list(tmp_path / "meta.lst")


def test_synth_rejects_protocol_for_test_list(tmp_path: Path) -> None:
    (tmp_path / "p.wav").touch()
    (tmp_path / "list.tsv").write_text("prompt\ttext\np.wav\ta\n")
    arguments = ["--data", tmp_path / "list.tsv", "--output-dir", tmp_path / "none", "--protocol", "reference"]
    done = command("valle-synth", *arguments, check=False)
    assert done.returncode == 2
    assert "a test list names its prompts" in done.stderr
    assert not (tmp_path / "none").exists()

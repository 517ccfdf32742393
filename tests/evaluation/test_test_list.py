"""Test lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import command
from valle.errors import UserError
from valle.evaluation.test_list import read_test_list

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


def test_synth_rejects_protocol_for_test_list(evaluated: Path) -> None:
    arguments = ["--data", evaluated / "list.tsv", "--output-dir", evaluated / "none", "--protocol", "reference"]
    done = command("valle-synth", *arguments, check=False)
    assert done.returncode == 2
    assert "a test list names its prompts" in done.stderr
    assert not (evaluated / "none").exists()

"""Text files of utterances."""

from __future__ import annotations

from pathlib import Path

import pytest

from valle.data.textfile import read_lines
from valle.errors import UserError


def texts_of(path: Path, ids: bool = False) -> dict[str, str]:
    return {line.id: line.text for line in read_lines(path, ids)}


def test_lines_have_ids_only_if_every_line_has_a_tab(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("\ufeffWell-known people often meet.\n\n3 bears came.\n", encoding="utf-8")
    assert texts_of(path) == {"0001": "Well-known people often meet.", "0003": "3 bears came."}
    path.write_text("utt-1\tFirst one.\nutt-2\tSecond one.\n")
    assert texts_of(path) == {"utt-1": "First one.", "utt-2": "Second one."}
    path.write_text("utt-1\tFirst one.\nSecond one.\n")
    assert list(texts_of(path)) == ["0001", "0002"]
    path.write_text("utt-1 First one.\nutt-2 Second one.\n")
    assert list(texts_of(path)) == ["0001", "0002"]
    assert texts_of(path, ids=True) == {"utt-1": "First one.", "utt-2": "Second one."}


@pytest.mark.parametrize(
    ("content", "ids", "named"),
    [
        ("\n", False, "contains no text"),
        ("a\tone\na\ttwo\n", False, "lines.txt:2: the id 'a' is on line 1 too"),
        ("../a\tone\n", False, "lines.txt:1: .* cannot be a file name"),
        ("a one\nb\n", True, "lines.txt:2: 'b' has no text"),
    ],
)
def test_unusable_text_file_is_named_with_line(tmp_path: Path, content: str, ids: bool, named: str) -> None:
    (tmp_path / "lines.txt").write_text(content)
    with pytest.raises(UserError, match=named):
        read_lines(tmp_path / "lines.txt", ids)

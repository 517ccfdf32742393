from pathlib import Path

import pytest

from valle.errors import UserError
from valle.text.lexicon import read_lexicon
from valle.text.script import Mark, Sentence, Span


def lexicon_file(folder: Path, text: str) -> Path:
    path = folder / "lexicon.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_words_get_their_pronunciation_or_other_words(tmp_path: Path) -> None:
    lexicon = read_lexicon(lexicon_file(tmp_path, "# comment\n\ntomato\t/təˈmɑːtoʊ/\nGIF\tjiff\n"))
    sentence = lexicon.apply(Sentence((Span("Tomatoes, a Tomato and a GIF; a gif."),)))
    assert sentence.spans == (
        Span("Tomatoes, a "),
        Span("Tomato", phonemes="təˈmɑːtoʊ"),
        Span(" and a "),
        Span("GIF", alias="jiff"),
        Span("; a gif."),
    )
    assert sentence.text == "Tomatoes, a Tomato and a GIF; a gif."


def test_marks_stay_before_their_words(tmp_path: Path) -> None:
    lexicon = read_lexicon(lexicon_file(tmp_path, "b\tbee\n"))
    sentence = lexicon.apply(Sentence((Span("a b "), Span("c b")), marks=(Mark("m", 1), Mark("end", 2))))
    assert sentence.spans[sentence.marks[0].span].text == "c "
    assert sentence.marks[1].span == len(sentence.spans)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tomato /x/", ":1: write one word, a tab, and /IPA/"),
        ("two words\tx", ":1: write one word"),
        ("a\t", ":1: write one word"),
        ("a\tb\na\tc", ":2: the word 'a' is there twice"),
    ],
)
def test_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = lexicon_file(tmp_path, line)
    with pytest.raises(UserError) as error:
        read_lexicon(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_missing_file_and_other_encodings_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_lexicon(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes("a\tbé".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8"):
        read_lexicon(tmp_path / "latin.txt")

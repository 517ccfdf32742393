import pytest

from valle.errors import UserError
from valle.text.reading import read_script
from valle.text.script import Sentence, Span


def test_pause_divides_a_sentence() -> None:
    first, second = read_script("She had [pause 500ms] nothing to do.")
    assert (first.text, first.ending, first.pause) == ("She had", "clause", 0.5)
    assert (second.text, second.ending, second.pause) == ("nothing to do.", "paragraph", None)


@pytest.mark.parametrize(
    ("mark", "seconds"), [("[pause 1.5s]", 1.5), ("[pause:2s]", 2.0), ("[PAUSE 20 ms]", 0.02), ("[pause=1s]", 1.0)]
)
def test_pause_after_a_sentence_leaves_it_whole(mark: str, seconds: float) -> None:
    first, second = read_script(f"It ends. {mark} It begins.")
    assert (first.text, first.ending, first.pause) == ("It ends.", "sentence", seconds)
    assert second.text == "It begins."


def test_text_may_begin_with_a_pause() -> None:
    first, second = read_script("[pause 1s] Hello.")
    assert (first.spans, first.pause) == ((), 1.0)
    assert second.text == "Hello."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hi [pause] x", "line 1, column 4: [pause] is no pause"),
        ("a\nb [pause 5 apples]", "line 2, column 3: [pause 5 apples] is no pause"),
        ("[pause 5]", "line 1, column 1: [pause 5] is no pause"),
        ("[pause 61s]", "line 1, column 1: a pause of 61 s is too long; give at most 60 s"),
    ],
)
def test_malformed_pause_is_one_line_with_its_position(text: str, message: str) -> None:
    with pytest.raises(UserError, match="^" + message.replace("[", r"\[").replace("]", r"\]")) as error:
        list(read_script(text))
    assert "\n" not in str(error.value)


def test_inline_pronunciation() -> None:
    (sentence,) = read_script("I say [tomato](/təˈmɑːtoʊ/), you do not.")
    assert sentence.spans == (Span("I say "), Span("tomato", phonemes="təˈmɑːtoʊ"), Span(", you do not."))
    assert sentence.text == "I say tomato, you do not."


@pytest.mark.parametrize(
    "text", ["See [1] and [laughs] (all).", "A [link](https://example.com/a/) here.", "[pauses] it"]
)
def test_other_brackets_stay_text(text: str) -> None:
    (sentence,) = read_script(text)
    assert sentence.spans == (Span(text),)


def test_paragraphs_headings_and_lists() -> None:
    text = "# One\nFirst line\ncontinues. Second.\n\n- item\n- other item\n\n***\n\nCHAPTER II. The End\nLast."
    found = [(sentence.text, sentence.ending, sentence.chapter) for sentence in read_script(text)]
    assert found == [
        ("One", "paragraph", "One"),
        ("First line continues.", "sentence", None),
        ("Second.", "paragraph", None),
        ("item", "sentence", None),
        ("other item", "paragraph", None),
        ("CHAPTER II.", "sentence", "CHAPTER II. The End"),
        ("The End", "paragraph", None),
        ("Last.", "paragraph", None),
    ]


def test_line_that_begins_like_a_chapter_is_text() -> None:
    assert [s.chapter for s in read_script("Part of it was gone. " + "It was a very long line of text, " * 4)] == [
        None,
        None,
    ]


def test_empty_text_has_no_sentences() -> None:
    assert list(read_script("")) == []
    assert list(read_script(" \n\n ")) == []
    assert list(read_script([])) == []


def test_sentence_without_spans_has_no_text() -> None:
    assert Sentence(()).text == ""

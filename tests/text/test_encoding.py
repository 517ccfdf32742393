import pytest

import valle
from valle.errors import UserError
from valle.synthesis import TTS
from valle.text.lexicon import Lexicon
from valle.text.reading import read_script
from valle.text.script import Sentence, Span


@pytest.fixture(scope="module")
def small() -> TTS:
    return valle.load("small")


def words(tts: TTS, text: str | Sentence) -> list[tuple[str, str]]:
    encoded = tts.encode_text(text)
    assert encoded.words[0].start == 0
    assert encoded.words[-1].end == len(encoded.symbols)
    assert all(word.end == after.start for word, after in zip(encoded.words, encoded.words[1:], strict=False))
    return [(word.text, "".join(encoded.symbols[word.start : word.end]).strip()) for word in encoded.words]


def test_written_words_have_the_symbols_that_are_read_for_them(small: TTS) -> None:
    assert words(small, "It costs $20.50, Dr. Ng.") == [
        ("It", "ɪt"),
        ("costs", "kˈɔsts"),
        ("$20.50,", "twˈɛnti dˈɑːlɚz ænd fˈɪfti sˈɛnts,"),
        ("Dr.", "dˈɑːktɚɹ"),
        ("Ng.", "ˌɛndʒˈiː."),
    ]


def test_words_that_espeak_joins_are_told_apart(small: TTS) -> None:
    assert words(small, "One of the things.")[1:3] == [("of", "ʌv"), ("the", "ðə")]


def test_signs_belong_to_the_word_before_them(small: TTS) -> None:
    assert [text for text, _ in words(small, "He — the boss — left & ran.")] == [
        "He —",
        "the",
        "boss —",
        "left &",
        "ran.",
    ]


def test_pronunciation_alias_and_language(small: TTS) -> None:
    (sentence,) = read_script("I say [tomato](/təˈmɑːtoʊ/), you know.")
    assert words(small, sentence)[2] == ("tomato,", "təˈmɑːtoʊ,")
    assert words(small, Sentence((Span("WWW", alias="web"), Span(" is old."))))[0] == ("WWW", "wˈɛb")
    german = words(small, Sentence((Span("He said "), Span("Guten Morgen", language="de"), Span("."))))
    assert german[2:] == [("Guten", "ɡˈuːtən"), ("Morgen.", "mˈɔɾɡən.")]


def test_lexicon_is_used_in_every_text(small: TTS) -> None:
    tts = valle.load("small")
    tts.lexicon = Lexicon({"tomato": Span("tomato", phonemes="təˈmɑːtoʊ")})
    assert "".join(tts.encode_text("A Tomato!").symbols) == "ɐ təˈmɑːtoʊ!"
    assert "".join(small.encode_text("A Tomato!").symbols) == "ɐ təmˈeɪɾoʊ!"


def test_unknown_phone_is_named(small: TTS) -> None:
    with pytest.raises(UserError, match=r"^\[x\]\(/q@/\): '@' is no phone that the model has"):
        small.encode_text(next(read_script("[x](/q@/)")))


def test_marks_stand_before_symbols(small: TTS) -> None:
    (sentence,) = read_script('<speak>One <mark name="m"/>two.</speak>')
    encoded = small.encode_text(sentence)
    ((name, position),) = encoded.marks
    assert name == "m"
    assert "".join(encoded.symbols[position:]).strip() == "tˈuː."

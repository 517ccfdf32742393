import pytest

from valle.errors import UserError
from valle.text.reading import read_script
from valle.text.script import Mark, Span


def read(inner: str) -> list:
    return list(read_script(f"<speak>{inner}</speak>"))


def test_paragraphs_sentences_and_breaks() -> None:
    found = [(s.text, s.ending, s.pause) for s in read("<p><s>One</s><s>Two</s></p>Three <break time='500ms'/> four.")]
    assert found == [
        ("One", "sentence", None),
        ("Two", "sentence", None),
        ("Three", "clause", 0.5),
        ("four.", "paragraph", None),
    ]


def test_break_strengths_are_ordered() -> None:
    strengths = ["none", "x-weak", "weak", "medium", "strong", "x-strong"]
    pauses = [read(f'a <break strength="{strength}"/> b')[0].pause for strength in strengths]
    assert pauses == sorted(pauses)
    assert len(set(pauses)) == 6
    assert read("a <break/> b")[0].pause == pauses[3]


def test_sub_phoneme_and_lang() -> None:
    (sentence,) = read(
        'The <sub alias="World Wide Web">WWW</sub>, a <phoneme alphabet="ipa" ph="pɪˈkɑːn">pecan</phoneme> '
        'and <lang xml:lang="de-DE">Guten Tag</lang>.'
    )
    assert Span("WWW", alias="World Wide Web") in sentence.spans
    assert Span("pecan", phonemes="pɪˈkɑːn") in sentence.spans
    assert Span("Guten Tag", language="de-de") in sentence.spans
    assert sentence.text == "The WWW, a pecan and Guten Tag."


@pytest.mark.parametrize(
    ("kind", "text", "read_as"),
    [
        ("characters", "ABC", "A-B-C"),
        ("spell-out", "A1b", "A 1 b"),
        ("digits", "1984", "1 9 8 4"),
        ("telephone", "555-0192", "5 5 5 0 1 9 2"),
        ("ordinal", "3", "3rd"),
        ("ordinal", "11", "11th"),
        ("ordinal", "22", "22nd"),
        ("cardinal", "1984", None),
        ("date", "11/17/05", None),
    ],
)
def test_say_as(kind: str, text: str, read_as: str | None) -> None:
    (sentence,) = read(f'<say-as interpret-as="{kind}">{text}</say-as>')
    assert sentence.spans == (Span(text, alias=read_as),)


def test_prosody_rates_multiply_and_divide_sentences() -> None:
    found = [(s.text, s.speed) for s in read('a <prosody rate="80%">b <prosody rate="125%">c</prosody></prosody> d')]
    assert found == [("a", 1.0), ("b", 0.8), ("c d", 1.0)]
    assert [s.speed for s in read('<prosody rate="+20%">x</prosody>')] == [1.2]
    assert [s.speed for s in read('<prosody rate="-20%">x</prosody>')] == [0.8]


def test_marks_name_the_span_after_them() -> None:
    (sentence,) = read('One <mark name="a"/>two three<mark name="b"/>.')
    texts = [span.text for span in sentence.spans]
    assert [(mark.name, texts[mark.span]) for mark in sentence.marks] == [("a", "two three"), ("b", ".")]
    (sentence,) = read('One.<mark name="end"/>')
    assert sentence.marks == (Mark("end", 1),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<speak>a", "SSML, line 1, column 9: no element found"),
        ("<speak>\n<voice>a</voice></speak>", "SSML, line 2, column 1: <voice> is not supported; use speak, p, s"),
        ("<speak><break time='5'/></speak>", 'SSML, line 1, column 8: <break time="5"> is no duration'),
        ("<speak><break time='90s'/></speak>", "a pause of 90 s is too long"),
        ("<speak><prosody rate='9'>x</prosody></speak>", "gives 9; it must be 0.5 to 2"),
        ("<speak><prosody pitch='high'>x</prosody></speak>", '<prosody pitch="..."> is not supported; use rate'),
        ("<speak><prosody>x</prosody></speak>", "<prosody> needs the attribute rate"),
        ("<speak><phoneme alphabet='x-sampa' ph='a'>x</phoneme></speak>", "is not supported; use ipa"),
        ("<speak><say-as interpret-as='poem'>x</say-as></speak>", "is not supported; use characters"),
        ("<speak><sub alias='a'><s>x</s></sub></speak>", "<sub> holds no other element"),
        ("<speak><break>x</break></speak>", "<break> holds no text"),
        ("<speak>a</speak><speak>b</speak>", "junk after document element"),
        ("<speak>&x;</speak>", "undefined entity"),
        ("<!DOCTYPE speak><speak>a</speak>", "a document type declaration is not allowed"),
        ('<!DOCTYPE speak [<!ENTITY a "b">]><speak>&a;</speak>', "a document type declaration is not allowed"),
        ("<speak><?php echo 1 ?></speak>", "a processing instruction is not allowed"),
    ],
)
def test_what_is_not_understood_is_one_line_with_its_position(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        list(read_script(text))
    assert message in str(error.value)
    assert str(error.value).startswith("SSML, line ")
    assert "\n" not in str(error.value)


def test_xml_declaration_is_allowed() -> None:
    (sentence,) = read_script('<?xml version="1.0"?>\n<speak version="1.1" xml:lang="en-US">Hello.</speak>')
    assert sentence.text == "Hello."

"""Properties of Kaldi data directories: writing loses nothing, and `fix` repairs any content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import noise
from valle import audio
from valle.data import kaldi
from valle.data.kaldi import Utterance
from valle.errors import UserError


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audio file of two seconds."""
    path = tmp_path_factory.mktemp("recordings") / "one.wav"
    audio.write(path, noise(2.0), 16_000)
    return path


words = st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="/\\"), min_size=1, max_size=12)
ids = words.filter(lambda w: not w.startswith("."))
texts = st.lists(words, min_size=1, max_size=5).map(" ".join)
seconds = st.floats(0, 1e6, allow_nan=False)
phones = st.lists(st.tuples(st.just("") | words.filter(lambda w: w != "sil"), seconds), min_size=1, max_size=4).map(
    lambda result: tuple(sorted(result, key=lambda item: item[1]))
)


@st.composite
def directories(draw: st.DrawFn) -> list[Utterance]:
    """Utterances that are all whole files or all segments, by id."""
    segments, durations = draw(st.booleans()), draw(st.booleans())
    recordings = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
    result = []
    for index, key in enumerate(sorted(draw(st.lists(ids, min_size=1, max_size=6, unique=True)), key=str.encode)):
        u = Utterance(key, Path("/x") / f"{index}.wav", draw(texts), draw(words), phones=draw(st.none() | phones))
        if segments:
            start, end = sorted(draw(st.lists(seconds, min_size=2, max_size=2, unique=True)))
            name = draw(st.sampled_from(recordings))
            u = replace(u, path=Path("/x") / f"{name}.wav", start=start, end=end, recording=name)
        result.append(replace(u, duration=draw(st.floats(1e-3, 1e6))) if durations else u)
    return result


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(directories())
def test_written_utterances_read_back_equal(tmp_path: Path, utterances: list[Utterance]) -> None:
    kaldi.write(tmp_path, utterances)
    assert kaldi.read(tmp_path) == utterances
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kaldi.write(tmp_path, kaldi.read(tmp_path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


LINES = st.lists(
    st.text(st.sampled_from("ab-0 .\t\r\n\ufeff\u00a0/|~1é")) | st.sampled_from(["ann-0 one 0 1", "ann-0 ann", "\x00"]),
    max_size=4,
).map("\n".join)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["text", "wav.scp", "utt2spk", "spk2utt", "segments", "utt2dur"]), LINES))
def test_fix_makes_any_content_valid_or_reports_that_nothing_is_usable(
    recording: Path, tmp_path: Path, files: dict[str, str]
) -> None:
    u = Utterance("ann-0", recording, "Some words.", "ann", 0.0, 1.0, 1.0, recording="one")
    kaldi.write(tmp_path, [u, replace(u, id="bob-0", speaker="bob")])
    for name, content in files.items():
        (tmp_path / name).write_bytes(content.encode())
    try:
        kaldi.fix(tmp_path)
    except UserError:
        return
    assert kaldi.validate(tmp_path) == []
    before = kaldi.read(tmp_path)
    kaldi.write(tmp_path, before)
    assert kaldi.read(tmp_path) == before

"""One continuous batch over the requests of many threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

import valle
from valle.generation.continuous import CancelledError, ContinuousEngine
from valle.models.sampling import Sampling
from valle.synthesis import TTS

TEXTS = ("Hello there.", "The garden is full of yellow flowers.", "Yes.", "It costs $20.50, Dr. Ng.")


@pytest.fixture(scope="module")
def alone() -> TTS:
    return valle.load("small")


@pytest.fixture
def shared() -> Iterator[TTS]:
    tts = valle.load("small")
    engine = ContinuousEngine(tts.ar, max_rows=8)
    tts.engine = engine
    yield tts
    engine.close()


def streamed(tts: TTS, text: str, seed: int, sampling: Sampling) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in tts.stream(text, seed=seed, sampling=sampling)])


def test_each_thread_gets_the_samples_that_it_gets_alone(alone: TTS, shared: TTS) -> None:
    samplings = [Sampling(top_p=0.7), Sampling(temperature=0), Sampling(top_p=0.7, repetition_aware=True), Sampling()]
    results: dict[tuple[int, str], np.ndarray] = {}

    def stream(index: int) -> None:
        results[index, "stream"] = streamed(shared, TEXTS[index], index, samplings[index])

    def batch(index: int) -> None:
        audio = shared.synthesize(TEXTS[index], seed=index, sampling=samplings[index], attempts=3 if index != 1 else 1)
        results[index, "batch"] = audio.samples

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(TEXTS)) for work in (stream, batch)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, text in enumerate(TEXTS):
        assert np.array_equal(results[index, "stream"], streamed(alone, text, index, samplings[index]))
        attempts = 3 if index != 1 else 1
        expected = alone.synthesize(text, seed=index, sampling=samplings[index], attempts=attempts).samples
        assert np.array_equal(results[index, "batch"], expected)


def test_closed_stream_and_cancelled_request_free_their_slots(shared: TTS) -> None:
    engine = shared.engine
    assert isinstance(engine, ContinuousEngine)
    long = "It is a long story about many things, and nobody knows how it will end after all these years."
    chunks = shared.stream(long)
    next(chunks)
    assert engine.num_active == 1
    chunks.close()  # type: ignore[attr-defined]
    wait_for(lambda: engine.num_active == 0)
    cancelled = threading.Event()
    caught: list[BaseException] = []

    def work() -> None:
        try:
            with engine.cancellable(cancelled):
                list(shared.stream(long))
        except CancelledError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: engine.num_active == 1)
    cancelled.set()
    thread.join(5)
    assert len(caught) == 1
    wait_for(lambda: engine.num_active == 0)


def test_requests_that_do_not_fit_are_decoded_by_themselves(alone: TTS) -> None:
    tts = valle.load("small")
    engine = ContinuousEngine(tts.ar, max_rows=2, max_length=64, max_steps=10)
    tts.engine = engine
    try:
        assert np.array_equal(tts.synthesize(TEXTS[0]).samples, alone.synthesize(TEXTS[0]).samples)
    finally:
        engine.close()


def test_stream_outside_of_the_batch_does_not_hold_others_up_while_nobody_reads_it(alone: TTS, shared: TTS) -> None:
    # A window that is longer than the engine's.
    sampling = Sampling(top_p=0.7, ras_window=20)
    chunks = shared.stream(TEXTS[1], seed=1, sampling=sampling)
    samples = [next(chunks).samples]
    others: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: others.append(shared.synthesize(TEXTS[0]).samples), daemon=True)
    thread.start()
    thread.join(20)
    assert np.array_equal(others[0], alone.synthesize(TEXTS[0]).samples)
    samples += [chunk.samples for chunk in chunks]
    assert np.array_equal(np.concatenate(samples), streamed(alone, TEXTS[1], 1, sampling))


def test_closed_engine_refuses_requests(shared: TTS) -> None:
    engine = shared.engine
    assert isinstance(engine, ContinuousEngine)
    engine.close()
    with pytest.raises(CancelledError, match="the engine is closed"):
        shared.synthesize("Hello.")


def wait_for(condition: object, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)

"""Streams: audio while the rest is still being decoded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch

import valle
from valle.generation.request import GenerationOutput
from valle.models.sampling import Sampling
from valle.synthesis import TTS
from valle.synthesis.streaming import stream_codes, stream_waveform

TEXT = "The baker sold a loaf."


@pytest.fixture(scope="module")
def tts(run_directory: Path) -> TTS:
    # Without a watermark: audio is compared with what the codec decodes.
    return valle.load(run_directory, watermark=False)


@pytest.mark.parametrize("chunk_seconds", [0.2, 0.5, 60.0])
def test_chunks_joined_are_the_codecs_audio_of_the_streamed_codes(tts: TTS, speech: Path, chunk_seconds: float) -> None:
    voice = tts.prompt(speech, "Hello there.")
    sampling = Sampling(top_p=0.9)

    chunks = list(tts.stream(TEXT, voice, seed=3, sampling=sampling, chunk_seconds=chunk_seconds))
    (whole,) = tts.synthesize_batch([TEXT], [voice], [3], sampling=sampling)
    samples = np.concatenate([chunk.samples for chunk in chunks])
    assert len(samples) == len(whole.audio.samples)
    if chunk_seconds == 60.0:
        # A single chunk reads all that follows, so its codes are those of `synthesize`.
        assert len(chunks) == 1
        np.testing.assert_allclose(samples, tts.codec.decode(whole.codes), atol=1e-4)
    else:
        assert len(chunks) > 2


def test_stream_waveform_joins_chunks_exactly(tts: TTS, speech: Path) -> None:
    codes = tts.prompt(speech).codes
    for size in (7, 20, 64):
        pieces = [codes[start : start + size] for start in range(0, len(codes), size)]
        flagged = ((piece, index == len(pieces) - 1) for index, piece in enumerate(pieces))
        samples = np.concatenate(list(stream_waveform(tts.codec, flagged)))
        np.testing.assert_allclose(samples, tts.codec.decode(codes), atol=1e-4)


def test_stream_codes_fills_in_each_frame_once_with_lookahead() -> None:
    first = torch.arange(23)
    outputs = [GenerationOutput(first[:end], truncated=False, ended=end == 23) for end in (5, 10, 15, 20, 23)]
    calls = []

    def fill_in(done: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        calls.append((len(done), len(rest)))
        return torch.stack((rest, rest + 100), dim=1)

    chunks = list(stream_codes(iter(outputs), fill_in, empty=torch.zeros(0, 2, dtype=torch.long), lookahead=2))
    codes = torch.cat([codes for codes, _ in chunks])
    assert torch.equal(codes, torch.stack((first, first + 100), dim=1))
    assert [last for _, last in chunks] == [False] * 4 + [True]
    assert calls == [(0, 5), (3, 7), (8, 7), (13, 7), (18, 5)]


def test_first_chunk_is_ready_while_the_ar_model_still_decodes(tts: TTS, speech: Path) -> None:
    text = TEXT * 4
    stream = tts.stream(text, tts.prompt(speech), seed=3, chunk_seconds=0.2)
    first = next(stream)
    rest = [chunk.duration for chunk in stream]
    assert first.duration < 0.5
    assert sum(rest) > 2 * first.duration


def test_async_stream_has_the_same_samples_and_can_be_left() -> None:
    tts = valle.load("small")

    async def read(limit: int | None) -> list[np.ndarray]:
        pieces = []
        async for chunk in tts.astream("Good morning to all of you.", seed=2):
            pieces.append(chunk.samples)
            if limit is not None and len(pieces) == limit:
                break
        return pieces

    expected = np.concatenate([chunk.samples for chunk in tts.stream("Good morning to all of you.", seed=2)])
    assert np.array_equal(np.concatenate(asyncio.run(read(None))), expected)
    assert len(asyncio.run(read(1))) == 1

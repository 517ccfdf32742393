"""The bundled model gives the same codes from the same seeds as when `reference_codes.json` was recorded.

A change of behaviour that is wanted is recorded by `python tests/integration/test_reference_codes.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import valle
from valle import audio
from valle.models.sampling import NARSampling, Sampling
from valle.synthesis.voices import find_voice

RECORDED = Path(__file__).with_name("reference_codes.json")
TEXT = "It was twenty past five, and the ship had not come."
LONG = "The first sentence is short. " + "The second one is a little longer, as sentences of books often are. " * 3


def digest(codes: torch.Tensor) -> str:
    return hashlib.sha256(codes.to(torch.int64).contiguous().numpy().tobytes()).hexdigest()[:16]


def computed() -> Iterator[tuple[str, str]]:
    """A name and a hash for each way in which codes are made."""
    voice = find_voice("clara")
    recording = audio.read(voice.recording)
    for name in ("mini", "small"):
        yield f"codec {name}", digest(valle.codec.load(name).encode(recording.samples, recording.sample_rate))
    for compiled in (False, True):
        tts = valle.load("small", dtype="float32", compiled=compiled, watermark=False)
        alone = tts.prompt(voice.recording)
        with_text = tts.prompt(voice.recording, voice.text)

        def codes(tts=tts, text=TEXT, prompt=alone, **options) -> str:
            return "+".join(digest(s.codes) for s in tts.synthesize_batch([text], [prompt], [7], **options))

        kind = "compiled" if compiled else "plain"
        yield f"{kind}: voice alone", codes()
        yield f"{kind}: voice alone, one attempt", codes(attempts=1)
        yield f"{kind}: with text", codes(prompt=with_text)
        yield f"{kind}: long text", codes(text=LONG)
        yield (
            f"{kind}: repetition aware, two candidates",
            codes(sampling=Sampling(top_p=0.9, temperature=0.9, repetition_aware=True), candidates=2, attempts=1),
        )
        yield f"{kind}: greedy NAR", codes(nar_sampling=NARSampling(temperature=0.0), attempts=1)
        yield f"{kind}: sampled NAR", codes(nar_sampling=NARSampling(temperature=0.8), attempts=1)
        yield f"{kind}: greedy AR", codes(sampling=Sampling(temperature=0.0))


def test_bundled_model_gives_the_recorded_codes() -> None:
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("recorded with AVX2; sums of other instruction sets can sample other codes")
    assert dict(computed()) == json.loads(RECORDED.read_text(encoding="utf-8"))


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(dict(computed()), indent=2) + "\n", encoding="utf-8")

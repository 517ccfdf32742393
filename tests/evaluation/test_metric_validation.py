"""Metric validation: errors inserted into recordings change the metrics that should detect them, and no others."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import LIBRI
from valle import audio, codec
from valle.data import kaldi
from valle.evaluation import scorer as scorer_module
from valle.evaluation.codec_scores import score_codec
from valle.evaluation.items import ScoringItem
from valle.evaluation.metrics import METRICS, estimate
from valle.evaluation.quality import dnsmos
from valle.evaluation.recognizer import load_recognizer
from valle.evaluation.scorer import Scorer
from valle.evaluation.scoring import score_items
from valle.evaluation.speaker_encoder import load_encoder

Error = Callable[[np.ndarray], np.ndarray]
# Voices of the generated corpus whose utterances are one window of DNSMOS.
VOICES = ("annie", "gustave", "paul")


class CachedModels:
    """The recognizer and DNSMOS, which compute the result of each recording once: some tests change texts only."""

    def __init__(self) -> None:
        self._recognizer = load_recognizer()
        self._transcripts: dict[bytes, str] = {}
        self._quality: dict[bytes, dict[str, float]] = {}

    def transcribe(self, recordings: Sequence[np.ndarray]) -> list[str]:
        """Return the transcripts of the recognizer."""
        keys = [samples.tobytes() for samples in recordings]
        new = {key: samples for key, samples in zip(keys, recordings, strict=True) if key not in self._transcripts}
        self._transcripts |= zip(new, self._recognizer.transcribe(list(new.values())), strict=True)
        return [self._transcripts[key] for key in keys]

    def dnsmos(self, samples: np.ndarray) -> dict[str, float]:
        """Return the values of DNSMOS."""
        key = samples.tobytes()
        if key not in self._quality:
            self._quality[key] = dnsmos(samples)
        return self._quality[key]


class Bench:
    """Recordings in the role of a system's output, and the metrics of that system with an inserted error."""

    def __init__(self, items: list[ScoringItem], folder: Path) -> None:
        self.folder = folder
        self.codec = codec.load("mini")
        self.models = CachedModels()
        self.encoder = load_encoder()
        self.items = [self.with_error(item, "clean", lambda samples: samples) for item in items]
        self.clean = self.metrics(self.items)

    def with_error(self, item: ScoringItem, name: str, error: Error) -> ScoringItem:
        """Write an item's recording with an error as its synthesized file."""
        assert item.reference is not None
        recording = audio.read(item.reference.path, 16_000)
        path = self.folder / name / f"{item.id}.wav"
        audio.write(path, error(recording.samples), 16_000)
        return replace(item, synthesized=(path,))

    def metrics(self, items: list[ScoringItem]) -> dict[str, float]:
        """Return the metrics of the synthesized files, with the means of DNSMOS' two other scores."""
        scorer = Scorer(items, self.codec, self.models, self.encoder)
        synthesized = [replace(item, reference=None) for item in items]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scorer_module, "dnsmos", self.models.dnsmos)
            scores = score_items(synthesized, scorer, self.folder, {"prompts": scorer.prompts_digest})
        extra = {name: float(np.mean([getattr(s, name) for s in scores])) for name in ("sig", "bak")}
        return {m.name: value for m in METRICS if (value := estimate(m, scores).value) is not None} | extra

    def changes_by(self, name: str, error: Error) -> dict[str, float]:
        """Return the change of each metric when every recording has the error."""
        return self.changes(self.metrics([self.with_error(item, name, error) for item in self.items]))

    def changes(self, metrics: dict[str, float]) -> dict[str, float]:
        """Return the difference of metrics to those of the clean recordings."""
        return {name: metrics[name] - value for name, value in self.clean.items()}


def generated_items(corpus: Path) -> list[ScoringItem]:
    """Return an utterance of each of three voices of the generated corpus, with another one as its prompt."""
    by_speaker: dict[str, list[kaldi.Utterance]] = {}
    for u in kaldi.read(corpus / "test_unseen"):
        by_speaker.setdefault(u.speaker, []).append(u)
    groups = [group for speaker, group in by_speaker.items() if speaker.endswith(VOICES)]
    assert len(groups) == len(VOICES)
    return [ScoringItem(u.id, u.speaker, u.text, prompt.path, u, ()) for prompt, u, *_ in groups]


def real_items() -> list[ScoringItem]:
    """Return a recording of each of six speakers of LibriSpeech; each is its own prompt."""
    if not LIBRI.is_dir():
        pytest.skip("the clips of LibriSpeech are not available")
    items = []
    for speaker in (LIBRI / "heldout-speakers.txt").read_text().split()[3:9]:
        (transcript,) = (LIBRI / "train-clean-100" / speaker).glob("*/*.trans.txt")
        key, _, text = transcript.read_text().splitlines()[0].partition(" ")
        path = transcript.parent / f"{key}.flac"
        items.append(ScoringItem(key, speaker, text, path, kaldi.Utterance(key, path, text, speaker), ()))
    return items


@pytest.fixture(scope="module", params=["generated", pytest.param("real", marks=pytest.mark.slow)])
def bench(request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    items = generated_items(corpus) if request.param == "generated" else real_items()
    return Bench(items, tmp_path_factory.mktemp("errors"))


def test_swapped_prompts_lower_similarity_only(bench: Bench) -> None:
    others = bench.items[1:] + bench.items[:1]
    swapped = [replace(i, prompt=o.prompt, speaker=o.speaker) for i, o in zip(bench.items, others, strict=True)]
    changes = bench.changes(bench.metrics(swapped))
    assert changes["speaker_accuracy"] <= -0.7
    assert changes["sim_o"] <= -0.15
    assert changes["sim_r"] <= -0.15
    assert changes["wer"] == changes["dnsmos_p835"] == 0


def test_shuffled_words_raise_error_rates_only(bench: Bench) -> None:
    rng = random.Random(0)
    shuffled = [replace(i, text=" ".join(rng.sample(i.text.split(), len(i.text.split())))) for i in bench.items]
    changes = bench.changes(bench.metrics(shuffled))
    assert changes["wer"] >= 0.5
    assert changes["cer"] >= 0.4
    assert changes["sim_o"] == changes["dnsmos_p835"] == changes["seconds"] == 0


def test_missing_last_half_second_is_an_early_stop(bench: Bench) -> None:
    def cut(samples: np.ndarray) -> np.ndarray:
        return samples[: np.flatnonzero(np.abs(samples) > 0.02)[-1] - 8_000]

    changes = bench.changes_by("cut", cut)
    assert -1.0 <= changes["seconds"] <= -0.5
    assert changes["early_stops"] >= 0.5
    assert changes["words_per_second"] >= 0.1
    assert changes["wer"] >= 0.03
    assert abs(changes["sim_o"]) <= 0.03


def test_single_codebook_lowers_intelligibility_and_quality(bench: Bench) -> None:
    def coarse(samples: np.ndarray) -> np.ndarray:
        decoded = bench.codec.decode(bench.codec.encode(samples, 16_000)[:, :1])
        return audio.resample(decoded, bench.codec.sample_rate, 16_000)

    changes = bench.changes_by("coarse", coarse)
    assert changes["wer"] >= 0.3
    assert changes["dnsmos_p835"] <= -0.6
    assert changes["sim_o"] <= -0.05
    assert abs(changes["seconds"]) <= 0.02
    recordings = [item.reference for item in bench.items[:2] if item.reference is not None]
    whole, one = (score_codec(bench.codec, recordings, bench.models, bench.encoder, n) for n in (8, 1))
    gaps = {name: (one.metrics[name].value or 0) - (whole.metrics[name].value or 0) for name in whole.metrics}
    assert gaps["stoi"] <= -0.1
    assert gaps["pesq"] <= -1.0
    assert gaps["mel"] >= 1.5
    assert gaps["sim"] <= -0.05
    assert (whole.bits, one.bits) == (4000, 500)
    assert one.perplexity == whole.perplexity[:1]


def test_white_noise_lowers_background_quality(bench: Bench) -> None:
    def noisy(samples: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(0).normal(size=len(samples)).astype(np.float32)
        # 10 dB below the speech.
        return samples + noise * np.sqrt(np.mean(samples**2)) * 10 ** (-10 / 20)

    changes = bench.changes_by("noise", noisy)
    assert changes["bak"] <= -1.2
    assert changes["dnsmos_p835"] <= -0.5
    assert changes["dnsmos_p808"] <= -0.5
    assert changes["sim_o"] <= -0.1
    assert changes["pauses"] <= 0


def test_inserted_silence_is_detected(bench: Bench) -> None:
    def pause(samples: np.ndarray) -> np.ndarray:
        return np.insert(samples, len(samples) // 2, np.zeros(17_600, np.float32))

    changes = bench.changes_by("pause", pause)
    assert bench.clean["silences"] + changes["silences"] == 1
    assert abs(changes["seconds"] - 1.1) <= 0.01
    assert changes["pauses"] >= 0.03
    assert changes["loops"] == 0


def test_repeated_codes_are_a_loop(bench: Bench) -> None:
    def looping(samples: np.ndarray) -> np.ndarray:
        codes = bench.codec.encode(samples, 16_000)
        loudest = int(np.abs(samples).argmax() / len(samples) * len(codes))
        start = min(max(loudest - 5, 0), len(codes) - 10)
        codes = torch.cat((codes[:start], codes[start : start + 10].repeat(4, 1), codes[start + 10 :]))
        saved_codes.append(codes)
        return audio.resample(bench.codec.decode(codes), bench.codec.sample_rate, 16_000)

    saved_codes: list[torch.Tensor] = []
    items = [bench.with_error(item, "loop", looping) for item in bench.items]
    (bench.folder / "loop" / "codes").mkdir()
    # As valle-synth saves them.
    for item, codes in zip(items, saved_codes, strict=True):
        np.save(bench.folder / "loop" / "codes" / f"{item.id}.npy", codes.numpy())
    changes = bench.changes(bench.metrics(items))
    assert bench.clean["loops"] + changes["loops"] == 1
    assert abs(changes["seconds"] - 0.6) <= 0.05
    assert changes["silences"] <= 0

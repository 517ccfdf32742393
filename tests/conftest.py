"""Small models and real recordings that tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from valle import audio
from valle.data import kaldi
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.transformer import TransformerConfig

TINY = TransformerConfig(layers=2, heads=2, dim=32, ffn_dim=64, dropout=0.0)
torch.set_num_threads(1)  # models are tiny: threads only wait for one another
BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
# Clips of LibriSpeech beside the checkout; tests that need them are skipped without them.
LIBRI = ROOT.parent / "shared" / "corpora" / "libri-clips"
MINI_LOCAL = ROOT / "egs" / "mini" / "local"

# The generated corpus belongs to a recipe, whose scripts import one another by name.
sys.path.append(str(MINI_LOCAL))
from espeak import EspeakVoice, espeak  # noqa: E402


@pytest.fixture(params=["valle", "valle2"])
def ar(request: pytest.FixtureRequest) -> AR:
    torch.manual_seed(0)
    return sharpen(AR(12, TINY, codebook_size=50, layout=request.param)).eval()


@pytest.fixture(params=[("valle", 0), ("valle", 2), ("valle2", 0)], ids=["valle", "expectation", "valle2"])
def nar(request: pytest.FixtureRequest) -> NAR:
    torch.manual_seed(0)
    layout, layers = request.param
    model = NAR(12, TINY, codebook_size=50, latent_regression_layers=layers, latent_dim=6, layout=layout)
    if model.expectation is not None:
        model.start_from_codebooks(torch.randn(8, 50, 6))
        for begins_as_zero in (model.correction, model.expectation.out):
            torch.nn.init.normal_(begins_as_zero.weight, std=0.1)
    return sharpen(model).eval()


def sharpen(model: torch.nn.Module) -> torch.nn.Module:
    """Larger random weights: differences between two computations show, and codes are not all alike."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    return model


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 3.5 seconds of espeak-ng's voice, 16 kHz."""
    voice = EspeakVoice("en-us", "m3", 50, 50, 160)
    samples = espeak().synthesize("The quick brown fox jumps over the lazy dog near the river bank.", voice).samples
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    audio.write(path, audio.resample(samples, espeak().sample_rate, 16_000), 16_000)
    return path


def command(*arguments: str | Path, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one of our commands in a process of its own."""
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        [str(BIN / str(arguments[0])), *map(str, arguments[1:])],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if check:
        assert done.returncode == 0, done.stderr[-3000:]
    return done


def noise(seconds: float, rate: int = 16_000) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


@pytest.fixture
def data_directory(tmp_path: Path) -> Path:
    """A Kaldi data directory of two short recordings each of three speakers."""
    utterances = []
    for speaker in ("ann", "bob", "cy"):
        for index in range(2):
            path = tmp_path / "wav" / f"{speaker}-{index}.wav"
            audio.write(path, noise(0.3), 16_000)
            utterances.append(kaldi.Utterance(f"{speaker}-{index}", path, "some words", speaker, duration=0.3))
    kaldi.write(tmp_path / "data", utterances)
    return tmp_path / "data"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spoken corpus of one training voice and nine held-out ones."""
    path = tmp_path_factory.mktemp("corpus")
    command("python", MINI_LOCAL / "spoken.py", path, "--voices", "1", "--utterances", "10")
    return path


@pytest.fixture(scope="session")
def tokens(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tokens, by the bundled codec."""
    path = tmp_path_factory.mktemp("tokens")
    for subset in ("train", "valid"):
        command("valle-tokenize", corpus / subset, path / subset, "--codec", "mini", "--shard-size", "3")
    return path


TINY_OPTIONS = {"layers": 2, "heads": 2, "dim": 32, "ffn_dim": 64, "dropout": 0.1, "warmup_steps": 2}


def train_arguments(kind: str, tokens: Path, root: Path, steps: int, *more: str) -> list[str]:
    """What `valle-train` is given for a tiny model."""
    sizes = [f"--model.init_args.{name}={value}" for name, value in TINY_OPTIONS.items()]
    return [
        "fit", "--model", f"valle.training.{kind}", *sizes, "--data", "valle.data.datamodule.TokensDataModule",
        f"--data.init_args.train=[{tokens / 'train'}]", f"--data.init_args.valid=[{tokens / 'valid'}]",
        "--data.init_args.max_duration=20", "--data.init_args.num_buckets=2", f"--trainer.default_root_dir={root}",
        f"--trainer.max_steps={steps}", "--trainer.accelerator=cpu", "--trainer.log_every_n_steps=1",
        "--trainer.enable_progress_bar=false", *more,
    ]  # fmt: skip


def train(
    kind: str, tokens: Path, root: Path, steps: int, *more: str, script: str | None = None
) -> subprocess.CompletedProcess[str]:
    """`valle-train fit` of a tiny model; `script`: Python to run in the command's place, with its arguments."""
    program = ["python", "-c", script] if script else ["valle-train"]
    return command(*program, *train_arguments(kind, tokens, root, steps, *more), check=script is None)


@pytest.fixture(scope="session")
def run_directory(tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of tiny AR and NAR models, hardly trained."""
    root = tmp_path_factory.mktemp("run")
    train("ARModule", tokens, root / "ar", 3)
    train(
        "NARModule", tokens, root / "nar", 3, "--trainer.val_check_interval=1", "--trainer.check_val_every_n_epoch=null"
    )
    return root


@pytest.fixture(scope="session")
def evaluated(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three held-out voices of the spoken corpus by the bundled model: list.tsv, wav/, and their scores in report/."""
    folder = tmp_path_factory.mktemp("evaluated")
    by_speaker: dict[str, list[kaldi.Utterance]] = {}
    for u in kaldi.read(corpus / "test_unseen"):
        by_speaker.setdefault(u.speaker, []).append(u)
    lines = ["id\tprompt\tprompt_text\ttext\treference\tspeaker"]
    for speaker, (prompt, u, *_) in list(by_speaker.items())[:3]:
        lines.append(f"{u.id}\t{prompt.path}\t{prompt.text}\t{u.text}\t{u.path}\t{speaker}")
    (folder / "list.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    evaluate(folder, "--model", "small", "--results", folder / "RESULTS.md", "--recipe", "egs/none")
    return folder


def evaluate(folder: Path, *more: object, output: str = "report") -> subprocess.CompletedProcess[str]:
    return command("valle-eval", folder / "list.tsv", folder / "wav", folder / output, "--title", "three", *more)

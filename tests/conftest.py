"""Small models, a generated corpus and helper functions that tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from tests.processes import run_forked
from valle import audio
from valle.data import kaldi
from valle.extensions.latent_regression import LatentRegressionNAR
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.nar import NAR, NARInputs
from valle.models.sequence import Padded

TINY = TransformerConfig(layers=2, heads=2, dim=32, ffn_dim=64, dropout=0.0)
# The models are so small that threads would mostly wait for one another. The second line is for commands.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")
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


@pytest.fixture(params=["valle", "latent_regression", "valle2"])
def nar(request: pytest.FixtureRequest) -> NAR:
    torch.manual_seed(0)
    if request.param != "latent_regression":
        return sharpen(NAR(12, TINY, codebook_size=50, layout=request.param)).eval()
    model = LatentRegressionNAR(12, TINY, codebook_size=50, layers=2, latent_dim=6)
    model.init_from_codebooks(torch.randn(8, 50, 6))
    # These are initialized with zeros.
    for layer in (model.correction, model.regression.out):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return sharpen(model).eval()


def random_ids(*shape: int, high: int = 12) -> torch.Tensor:
    """Return the same random ids, 1 to high - 1, for the same shape."""
    return torch.randint(1, high, shape, generator=torch.Generator().manual_seed(sum(shape)))


def nar_inputs(text: torch.Tensor, prompt: torch.Tensor, codes: torch.Tensor) -> NARInputs:
    """Make inputs of a NAR model of rows without padding."""
    parts = (text, prompt, codes)
    return NARInputs(*(Padded(part, torch.full((len(part),), part.shape[1])) for part in parts))


def sharpen(model: torch.nn.Module) -> torch.nn.Module:
    """Scale the random weights up, so that two computations differ visibly and the codes of a sequence vary."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    return model


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of about 3.5 seconds at 16 kHz, synthesized by espeak-ng."""
    voice = EspeakVoice("en-us", "m3", 50, 50, 160)
    samples = espeak().synthesize("The quick brown fox jumps over the lazy dog near the river bank.", voice).samples
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    audio.write(path, audio.resample(samples, espeak().sample_rate, 16_000), 16_000)
    return path


def command(
    *arguments: object, cwd: Path | None = None, check: bool = True, fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment in another process.

    Args:
        arguments: the command and its arguments.
        cwd: its current folder.
        check: assert that it succeeds.
        fresh: start a new interpreter, for tests of imports and of what differs between interpreters. Otherwise a
            console script or module of the package runs in a fork of a process that has imported its modules.
    """
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    line = [str(argument) for argument in arguments]
    of_package = line[0].startswith("valle-") or (line[:2] == ["python", "-m"] and line[2].startswith("valle."))
    if fresh or not of_package:
        done = subprocess.run(
            [str(BIN / line[0]), *line[1:]],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
    else:
        done = run_forked(line, cwd=cwd, environment=environment)
    if check:
        assert done.returncode == 0, done.stderr[-3000:]
    return done


def noise(seconds: float, rate: int = 16_000) -> np.ndarray:
    """(time,) float32 white noise, always the same."""
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


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Make a folder in the first worker of pytest-xdist that needs it, and share it with the others.

    Args:
        factory: pytest's factory of temporary paths.
        name: of the folder.
        make: writes the files into the folder.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with FileLock(base / f"{name}.lock"):
        if not (base / f"{name}.done").exists():
            (base / name).mkdir(exist_ok=True)
            make(base / name)
            (base / f"{name}.done").touch()
    return base / name


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of the recipe `mini` with one training voice and nine held-out ones."""

    def make(path: Path) -> None:
        command("python", MINI_LOCAL / "spoken.py", path, "--voices", "1", "--utterances", "10")

    return make_once(tmp_path_factory, "shared_corpus", make)


@pytest.fixture(scope="session")
def tokens(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens of the training and validation sets of `corpus`, encoded with the codec `mini`."""

    def make(path: Path) -> None:
        for subset in ("train", "valid"):
            command("valle-tokenize", corpus / subset, path / subset, "--codec", "mini", "--shard-size", "3")

    return make_once(tmp_path_factory, "shared_tokens", make)


TINY_OPTIONS = {
    "transformer.layers": 2,
    "transformer.heads": 2,
    "transformer.dim": 32,
    "transformer.ffn_dim": 64,
    "transformer.dropout": 0.1,
    "optimizer.warmup_steps": 2,
}


def train_arguments(kind: str, tokens: Path, root: Path, steps: int, *more: str) -> list[str]:
    """The arguments of `valle-train` for a tiny model."""
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
    """Train a tiny model with `valle-train fit`, or with a Python script that gets the same arguments."""
    arguments = train_arguments(kind, tokens, root, steps, *more)
    if script is None:
        return command("valle-train", *arguments)
    return run_forked(["python", "-c", script, *arguments])


@pytest.fixture(scope="session")
def run_directory(tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory of tiny AR and NAR models, trained for three steps."""

    def make(root: Path) -> None:
        options = ["--trainer.val_check_interval=1", "--trainer.check_val_every_n_epoch=null"]
        train("ARModule", tokens, root / "ar", 3)
        train("NARModule", tokens, root / "nar", 3, *options)

    return make_once(tmp_path_factory, "shared_run", make)


@pytest.fixture(scope="session")
def evaluated(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech of the bundled model in three held-out voices of `corpus`: list.tsv, wav/, and the scores in report/."""

    def make(folder: Path) -> None:
        by_speaker: dict[str, list[kaldi.Utterance]] = {}
        for u in kaldi.read(corpus / "test_unseen"):
            by_speaker.setdefault(u.speaker, []).append(u)
        lines = ["id\tprompt\tprompt_text\ttext\treference\tspeaker"]
        for speaker, (prompt, u, *_) in list(by_speaker.items())[:3]:
            lines.append(f"{u.id}\t{prompt.path}\t{prompt.text}\t{u.text}\t{u.path}\t{speaker}")
        (folder / "list.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        evaluate(folder, "--model", "small", "--results", folder / "RESULTS.md", "--recipe", "egs/none")

    return make_once(tmp_path_factory, "shared_evaluated", make)


def evaluate(folder: Path, *more: object, output: str = "report") -> subprocess.CompletedProcess[str]:
    """Score the speech in a folder with `valle-eval`."""
    return command("valle-eval", folder / "list.tsv", folder / "wav", folder / output, "--title", "three", *more)

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
from valle.data.spoken.espeak import EspeakVoice, espeak
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.transformer import TransformerConfig

TINY = TransformerConfig(layers=2, heads=2, dim=32, ffn_dim=64, dropout=0.0)
torch.set_num_threads(1)  # models are tiny: threads only wait for one another
BIN = Path(sys.executable).parent


@pytest.fixture
def ar() -> AR:
    torch.manual_seed(0)
    return sharpen(AR(12, TINY, codebook_size=50)).eval()


@pytest.fixture
def nar() -> NAR:
    torch.manual_seed(0)
    return sharpen(NAR(12, TINY, codebook_size=50)).eval()


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
    samples = espeak().speak("The quick brown fox jumps over the lazy dog near the river bank.", voice)
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    audio.write(path, audio.resample(samples, espeak().sample_rate, 16_000), 16_000)
    return path


def command(*arguments: str | Path, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one of our commands in a process of its own."""
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        [str(BIN / str(arguments[0])), *map(str, arguments[1:])], cwd=cwd, env=environment, capture_output=True, text=True
    )
    if check:
        assert done.returncode == 0, done.stderr[-3000:]
    return done


def noise(seconds: float, rate: int = 16_000) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)

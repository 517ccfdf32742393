"""EnCodec and Vocos, with random weights, and the import of their packages."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from valle import codec
from valle.codec import encodec, vocos
from valle.codec.encodec_package import EncodecModel, importable_torchaudio
from valle.errors import UserError


@pytest.mark.skipif(importlib.util.find_spec("torchaudio") is not None, reason="torchaudio is installed")
def test_no_stand_in_for_torchaudio_is_left_after_the_import() -> None:
    code = "import sys, valle.codec.encodec_package\nprint([m for m in sys.modules if m.startswith('torchaudio')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def torchaudio_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that `import torchaudio` imports."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "torchaudio"}
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "torchaudio.py"
    sys.modules.pop("torchaudio", None)
    sys.modules.update(before)


def test_torchaudio_that_loads_is_used(torchaudio_source: Path) -> None:
    torchaudio_source.write_text("is_installed = True\n", encoding="utf-8")
    with importable_torchaudio():
        assert importlib.import_module("torchaudio").is_installed


def test_torchaudio_that_does_not_load_is_replaced(torchaudio_source: Path) -> None:
    torchaudio_source.write_text("raise OSError('undefined symbol')\n", encoding="utf-8")
    with importable_torchaudio():
        spectrogram = importlib.import_module("torchaudio.transforms").Spectrogram(64, hop_length=16, win_length=64)
        assert spectrogram(torch.randn(1, 1, 640)).shape == (1, 1, 33, 37)
    assert "torchaudio" not in sys.modules


def write_random_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Write EnCodec's and Vocos's files with random weights; return Vocos's weights."""
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    torch.save(EncodecModel.encodec_model_24khz(pretrained=False).state_dict(), folder / encodec.WEIGHTS)
    with importable_torchaudio():
        from vocos.heads import ISTFTHead
        from vocos.models import VocosBackbone
    backbone = VocosBackbone(128, 384, 1152, 8, adanorm_num_embeddings=4)
    state = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    state |= {f"head.{name}": value for name, value in ISTFTHead(384, 1280, 320, "same").state_dict().items()}
    state["feature_extractor.codebook_weights"] = torch.randn(16 * 1024, 128)
    torch.save(state, folder / vocos.WEIGHTS)
    return state


def test_vocos_decodes_codes_of_encodec_as_its_package_does(tmp_path: Path) -> None:
    weights = write_random_weights(tmp_path)
    plain = codec.load("encodec_24khz", tmp_path)
    with_vocos = codec.load("encodec_24khz", tmp_path, "vocos")
    assert isinstance(with_vocos, encodec.EncodecCodec)
    codes = torch.randint(1024, (30, 8))
    assert plain.decode(codes).shape == with_vocos.decode(codes).shape == (30 * 320,)
    table = weights["feature_extractor.codebook_weights"]
    latent = torch.stack([table[1024 * j + codes[:, j]] for j in range(8)]).sum(0)
    decoder = with_vocos.decoder
    assert decoder is not None
    with torch.inference_mode():
        expected = decoder.head(decoder.backbone(latent.T[None], bandwidth_id=torch.tensor([2])))[0]
    np.testing.assert_allclose(with_vocos.decode(codes), expected.numpy(), atol=1e-5)
    assert not np.allclose(plain.decode(codes), with_vocos.decode(codes), atol=1e-3)


def test_vocos_without_weights_or_for_another_codec_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave --decoder out"):
        codec.load("encodec_24khz", tmp_path, "vocos")
    (tmp_path / vocos.WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(UserError, match="not Vocos's weights"):
        codec.load("encodec_24khz", tmp_path, "vocos")
    with pytest.raises(UserError, match="encodec_24khz"):
        codec.load("mini", decoder="vocos")

"""Vocos in the place of EnCodec's decoder, as in VALL-E 2 (section 4.1.1; Vocos: arXiv 2306.00814)."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from valle.codec.encodec_package import torchaudio_stand_in
from valle.codec.weights import find_weights
from valle.errors import UserError

WEIGHTS = "vocos-encodec-24khz.bin"  # that model's pytorch_model.bin
URL = "https://huggingface.co/charactr/vocos-encodec-24khz/resolve/main/pytorch_model.bin"
BANDWIDTH = 2  # of the four the model knows, 1.5, 3, 6 and 12 kbps: 6
CODEBOOK_SIZE = 1024


class VocosDecoder(nn.Module):
    """Codes (time, codebook) -> waveform (time * 320,) at 24 kHz."""

    codebooks: Tensor

    def __init__(self, weights: Path) -> None:
        super().__init__()
        try:
            with torchaudio_stand_in():
                from vocos.heads import ISTFTHead
                from vocos.models import VocosBackbone
        except ImportError as error:
            raise UserError(
                f"{error.name or 'vocos'} is not installed; the decoder needs the extra: pip install 'valle[vocos]'"
            ) from error
        self.backbone = VocosBackbone(
            input_channels=128, dim=384, intermediate_dim=1152, num_layers=8, adanorm_num_embeddings=4
        )
        self.head = ISTFTHead(dim=384, n_fft=1280, hop_length=320, padding="same")
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
            self.register_buffer("codebooks", state.pop("feature_extractor.codebook_weights"))
            parts = {name: value for name, value in state.items() if name.startswith(("backbone.", "head."))}
            self.load_state_dict({**parts, "codebooks": self.codebooks})
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, AttributeError) as error:
            raise UserError(f"{weights}: not Vocos's weights for EnCodec ({str(error).splitlines()[0]})") from error
        self.eval()

    def forward(self, codes: Tensor) -> Tensor:
        rows = codes + CODEBOOK_SIZE * torch.arange(codes.shape[1], device=codes.device)
        latent = self.codebooks[rows].sum(1).T[None]
        return self.head(self.backbone(latent, bandwidth_id=torch.tensor([BANDWIDTH], device=codes.device)))[0]


def load_vocos(codec_dir: Path | None) -> VocosDecoder:
    """Weights from `codec_dir`, else from torch's download cache, else downloaded to it. Raises UserError without."""
    return VocosDecoder(find_weights("decoder 'vocos'", WEIGHTS, URL, codec_dir, instead="leave --decoder out"))

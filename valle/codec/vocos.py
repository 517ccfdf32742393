"""Vocos in place of EnCodec's decoder, as in VALL-E 2 (section 4.1.1; Vocos: arXiv 2306.00814)."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from valle.codec.encodec_package import importable_torchaudio
from valle.codec.weights import find_weights
from valle.errors import UserError

# The model's pytorch_model.bin, under a name of its own.
WEIGHTS = "vocos-encodec-24khz.bin"
URL = "https://huggingface.co/charactr/vocos-encodec-24khz/resolve/main/pytorch_model.bin"
# Index of 6 kbps among the bandwidths that the model was trained for: 1.5, 3, 6 and 12 kbps.
BANDWIDTH = 2
CODEBOOK_SIZE = 1024


class VocosDecoder(nn.Module):
    """Vocos for EnCodec's codes at 24 kHz.

    Args:
        weights: The model's weights.

    Raises:
        UserError: The package `vocos` is not installed, or the file holds other weights.
    """

    codebooks: Tensor

    def __init__(self, weights: Path) -> None:
        super().__init__()
        try:
            with importable_torchaudio():
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
        """Decode codes (time, codebook) to samples (time * 320,)."""
        # The codebooks are stacked in one table.
        rows = codes + CODEBOOK_SIZE * torch.arange(codes.shape[1], device=codes.device)
        latent = self.codebooks[rows].sum(1).T[None]
        return self.head(self.backbone(latent, bandwidth_id=torch.tensor([BANDWIDTH], device=codes.device)))[0]


def load_vocos(codec_dir: Path | None) -> VocosDecoder:
    """Load Vocos from a folder, from torch's download cache, or by download.

    Args:
        codec_dir: Folder with the weights; None: the cache, and a download where they are not in it.

    Raises:
        UserError: Weights or the package are missing, or the weights are damaged.
    """
    return VocosDecoder(find_weights("decoder 'vocos'", WEIGHTS, URL, codec_dir, instead="leave --decoder out"))

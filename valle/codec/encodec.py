"""The pretrained EnCodec at 24 kHz and 6 kbps (arXiv 2210.13438), the codec of the papers."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from valle.codec.base import Codec, missing_weights
from valle.codec.encodec_package import EncodecModel
from valle.codec.quantizer import codebook_vectors
from valle.errors import UserError

WEIGHTS = "encodec_24khz-d7cc33bc.th"
URL = f"https://dl.fbaipublicfiles.com/encodec/v0/{WEIGHTS}"


class EncodecCodec(Codec):
    """EnCodec 24 kHz: 75 frames a second, 8 codebooks of 1024.

    weights: the package's own checkpoint file. Its LSTM remembers without a limit, so a file longer than a chunk is
    coded with five seconds of context: the same codes up to rare near-ties.
    """

    name = "encodec_24khz"
    sample_rate, hop, num_codebooks, codebook_size, context = 24_000, 320, 8, 1024, 375

    def __init__(self, weights: Path) -> None:
        self.model = EncodecModel.encodec_model_24khz(pretrained=False)
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state)
        except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
            raise UserError(f"{weights}: not EnCodec's 24 kHz weights ({str(error).splitlines()[0]})") from error
        self.model.set_target_bandwidth(6.0)
        self.model.eval()

    @property
    def codebooks(self) -> Tensor:
        return codebook_vectors(self.model.quantizer)[: self.num_codebooks]

    def _encode(self, waveforms: Tensor, frames: Tensor) -> Tensor:
        codes = torch.zeros(len(waveforms), waveforms.shape[1] // self.hop, self.num_codebooks, dtype=torch.long)
        for row, samples, length in zip(codes, waveforms, frames.tolist(), strict=True):
            if length > 0:
                ((coded, _),) = self.model.encode(samples[None, None, : length * self.hop])
                row[:length] = rearrange(coded, "1 q t -> t q")
        return codes

    def _decode(self, codes: Tensor, frames: Tensor) -> Tensor:
        samples = torch.zeros(len(codes), codes.shape[1] * self.hop)
        for row, item, length in zip(samples, codes, frames.tolist(), strict=True):
            if length > 0:
                decoded = self.model.decode([(rearrange(item[:length], "t q -> 1 q t"), None)])
                row[: length * self.hop] = decoded[0, 0, : length * self.hop]
        return samples


def load_encodec(codec_dir: Path | None) -> EncodecCodec:
    """From `codec_dir`, else from torch's download cache, else downloaded to it (said on standard error)."""
    if codec_dir is not None:
        if not (codec_dir / WEIGHTS).is_file():
            raise missing_weights("encodec_24khz", f"{codec_dir} (looked for {WEIGHTS})")
        return EncodecCodec(codec_dir / WEIGHTS)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS
    if not cached.is_file():
        print(f"downloading {URL} to {cached}", file=sys.stderr)
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL, str(cached), hash_prefix=WEIGHTS.split("-")[1].split(".")[0])
        except (OSError, RuntimeError) as error:
            raise missing_weights("encodec_24khz", f"{cached} and the download failed ({error})") from error
    return EncodecCodec(cached)

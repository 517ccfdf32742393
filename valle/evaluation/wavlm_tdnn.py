"""WavLM-TDNN, the speaker encoder that VALL-E's papers and most since measure SIM with.

A weighted sum of WavLM-large's layers (S. Chen et al., arXiv 2110.13900) under an ECAPA-TDNN (B. Desplanques et al.,
arXiv 2005.07143). Its weights are UniSpeech's `wavlm_large_finetune.pth`; nothing is downloaded.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from valle.errors import UserError
from valle.evaluation.recognizer import missing
from valle.evaluation.similarity import unit

LARGE = {  # transformers' names for the sizes of WavLM-large
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "feat_extract_norm": "layer", "do_stable_layer_norm": True, "layerdrop": 0.0,
}  # fmt: skip
RENAMED = (  # UniSpeech's names -> transformers' and ours
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.1\.", r"feature_extractor.conv_layers.\1.layer_norm."),
    (r"^wavlm\.layer_norm\.", "wavlm.feature_projection.layer_norm."),
    (r"post_extract_proj", "feature_projection.projection"),
    (r"encoder\.pos_conv\.0", "encoder.pos_conv_embed.conv"),
    (r"self_attn\.grep_linear", "attention.gru_rel_pos_linear"),
    (r"self_attn\.grep_a", "attention.gru_rel_pos_const"),
    (r"self_attn\.relative_attention_bias", "attention.rel_attn_embed"),
    (r"self_attn_layer_norm", "layer_norm"),
    (r"self_attn\.", "attention."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
    (r"wavlm\.mask_emb", "wavlm.masked_spec_embed"),
    (r"Res2Conv1dReluBn", "branches"),
    (r"Conv1dReluBn1", "first"),
    (r"Conv1dReluBn2", "last"),
    (r"SE_Connect\.linear", "gate"),
)


class _Conv(nn.Module):
    """Convolution, ReLU, batch norm: (batch, channels, time)."""

    def __init__(self, channels_in: int, channels: int, width: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels, width, padding=width // 2)
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(F.relu(self.conv(x)))


class _Branches(nn.Module):
    """Res2Net: each eighth of the channels is convolved with the one before added to it; the last stays as it is."""

    def __init__(self, channels: int, dilation: int, scale: int = 8) -> None:
        super().__init__()
        width = channels // scale
        convs = [nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation) for _ in range(scale - 1)]
        self.convs, self.bns = nn.ModuleList(convs), nn.ModuleList(nn.BatchNorm1d(width) for _ in convs)

    def forward(self, x: Tensor) -> Tensor:
        *parts, rest = x.chunk(len(self.convs) + 1, dim=1)
        done: list[Tensor] = []
        for part, conv, norm in zip(parts, self.convs, self.bns, strict=True):
            done.append(norm(F.relu(conv(part + done[-1] if done else part))))
        return torch.cat((*done, rest), dim=1)


class _Block(nn.Module):
    """SE-Res2Block: what is said everywhere gates each channel."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first, self.last = _Conv(channels, channels), _Conv(channels, channels)
        self.branches = _Branches(channels, dilation)
        self.gate1, self.gate2 = nn.Linear(channels, 128), nn.Linear(128, channels)

    def forward(self, x: Tensor) -> Tensor:
        found = self.last(self.branches(self.first(x)))
        gate = torch.sigmoid(self.gate2(F.relu(self.gate1(found.mean(dim=2)))))
        return x + found * gate[..., None]


class _Pooling(nn.Module):
    """Attentive statistics: mean and deviation over time, weighted by attention of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Conv1d(channels, 128, 1), nn.Conv1d(128, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.softmax(self.linear2(torch.tanh(self.linear1(x))), dim=2)
        mean = (weight * x).sum(dim=2)
        deviation = ((weight * x.square()).sum(dim=2) - mean.square()).clamp(min=1e-9).sqrt()
        return torch.cat((mean, deviation), dim=1)


class WavLMTDNN(nn.Module):
    """(batch, time) samples at 16 kHz -> (batch, 256). `sizes`: of the WavLM, `LARGE` but for tests."""

    def __init__(self, sizes: dict[str, Any] | None = None, channels: int = 512, pooled: int = 1536) -> None:
        super().__init__()
        try:
            from transformers import WavLMConfig, WavLMModel
        except ImportError as error:
            raise missing("transformers", "transformers") from error
        config = WavLMConfig(**(sizes or LARGE))
        self.wavlm = WavLMModel(config)
        self.feature_weight = nn.Parameter(torch.zeros(config.num_hidden_layers + 1))
        self.layer1 = _Conv(config.hidden_size, channels, 5)
        self.layer2, self.layer3, self.layer4 = (_Block(channels, dilation) for dilation in (2, 3, 4))
        self.conv = nn.Conv1d(3 * channels, pooled, 1)
        self.pooling = _Pooling(pooled)
        self.bn, self.linear = nn.BatchNorm1d(2 * pooled), nn.Linear(2 * pooled, 256)

    def forward(self, samples: Tensor) -> Tensor:
        samples = F.layer_norm(samples, samples.shape[-1:])
        found = self.wavlm(samples, output_hidden_states=True)
        # what went into each layer, and what came out of all after the last norm
        layers = torch.stack((*found.hidden_states[:-1], found.last_hidden_state))
        features = torch.einsum("l,lbtd->bdt", self.feature_weight.softmax(0), layers)
        frames = self.layer1(F.instance_norm(features + 1e-6))
        blocks: list[Tensor] = []
        for block in (self.layer2, self.layer3, self.layer4):
            blocks.append(block(blocks[-1] if blocks else frames))
        return self.linear(self.bn(self.pooling(F.relu(self.conv(torch.cat(blocks, dim=1))))))

    def load(self, state: dict[str, Tensor]) -> None:
        """Take UniSpeech's weights. Raises RuntimeError where one is missing or has another shape."""
        renamed = {}
        for name, value in state.items():
            name = name.replace("feature_extract.model.", "wavlm.")
            for pattern, new in RENAMED:
                name = re.sub(pattern, new, name)
            renamed[name] = value
        own = self.state_dict()
        if "wavlm.encoder.pos_conv_embed.conv.parametrizations.weight.original0" in own:
            for index, part in enumerate("gv"):  # torch's newer weight norm
                old = renamed.pop(f"wavlm.encoder.pos_conv_embed.conv.weight_{part}", None)
                if old is not None:
                    renamed[f"wavlm.encoder.pos_conv_embed.conv.parametrizations.weight.original{index}"] = old
        absent = [name for name in own if name not in renamed and not name.endswith("num_batches_tracked")]
        if absent:
            raise RuntimeError(f"it holds no {absent[0]}")
        self.load_state_dict({name: value for name, value in renamed.items() if name in own}, strict=False)


class WavLMTDNNEncoder:
    """`WavLMTDNN` with the weights of a file."""

    def __init__(self, path: Path) -> None:
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            self._model = WavLMTDNN().eval()
            self._model.load(checkpoint["model"])
        except (RuntimeError, KeyError, EOFError, OSError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0][:160]
            raise UserError(
                f"{path}: not the weights of WavLM-TDNN ({reason}); give wavlm_large_finetune.pth"
            ) from error

    @torch.inference_mode()
    def embed(self, samples: np.ndarray) -> np.ndarray:
        """(time,) samples at 16 kHz -> an embedding of length 1."""
        return unit(self._model(torch.from_numpy(np.asarray(samples, np.float32))[None])[0].numpy())

"""WavLM-TDNN, the speaker encoder with which the VALL-E papers measure SIM.

A weighted sum of the layers of WavLM-large (S. Chen et al., arXiv 2110.13900) is the input of an ECAPA-TDNN
(B. Desplanques et al., arXiv 2005.07143). The weights are UniSpeech's `wavlm_large_finetune.pth`, given as a file;
nothing is downloaded.
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
from valle.evaluation.embeddings import normalize
from valle.optional import require

# Sizes of WavLM-large, by their names in transformers.WavLMConfig.
LARGE = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "feat_extract_norm": "layer", "do_stable_layer_norm": True, "layerdrop": 0.0,
}  # fmt: skip
# Patterns of UniSpeech's parameter names, and the names in transformers and in this module.
RENAMED = (
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
    """Convolution, ReLU and batch normalization of (batch, channels, time)."""

    def __init__(self, channels_in: int, channels: int, width: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels, width, padding=width // 2)
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(F.relu(self.conv(x)))


class _Branches(nn.Module):
    """Res2Net convolution: to each group of channels the output of the group before is added before its convolution.

    The last of the `scale` groups is passed through unchanged.
    """

    def __init__(self, channels: int, dilation: int, scale: int = 8) -> None:
        super().__init__()
        width = channels // scale
        convs = [nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation) for _ in range(scale - 1)]
        self.convs = nn.ModuleList(convs)
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in convs)

    def forward(self, x: Tensor) -> Tensor:
        *groups, last = x.chunk(len(self.convs) + 1, dim=1)
        outputs: list[Tensor] = []
        for group, conv, norm in zip(groups, self.convs, self.bns, strict=True):
            outputs.append(norm(F.relu(conv(group + outputs[-1] if outputs else group))))
        return torch.cat((*outputs, last), dim=1)


class _Block(nn.Module):
    """SE-Res2Block: a residual block whose channels are scaled by a gate computed from their mean over time."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = _Conv(channels, channels)
        self.last = _Conv(channels, channels)
        self.branches = _Branches(channels, dilation)
        self.gate1 = nn.Linear(channels, 128)
        self.gate2 = nn.Linear(128, channels)

    def forward(self, x: Tensor) -> Tensor:
        output = self.last(self.branches(self.first(x)))
        gate = torch.sigmoid(self.gate2(F.relu(self.gate1(output.mean(dim=2)))))
        return x + output * gate[..., None]


class _Pooling(nn.Module):
    """Attentive statistics pooling: weighted mean and standard deviation over time, with one weight per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1 = nn.Conv1d(channels, 128, 1)
        self.linear2 = nn.Conv1d(128, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.softmax(self.linear2(torch.tanh(self.linear1(x))), dim=2)
        mean = (weight * x).sum(dim=2)
        deviation = ((weight * x.square()).sum(dim=2) - mean.square()).clamp(min=1e-9).sqrt()
        return torch.cat((mean, deviation), dim=1)


class WavLMTDNN(nn.Module):
    """Speaker embedding network.

    Args:
        sizes: Sizes of WavLM; None: `LARGE`.
        channels: Channels of the TDNN.
        pooled: Channels of the pooling layer.
    """

    def __init__(self, sizes: dict[str, Any] | None = None, channels: int = 512, pooled: int = 1536) -> None:
        super().__init__()
        transformers: Any = require("transformers", "transformers")
        config = transformers.WavLMConfig(**(sizes or LARGE))
        self.wavlm = transformers.WavLMModel(config)
        self.feature_weight = nn.Parameter(torch.zeros(config.num_hidden_layers + 1))
        self.layer1 = _Conv(config.hidden_size, channels, 5)
        self.layer2, self.layer3, self.layer4 = (_Block(channels, dilation) for dilation in (2, 3, 4))
        self.conv = nn.Conv1d(3 * channels, pooled, 1)
        self.pooling = _Pooling(pooled)
        self.bn = nn.BatchNorm1d(2 * pooled)
        self.linear = nn.Linear(2 * pooled, 256)

    def forward(self, samples: Tensor) -> Tensor:
        """Embed waveforms.

        Args:
            samples: (batch, time) samples at 16 kHz.

        Returns:
            (batch, 256) embeddings, not normalized.
        """
        samples = F.layer_norm(samples, samples.shape[-1:])
        output = self.wavlm(samples, output_hidden_states=True)
        # UniSpeech sums the input of every layer and the output of the last one after the final normalization.
        layers = torch.stack((*output.hidden_states[:-1], output.last_hidden_state))
        features = torch.einsum("l,lbtd->bdt", self.feature_weight.softmax(0), layers)
        frames = self.layer1(F.instance_norm(features + 1e-6))
        blocks: list[Tensor] = []
        for block in (self.layer2, self.layer3, self.layer4):
            blocks.append(block(blocks[-1] if blocks else frames))
        return self.linear(self.bn(self.pooling(F.relu(self.conv(torch.cat(blocks, dim=1))))))

    def load(self, state: dict[str, Tensor]) -> None:
        """Load the weights of UniSpeech's checkpoint.

        Args:
            state: Weights by UniSpeech's names.

        Raises:
            RuntimeError: A weight is missing or has another shape.
        """
        renamed = {}
        for name, value in state.items():
            name = name.replace("feature_extract.model.", "wavlm.")
            for pattern, new in RENAMED:
                name = re.sub(pattern, new, name)
            renamed[name] = value
        own = self.state_dict()
        if "wavlm.encoder.pos_conv_embed.conv.parametrizations.weight.original0" in own:
            # Newer versions of torch store the two parts of weight normalization by other names.
            for index, part in enumerate("gv"):
                old = renamed.pop(f"wavlm.encoder.pos_conv_embed.conv.weight_{part}", None)
                if old is not None:
                    renamed[f"wavlm.encoder.pos_conv_embed.conv.parametrizations.weight.original{index}"] = old
        missing = [name for name in own if name not in renamed and not name.endswith("num_batches_tracked")]
        if missing:
            raise RuntimeError(f"{missing[0]} is missing")
        self.load_state_dict({name: value for name, value in renamed.items() if name in own}, strict=False)


class WavLMTDNNEncoder:
    """`WavLMTDNN` with the weights of a file, as a `SpeakerEncoder`.

    Args:
        path: UniSpeech's `wavlm_large_finetune.pth`.

    Raises:
        UserError: The file is not such a checkpoint.
    """

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
        """Embed the speaker of (time,) samples at 16 kHz; returns a vector of length 1."""
        return normalize(self._model(torch.from_numpy(np.asarray(samples, np.float32))[None])[0].numpy())

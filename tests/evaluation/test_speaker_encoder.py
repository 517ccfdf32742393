"""Speaker encoders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import noise
from valle.evaluation.speaker_encoder import load_encoder
from valle.evaluation.wavlm_tdnn import LARGE, WavLMTDNN


def test_x_vector_model_of_transformers_gives_unit_embeddings(tmp_path: Path) -> None:
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    narrow = {"tdnn_dim": (8, 8, 8, 8, 24), "xvector_output_dim": 12, "num_conv_pos_embeddings": 4}
    WavLMForXVector(WavLMConfig(conv_dim=(8,) * 7, **sizes, **narrow)).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    embedding = load_encoder(str(tmp_path)).embed(noise(1.0))
    assert embedding.shape == (12,)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)


def test_resemblyzer_is_imported_without_a_warning() -> None:
    script = "from valle.evaluation.speaker_encoder import load_encoder; load_encoder()"
    done = subprocess.run([sys.executable, "-W", "default", "-c", script], capture_output=True, text=True, check=True)
    assert "pkg_resources" not in done.stderr


UNISPEECH = {  # names in wavlm_large_finetune.pth -> ours
    "feature_weight": "feature_weight",
    "layer1.conv.bias": "layer1.conv.bias",
    "layer2.Conv1dReluBn1.bn.weight": "layer2.first.bn.weight",
    "layer2.Res2Conv1dReluBn.convs.6.weight": "layer2.branches.convs.6.weight",
    "layer3.Res2Conv1dReluBn.bns.0.running_var": "layer3.branches.bns.0.running_var",
    "layer4.Conv1dReluBn2.conv.weight": "layer4.last.conv.weight",
    "layer4.SE_Connect.linear2.bias": "layer4.gate2.bias",
    "pooling.linear1.weight": "pooling.linear1.weight",
    "linear.weight": "linear.weight",
    **{
        f"feature_extract.model.{theirs}": f"wavlm.{ours}"
        for theirs, ours in {
            "mask_emb": "masked_spec_embed",
            "feature_extractor.conv_layers.3.0.weight": "feature_extractor.conv_layers.3.conv.weight",
            "feature_extractor.conv_layers.3.2.1.bias": "feature_extractor.conv_layers.3.layer_norm.bias",
            "layer_norm.weight": "feature_projection.layer_norm.weight",
            "post_extract_proj.bias": "feature_projection.projection.bias",
            "encoder.layer_norm.weight": "encoder.layer_norm.weight",
            "encoder.pos_conv.0.bias": "encoder.pos_conv_embed.conv.bias",
            "encoder.layers.1.self_attn.grep_a": "encoder.layers.1.attention.gru_rel_pos_const",
            "encoder.layers.1.self_attn.grep_linear.weight": "encoder.layers.1.attention.gru_rel_pos_linear.weight",
            "encoder.layers.1.self_attn.out_proj.weight": "encoder.layers.1.attention.out_proj.weight",
            "encoder.layers.1.self_attn_layer_norm.bias": "encoder.layers.1.layer_norm.bias",
            "encoder.layers.0.fc1.weight": "encoder.layers.0.feed_forward.intermediate_dense.weight",
            "encoder.layers.0.fc2.bias": "encoder.layers.0.feed_forward.output_dense.bias",
            "encoder.layers.0.final_layer_norm.weight": "encoder.layers.0.final_layer_norm.weight",
        }.items()
    },
}


UNISPEECH["feature_extract.model.encoder.layers.0.self_attn.relative_attention_bias.weight"] = (
    "wavlm.encoder.layers.0.attention.rel_attn_embed.weight"
)


def test_wavlm_tdnn_loads_unispeech_weights() -> None:
    sizes = LARGE | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    one, two = (WavLMTDNN(sizes | {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16}, 16, 24).eval() for _ in "ab")
    theirs = {ours: name for name, ours in UNISPEECH.items()}
    state = {theirs.get(name, name): value + 0.1 for name, value in one.state_dict().items()}
    assert set(UNISPEECH) <= set(state), set(UNISPEECH) - set(state)
    two.load(state | {"loss_calculator.projection.weight": torch.zeros(1)})
    for name, value in one.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(two.state_dict()[name], value + 0.1), name
    with torch.inference_mode():
        assert two(torch.randn(3, 8_000)).shape == (3, 256)
    del state["layer2.Res2Conv1dReluBn.convs.6.weight"]
    with pytest.raises(RuntimeError, match=r"layer2\.branches\.convs\.6"):
        two.load(state)

"""Speech recognizers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import noise
from valle import audio
from valle.errors import UserError
from valle.evaluation.recognizer import load_recognizer
from valle.evaluation.speaker_encoder import load_encoder


@pytest.mark.parametrize("masked", [False, True])
def test_ctc_model_of_transformers_decodes_greedily(tmp_path: Path, masked: bool) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC
    from transformers import Wav2Vec2Processor as Processor

    letters = ["<pad>", "|", *"abcdefgh"]
    (tmp_path / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), unk_token="<pad>", pad_token="<pad>")
    Processor(Wav2Vec2FeatureExtractor(return_attention_mask=masked), tokenizer).save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    norm = {"feat_extract_norm": "layer", "do_stable_layer_norm": True} if masked else {}
    config = Wav2Vec2Config(vocab_size=len(letters), conv_dim=(8,) * 7, num_conv_pos_embeddings=4, **sizes, **norm)
    model = Wav2Vec2ForCTC(config).eval()
    model.save_pretrained(tmp_path)

    recordings = [noise(0.5), noise(0.8), noise(0.3)]
    recognizer = load_recognizer(str(tmp_path))
    transcripts = recognizer.transcribe(recordings)
    assert any(transcripts)
    assert recognizer.transcribe([]) == []
    # The expected transcript: recordings one by one, from the most probable letter of each frame.
    for samples, transcript in zip(recordings, transcripts, strict=True):
        values = torch.from_numpy((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7))
        best = model(values[None].float()).logits.argmax(-1)[0].tolist()
        spelled = "".join(letters[c] for i, c in enumerate(best) if c and (i == 0 or c != best[i - 1]))
        assert transcript == " ".join(spelled.replace("|", " ").split())


def save_band_transducer(folder: Path) -> None:
    """Save a transducer as NeMo exports it, which recognizes "low" and "high" frequencies.

    The encoder passes the features on. The joint network adds the difference of the two halves of the bands to the
    logits, and excludes the previous token.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, shape: list[object], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    def constant(name: str, values: object) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(values, np.float32), name)

    def save(name: str, *graph: object) -> None:
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(helper.make_graph(*graph), opset_imports=opset, ir_version=8), folder / name)  # type: ignore[arg-type]

    length = ["batch"]
    save(
        "encoder-model.onnx",
        [
            helper.make_node("Identity", ["audio_signal"], ["outputs"]),
            helper.make_node("Identity", ["length"], ["encoded_lengths"]),
        ],
        "encoder",
        [value("audio_signal", ["batch", 80, "time"]), value("length", length, TensorProto.INT64)],
        [value("outputs", ["batch", 80, "time"]), value("encoded_lengths", length, TensorProto.INT64)],
    )
    states = [f"{kind}_states_{number}" for kind in ("input", "output") for number in (1, 2)]
    save(
        "decoder_joint-model.onnx",
        [
            helper.make_node("Mul", ["encoder_outputs", "bands"], ["weighted"]),
            helper.make_node("ReduceSum", ["weighted"], ["difference"], keepdims=0),
            helper.make_node("Mul", ["difference", "signs"], ["scores"]),
            helper.make_node("Gather", ["transitions", "targets"], ["allowed"]),
            helper.make_node("Add", ["allowed", "scores"], ["outputs"]),
            helper.make_node("Identity", [states[0]], [states[2]]),
            helper.make_node("Identity", [states[1]], [states[3]]),
        ],
        "decoder_joint",
        [
            value("encoder_outputs", [1, 80, 1]),
            value("targets", [1, 1], TensorProto.INT64),
            value("target_length", [1], TensorProto.INT64),
            *(value(name, [1, 1, 1]) for name in states[:2]),
        ],
        [value("outputs", [1, 1, 3]), *(value(name, [1, 1, 1]) for name in states[2:])],
        [
            constant("bands", [[[1 / 40]] * 40 + [[-1 / 40]] * 40]),
            constant("signs", [1, -1, 0]),
            # Rows: the previous token is "low", "high", or there is none.
            constant("transitions", [[-99, 0, 0.5], [0, -99, 0.5], [0, 0, 0.5]]),
        ],
    )
    (folder / "vocab.txt").write_text("\u2581low 0\n\u2581high 1\n<blk> 2\n", encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "nemo-conformer-rnnt", "features_size": 80}')


def test_onnx_transducer_is_decoded_by_onnx_asr(tmp_path: Path) -> None:
    save_band_transducer(tmp_path)
    # Noise with most energy at low and at high frequencies.
    low, high = (0.1 * samples / samples.std() for samples in (np.cumsum(noise(0.5)), np.diff(noise(0.5))))
    recordings = [np.concatenate(parts) for parts in ((low, high), (high, low), (low, high, low, high))]
    recognizer = load_recognizer(str(tmp_path))
    assert recognizer.transcribe(recordings) == ["low high", "high low", "low high low high"]
    assert recognizer.transcribe([]) == []


def test_onnx_folder_that_onnx_asr_cannot_load_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_band_transducer(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config\.json: names no model_type; give one of onnx-asr"):
        load_recognizer(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "other"}')
    with pytest.raises(UserError, match=r"cannot be loaded .*other.*folder with an ONNX model for onnx-asr"):
        load_recognizer(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "nemo-conformer-rnnt"}')
    (tmp_path / "encoder-model.onnx").write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_recognizer(str(tmp_path))
    # As if it were not installed.
    monkeypatch.setitem(sys.modules, "onnx_asr", None)
    with pytest.raises(UserError, match=r"onnx_asr is not installed; install it with: pip install 'valle\[onnx\]'"):
        load_recognizer(str(tmp_path))


def test_pocketsphinx_recognizes_words_of_speech_only(speech: Path) -> None:
    recognizer = load_recognizer("pocketsphinx")
    silence = np.zeros(16_000, np.float32)
    samples = audio.read(speech, 16_000).samples
    transcript, of_silence = recognizer.transcribe([samples, silence])
    # Its WER of espeak-ng's voice is high, but it gets some words of the sentence right.
    assert {"lazy", "the"} <= set(transcript.split())
    assert not {"lazy", "the"} & set(of_silence.split())


def test_scoring_model_that_cannot_be_loaded_is_a_user_error(tmp_path: Path) -> None:
    for load in (load_recognizer, load_encoder):
        with pytest.raises(UserError, match="cannot be loaded"):
            load(str(tmp_path))
    (tmp_path / "other.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"other\.pth: not the weights of WavLM-TDNN"):
        load_encoder(str(tmp_path / "other.pth"))

"""Speech recognizers."""

from __future__ import annotations

import json
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

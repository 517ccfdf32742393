"""Codecs each of whose first codes stands for a phone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from lhotse import CutSet

from tests.conftest import command
from valle import audio, codec
from valle.codec import base
from valle.codec.encodec_package import ResidualVectorQuantizer
from valle.codec.folder import make_codec, save_codec
from valle.codec.networks import build_network
from valle.codec.phone_labelled import PHONE_MISMATCH_COST, PhoneLabelledCodec, quantize_with_phones
from valle.codec.quantizer import build_quantizer, codebook_vectors, quantize
from valle.data import kaldi
from valle.data.phoneme_timing import PhoneAlignment
from valle.text.phones import UNKNOWN

SIZES = {"kind": "frame_rate", "encoder_dim": 16, "decoder_dim": 16, "codebook_size": 16, "latent_dim": 8}


@pytest.fixture
def quantizer() -> ResidualVectorQuantizer:
    """Random codebooks; the sixteen entries of the first stand for sixteen phones."""
    torch.manual_seed(0)
    quantizer = build_quantizer(latent_dim=8, num_codebooks=8, codebook_size=16, dead_code_threshold=0.25).eval()
    for layer in quantizer.vq.layers:
        layer._codebook.inited.fill_(1)
        layer._codebook.embed.normal_(std=0.3)
    quantizer.get_buffer("phones").copy_(torch.arange(16))
    return quantizer


def nearest(latent: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    return torch.cdist(latent, vectors.expand(len(latent), -1, -1)).argmin(-1)


def test_first_codes_match_the_phone_unless_another_is_much_nearer(quantizer: ResidualVectorQuantizer) -> None:
    latent = torch.nn.functional.layer_norm(torch.randn(2, 30, 8), (8,))
    plain = quantize(quantizer, latent)
    phones = torch.randint(16, (2, 30))
    phones[0, 10:20] = UNKNOWN
    codes = quantize_with_phones(quantizer, latent, phones)
    vectors = codebook_vectors(quantizer)
    for row, time in np.ndindex(2, 30):
        distance = (latent[row, time] - vectors[0]).square().sum(-1)
        allowed = {int(p) for p in phones[row, max(0, time - 1) : time + 2]} - {UNKNOWN}
        if phones[row, time] == UNKNOWN:
            assert codes[row, time, 0] == distance.argmin()
            continue
        costs = [float(d) + (0 if code in allowed else PHONE_MISMATCH_COST * 8) for code, d in enumerate(distance)]
        assert codes[row, time, 0] == int(np.argmin(costs))
    assert torch.equal(codes[0, 11:19], plain[0, 11:19])
    assert not torch.equal(codes, plain)


def test_later_codebooks_quantize_the_remainder(quantizer: ResidualVectorQuantizer) -> None:
    latent = torch.nn.functional.layer_norm(torch.randn(2, 30, 8), (8,))
    codes = quantize_with_phones(quantizer, latent, torch.randint(16, (2, 30)))
    vectors = codebook_vectors(quantizer)
    remainder = latent - vectors[0][codes[..., 0]]
    for codebook in range(1, 8):
        assert torch.equal(codes[..., codebook], nearest(remainder, vectors[codebook]))
        remainder = remainder - vectors[codebook][codes[..., codebook]]


def test_missing_phones_or_labels_give_plain_codes(quantizer: ResidualVectorQuantizer) -> None:
    latent = torch.nn.functional.layer_norm(torch.randn(2, 30, 8), (8,))
    plain = quantize(quantizer, latent)
    assert torch.equal(quantize_with_phones(quantizer, latent, torch.full((2, 30), UNKNOWN)), plain)
    quantizer.get_buffer("phones").fill_(UNKNOWN)
    assert torch.equal(quantize_with_phones(quantizer, latent, torch.randint(16, (2, 30))), plain)


def test_labels_are_stored_in_the_codec_folder(tmp_path: Path) -> None:
    network = build_network(SIZES)
    assert not isinstance(make_codec("x", network), PhoneLabelledCodec)
    network.quantizer.get_buffer("phones").copy_(torch.arange(16))
    save_codec(network, SIZES, tmp_path, {})
    labelled = codec.load(tmp_path)
    assert isinstance(labelled, PhoneLabelledCodec)
    assert torch.equal(labelled.phones, torch.arange(16))
    assert isinstance(codec.load("small"), PhoneLabelledCodec)
    assert not isinstance(codec.load("mini"), PhoneLabelledCodec)


def test_phones_of_batches_and_chunks_give_the_codes_of_single_items(
    speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = codec.load("small")
    assert isinstance(small, PhoneLabelledCodec)
    samples = audio.read(speech, 16_000).samples
    items = [samples, samples[4000:20_000]]
    phones = [np.random.default_rng(0).integers(40, size=small.num_frames(len(item))) for item in items]
    batch = small.encode_with_phones(items, 16_000, phones)
    assert not torch.equal(batch[0], small.encode(items[0], 16_000))
    monkeypatch.setattr(base, "CHUNK_FRAMES", 50)
    for item, classes, codes in zip(items, phones, batch, strict=True):
        assert torch.equal(small.encode_with_phones([item], 16_000, [classes])[0], codes)


def test_first_codes_of_aligned_utterances_match_their_phones(corpus: Path, tmp_path: Path) -> None:
    small = codec.load("small")
    assert isinstance(small, PhoneLabelledCodec)
    (tmp_path / "unaligned").mkdir()
    for file in ("wav.scp", "text", "utt2spk", "spk2utt"):
        shutil.copy(corpus / "valid" / file, tmp_path / "unaligned")
    utterances = {u.id: u for u in kaldi.read(corpus / "valid")}
    shares = {}
    for name, data in (("aligned", corpus / "valid"), ("unaligned", tmp_path / "unaligned")):
        command("valle-tokenize", data, tmp_path / name / "tokens", "--codec", "small")
        folder = str(tmp_path / name / "tokens" / "{}.000000.{}")
        fields = {"cuts": [folder.format("cuts", "jsonl.gz")], "codes": [folder.format("codes", "tar")]}
        correct = []
        for cut in CutSet.from_shar(fields=fields):
            codes = torch.from_numpy(cut.load_custom("codes")).long()
            samples = audio.read(utterances[cut.id].path, 16_000).samples
            if name == "unaligned":
                assert torch.equal(codes, small.encode(samples, 16_000))
            aligned = PhoneAlignment(utterances[cut.id].phones).classes_at((np.arange(len(codes)) + 0.5) / 50)
            correct.append((small.phones[codes[:, 0]].numpy() == aligned)[aligned != UNKNOWN].mean())
        shares[name] = np.mean(correct)
    assert shares["aligned"] > 0.8
    # The alignment corrects at least a fifth of the first codes that stand for another phone.
    assert 1 - shares["aligned"] < 0.8 * (1 - shares["unaligned"])

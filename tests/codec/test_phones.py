"""Phones: one set of classes for many tables, when they are spoken, and a codec whose first codebook tells them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from lhotse import CutSet

from tests.conftest import command
from valle import audio, codec
from valle.codec.quantizer import OTHER_PHONE, codebook_vectors, quantize
from valle.codec.trained import TrainedCodec, export
from valle.data import kaldi
from valle.data.phoneme_timing import PhoneAlignment
from valle.errors import UserError
from valle.text import phonemize
from valle.text.phones import ARPABET, PHONE_CLASSES, UNKNOWN, phone_class
from valle.training.codec import CodecModule

SIZES = {"kind": "frame_rate", "encoder_dim": 16, "decoder_dim": 16, "codebook_size": 16, "latent_dim": 8}


def test_every_phone_of_english_has_a_class() -> None:
    texts = [
        "The quick brown fox jumps over a lazy dog near the river.",
        "Air, fear, poor, car, four, fire, hour, idea.",
        "A little button, a bottle, uh oh, pleasure, joy, church, thing, this, eight go.",
    ]
    found = {symbol for symbols in phonemize(texts) for symbol in symbols} - set(" ,.ˈˌ")
    assert {phone: phone_class(phone) for phone in found if phone_class(phone) == UNKNOWN} == {}
    assert {phone_class(phone) for phone in ARPABET.values()} == set(range(len(PHONE_CLASSES)))
    assert phone_class("ɑːɹ") == phone_class("ɑː") == PHONE_CLASSES.index("ɑː")
    assert phone_class("ˈɔːɹ") == PHONE_CLASSES.index("ɔː")
    assert phone_class("ʁ") == UNKNOWN


def test_the_phone_loss_reaches_the_encoder_through_the_first_codebook_alone() -> None:
    torch.manual_seed(0)
    module = CodecModule(SIZES, quantize_start=0, phone_loss=1.0)
    for layer in module.network.quantizer.vq.layers:
        layer._codebook.inited.fill_(1)
        layer._codebook.embed.normal_()
    sound, phones = torch.randn(2, 6400) * 0.1, torch.randint(len(PHONE_CLASSES), (2, 20))
    module.hparams["commitment"] = 0.0
    _, inner, parts = module.train()._reconstruct(sound, phones, 8)
    torch.testing.assert_close(inner, parts["phone"])
    inner.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.network.encoder.head.parameters())
    module.eval()
    loss = module._reconstruct(sound, phones, 8)[2]["phone"]
    for layer in module.network.quantizer.vq.layers[1:]:
        layer._codebook.embed.normal_()
    torch.testing.assert_close(module._reconstruct(sound, phones, 8)[2]["phone"], loss)
    silent = torch.full_like(phones, UNKNOWN)
    assert "phone" not in module._reconstruct(sound, silent, 8)[2]


def test_training_a_codec_goes_on_from_the_bundled_one(speech: Path) -> None:
    mini = codec.load("mini")
    module = CodecModule({"kind": "frame_rate"}, quantize_start=0)
    module.start_from(mini)
    sound = audio.read(speech, 16_000).samples
    frames = len(sound) // 320 * 320
    latent = module.network.encode_latent(torch.from_numpy(sound[None, :frames]))
    codes = module.network.quantizer.vq.encode(latent.transpose(1, 2))[:, 0].T
    assert torch.equal(codes[:-8], mini.encode(sound[:frames], 16_000)[:-8])
    module.train()
    before = codebook_vectors(module.network.quantizer).clone()
    module._reconstruct(torch.from_numpy(sound[None, :32_000]), torch.full((1, 100), UNKNOWN), 8)
    moved = (codebook_vectors(module.network.quantizer) - before).norm() / before.norm()
    assert 0 < moved < 0.1  # the moving averages were there: one step does not throw a codebook over
    with pytest.raises(UserError, match="other sizes"):
        CodecModule(SIZES, quantize_start=0).start_from(mini)


def named_codec() -> CodecModule:
    """A codec of random weights whose first codes stand for the sixteen first phones, one each."""
    torch.manual_seed(0)
    module = CodecModule(SIZES, quantize_start=0).eval()
    for layer in module.network.quantizer.vq.layers:
        layer._codebook.inited.fill_(1)
        layer._codebook.embed.normal_(std=0.3)
    module.network.quantizer.get_buffer("phones").copy_(torch.arange(16))
    return module


def test_first_codes_are_of_the_phone_spoken_unless_another_is_much_nearer() -> None:
    quantizer = named_codec().network.quantizer
    latent = torch.nn.functional.layer_norm(torch.randn(2, 30, 8), (8,))
    plain = quantize(quantizer, latent)
    phones = torch.randint(16, (2, 30))
    phones[0, 10:20] = UNKNOWN
    codes = quantize(quantizer, latent, phones)
    vectors = codebook_vectors(quantizer)
    for row, time in np.ndindex(2, 30):
        distance = (latent[row, time] - vectors[0]).square().sum(-1)
        allowed = {int(p) for p in phones[row, max(0, time - 1) : time + 2]} - {UNKNOWN}
        if phones[row, time] == UNKNOWN:
            assert codes[row, time, 0] == distance.argmin()
            continue
        fined = [float(d) + (0 if code in allowed else OTHER_PHONE * 8) for code, d in enumerate(distance)]
        assert codes[row, time, 0] == int(np.argmin(fined))
    assert torch.equal(codes[0, 11:19], plain[0, 11:19])
    assert not torch.equal(codes, plain)
    rest = latent
    for codebook in range(8):  # the codebooks after it make up for it
        assert torch.equal(codes[..., codebook][..., None], _nearest(rest, vectors[codebook])) or codebook == 0
        rest = rest - vectors[codebook][codes[..., codebook]]
    assert torch.equal(quantize(quantizer, latent, torch.full((2, 30), UNKNOWN)), plain)
    quantizer.get_buffer("phones").fill_(UNKNOWN)
    assert torch.equal(quantize(quantizer, latent, phones), plain)


def _nearest(latent: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    return torch.cdist(latent, vectors.expand(len(latent), -1, -1)).argmin(-1, keepdim=True)


def test_codes_keep_the_phones_that_the_phone_loss_gave_them(tmp_path: Path) -> None:
    module = CodecModule(SIZES, quantize_start=0, phone_loss=1.0)
    assert TrainedCodec("x", module.network).phones is None
    module.name_codes()
    export(module.network, SIZES, tmp_path, {})
    assert module.phone_head is not None
    heads = module.phone_head(codebook_vectors(module.network.quantizer)[0]).argmax(-1)
    assert torch.equal(codec.load(str(tmp_path)).phones, heads)
    assert codec.load("mini").phones is None
    trained_on = CodecModule(SIZES, quantize_start=0)
    trained_on.start_from(codec.load(str(tmp_path)))
    assert torch.equal(trained_on.network.quantizer.get_buffer("phones"), heads)


def test_tokens_tell_the_phones_that_were_spoken(corpus: Path, tmp_path: Path) -> None:
    small = codec.load("small")
    assert small.phones is not None
    (tmp_path / "plain").mkdir()
    for file in ("wav.scp", "text", "utt2spk", "spk2utt"):
        shutil.copy(corpus / "valid" / file, tmp_path / "plain")
    shares = {}
    for name, data in (("timed", corpus / "valid"), ("plain", tmp_path / "plain")):
        command("valle-tokenize", data, tmp_path / name / "tokens", "--codec", "small")
        utterances = {u.id: u for u in kaldi.read(corpus / "valid")}
        folder = str(tmp_path / name / "tokens" / "{}.000000.{}")
        fields = {"cuts": [folder.format("cuts", "jsonl.gz")], "codes": [folder.format("codes", "tar")]}
        right = []
        for cut in CutSet.from_shar(fields=fields):
            codes = torch.from_numpy(cut.load_custom("codes")).long()
            samples = audio.read(utterances[cut.id].path, 16_000).samples
            if name == "plain":
                assert torch.equal(codes, small.encode(samples, 16_000))
            spoken = PhoneAlignment(utterances[cut.id].phones).classes_at((np.arange(len(codes)) + 0.5) / 50)
            right.append((small.phones[codes[:, 0]].numpy() == spoken)[spoken != UNKNOWN].mean())
        shares[name] = np.mean(right)
    assert shares["timed"] > 0.8
    assert 1 - shares["timed"] < 0.8 * (1 - shares["plain"])  # a codec that hears them well leaves little to mend

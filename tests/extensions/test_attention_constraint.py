"""Attention-constrained inference: the guided heads see a window of the text that moves forward only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import valle
from tests.conftest import command, sharpen
from valle.errors import UserError
from valle.extensions.attention_constraint import AHEAD, BEHIND, END_MARGIN, AttentionConstraint
from valle.generation.engine import generate
from valle.generation.request import GenerationRequest
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.kv_cache import KVCache
from valle.models.sampling import Sampling

CONFIG = TransformerConfig(layers=3, heads=2, dim=32, ffn_dim=64, dropout=0.0)
TEXT = 40


def model(group_size: int = 2) -> AR:
    torch.manual_seed(0)
    ar = AR(60, CONFIG, codebook_size=50, group_size=group_size, tie_embeddings=False).eval()
    sharpen(ar)
    return ar


def request(seed: int, length: int = TEXT, text_start: int = 0, frames: int = 60) -> GenerationRequest:
    phonemes = 1 + torch.arange(length) % 50
    return GenerationRequest(phonemes, torch.arange(4), max_frames=frames, seeds=[seed], text_start=text_start)


def test_codes_are_the_same_in_a_batch_as_alone() -> None:
    ar = model()
    requests = [request(0), request(1, length=20, frames=20), request(2, length=30, text_start=9)]
    together = generate(ar, requests, Sampling(), make_guide=AttentionConstraint)
    for one, candidates in zip(requests, together, strict=True):
        ((alone,),) = generate(ar, [one], Sampling(), make_guide=AttentionConstraint)
        assert torch.equal(alone.codes, candidates[0].codes)
    unconstrained = generate(ar, requests, Sampling())
    assert any(not torch.equal(a[0].codes, b[0].codes) for a, b in zip(together, unconstrained, strict=True))


def test_eos_is_not_sampled_before_the_text_is_passed() -> None:
    """With a model that always predicts EOS."""
    ar = model(group_size=1)
    with torch.no_grad():
        ar.transformer.norm.bias.fill_(1.0)
        ar.head.weight.zero_()
        ar.head.weight[ar.eos] = 1.0
    ((plain,),) = generate(ar, [request(0)], Sampling())
    assert len(plain.codes) <= 1
    ((constrained,),) = generate(ar, [request(0)], Sampling(), make_guide=AttentionConstraint)
    assert len(constrained.codes) >= (TEXT - END_MARGIN) // AHEAD
    ((last,),) = generate(ar, [request(0, text_start=TEXT - END_MARGIN)], Sampling(), make_guide=AttentionConstraint)
    assert len(last.codes) <= 1


@torch.inference_mode()
def step_at(ar: AR, present: int, changed: int | None) -> torch.Tensor:
    """Logits of one step where `present` is spoken, after the guided heads' keys and values of a symbol changed."""
    phonemes = (1 + torch.arange(TEXT) % 50)[None]
    cache = KVCache(CONFIG, 1, TEXT + 20, like=torch.empty(0))
    ar.prefill(phonemes, torch.tensor([TEXT]), torch.arange(4)[None], torch.tensor([4]), cache)
    guide = AttentionConstraint(ar, 1)
    guide.add_rows([0], TEXT, present)
    if changed is not None:
        cache.keys[1:, :, 0, changed] += 3.0
        cache.values[1:, :, 0, changed] += 3.0
    return ar.step(torch.tensor([[7]]), torch.tensor([4]), cache, None, guide)


def test_guided_heads_see_the_symbols_around_the_present_one_only() -> None:
    ar = model(group_size=1)
    present = 15
    plain = step_at(ar, present, None)
    for symbol in range(TEXT):
        seen = present - BEHIND <= symbol <= present + AHEAD
        assert torch.equal(step_at(ar, present, symbol), plain) != seen, symbol


def test_the_present_symbol_never_moves_back_nor_further_than_the_window() -> None:
    ar = model(group_size=1)
    guides: list[list[int]] = [[]]

    class Recorder(AttentionConstraint):
        def __call__(self, *arguments: object, **options: object) -> torch.Tensor:
            hidden = super().__call__(*arguments, **options)  # type: ignore[arg-type]
            guides[0].append(int(self.position[0]))
            return hidden

    generate(ar, [request(3)], Sampling(), make_guide=Recorder)
    steps = [b - a for a, b in zip([0, *guides[0]], guides[0], strict=False)]
    assert len(steps) > 5
    assert all(0 <= step <= AHEAD for step in steps)
    assert max(guides[0]) < TEXT


def test_bundled_model_synthesizes_and_streams_with_the_constraint() -> None:
    tts = valle.load("small")
    text = "The train leaves in twenty minutes."
    (speech,) = tts.synthesize_batch([text], [tts.voice()], [0], attempts=1, attention_constraint=True)
    assert speech.quality is not None
    assert speech.quality.verdict == "complete"
    chunks = list(tts.stream(text, seed=0, attention_constraint=True))
    assert sum(chunk.duration for chunk in chunks) == pytest.approx(speech.audio.duration, abs=0.05)
    recording = Path(valle.__file__).parent / "assets" / "voices" / "clara" / "voice.flac"
    with pytest.raises(UserError, match="continuation"):
        tts.synthesize(text, tts.continuation_prompt(recording), attention_constraint=True)


def test_model_without_guided_attention_is_refused(run_directory: Path, speech: Path, tmp_path: Path) -> None:
    done = command("valle-synth", "--model", run_directory, "--text", "Hello.", "--prompt", speech,
                   "--attention-constraint", "-o", tmp_path / "out.wav", check=False)  # fmt: skip
    assert done.returncode == 2
    assert "trained without guided attention" in done.stderr
    assert not (tmp_path / "out.wav").exists()

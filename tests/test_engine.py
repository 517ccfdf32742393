"""The decoding engine: cached, batched, repeatable."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import TINY, sharpen
from valle.models.ar import AR
from valle.models.sampling import Sampling
from valle.synthesis.engine import generate

TEXTS = [torch.tensor([1, 2, 3, 4, 5]), torch.tensor([6, 7]), torch.tensor([3, 3, 8])]
PROMPTS = [torch.tensor(p) for p in ([1, 2, 3, 4, 5, 6, 7, 8], [9] * 16, [4, 5, 6, 7, 1, 1, 2, 2])]


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("sampling", [Sampling(top_p=0.9), Sampling(top_p=0.8, repetition_aware=True)])
def test_a_row_says_the_same_in_a_batch_as_alone(size: int, sampling: Sampling) -> None:
    torch.manual_seed(0)
    model = sharpen(AR(12, TINY, codebook_size=50, group_size=size)).eval()
    together = generate(model, TEXTS, PROMPTS, [80, 40, 120], [5, 6, 7], sampling)
    for row in range(3):
        (alone,) = generate(
            model, TEXTS[row : row + 1], PROMPTS[row : row + 1], [[80, 40, 120][row]], [5 + row], sampling
        )
        assert torch.equal(together[row].codes, alone.codes)
        assert together[row].truncated == alone.truncated


def test_greedy_decoding_with_the_cache_equals_recomputing_everything(ar: AR) -> None:
    (cached,) = generate(ar, TEXTS[:1], PROMPTS[:1], [40], [0], Sampling(temperature=0))
    codes = PROMPTS[0]
    for step in range(40):
        logits = ar(TEXTS[0][None], torch.tensor([5]), codes[None], torch.tensor([len(codes)]))[0, -1, 0]
        if step == 0:
            logits[ar.end] = -torch.inf
        code = logits.argmax()
        if code == ar.end:
            break
        codes = torch.cat((codes, code[None]))
    assert torch.equal(cached.codes, codes[8:])


def test_candidates_share_a_prefill_and_draw_as_if_alone(ar: AR) -> None:
    several = generate(ar, TEXTS[:2], PROMPTS[:2], [40, 40], [10, 20], Sampling(), candidates=3)
    assert len(several) == 6
    for row, seed in ((0, 10), (1, 20)):
        for candidate in range(3):
            (alone,) = generate(ar, [TEXTS[row]], [PROMPTS[row]], [40], [seed + candidate], Sampling())
            assert torch.equal(several[3 * row + candidate].codes, alone.codes)


def test_the_bound_is_kept_and_reported() -> None:
    ar = sharpen(AR(12, TINY, codebook_size=50, tied=False)).eval()
    with torch.no_grad():
        ar.transformer.norm.weight.zero_()
        ar.transformer.norm.bias.fill_(1)
        ar.head.weight[ar.end] = -1  # every hidden vector is ones: the end mark never wins
        ar.head.weight[0] = 1
    for item in generate(ar, TEXTS, PROMPTS, [20, 30, 40], [1, 2, 3], Sampling(temperature=0)):
        assert len(item.codes) in (20, 30, 40)
        assert item.truncated


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("frames", [1, 7, 16, 21])
def test_a_text_of_t_frames_takes_ceil_t_over_g_steps(size: int, frames: int) -> None:
    torch.manual_seed(0)
    model = sharpen(AR(12, TINY, codebook_size=50, group_size=size, tied=False)).eval()
    with torch.no_grad():  # every hidden vector is ones, and the end mark never wins
        model.transformer.norm.weight.zero_()
        model.transformer.norm.bias.fill_(1)
        for parameter in model.group_prediction.parameters():
            parameter.fill_(1)
        model.head.weight[model.end] = -1
        model.head.weight[0] = 1
    passes = []
    model.transformer.register_forward_hook(lambda *_: passes.append(1))
    (spoken,) = generate(model, TEXTS[:1], PROMPTS[:1], [frames], [0], Sampling(temperature=0))
    assert len(spoken.codes) == frames
    assert len(passes) == -(-frames // size)  # the prefill predicts the first group

"""The decoding engine: cached, batched, streamed, repeatable."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import TINY, sharpen
from valle.errors import UserError
from valle.models.ar import AR
from valle.models.sampling import Sampling
from valle.models.transformer import KVCache
from valle.synthesis.engine import Generated, Request, generate, stream
from valle.synthesis.packing import pack

TEXTS = [torch.tensor([1, 2, 3, 4, 5]), torch.tensor([6, 7]), torch.tensor([3, 3, 8])]
PROMPTS = [torch.tensor(p) for p in ([1, 2, 3, 4, 5, 6, 7, 8], [9] * 16, [4, 5, 6, 7, 1, 1, 2, 2])]


def say(
    model: AR, rows: list[int], bounds: list[int], seeds: list[int], sampling: Sampling, **options
) -> list[Generated]:
    """One draw of each of these rows of TEXTS and PROMPTS."""
    requests = [
        Request(TEXTS[row], PROMPTS[row], bound, [seed]) for row, bound, seed in zip(rows, bounds, seeds, strict=True)
    ]
    return [draws[0] for draws in generate(model, requests, sampling, **options)]


def model_of_groups(size: int) -> AR:
    torch.manual_seed(0)
    return sharpen(AR(12, TINY, codebook_size=50, group_size=size)).eval()


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("sampling", [Sampling(top_p=0.9), Sampling(top_p=0.8, repetition_aware=True)])
def test_a_row_says_the_same_in_a_batch_as_alone(size: int, sampling: Sampling) -> None:
    model = model_of_groups(size)
    bounds = [80, 40, 120]
    together = say(model, [0, 1, 2], bounds, [5, 6, 7], sampling)
    for row in range(3):
        (alone,) = say(model, [row], bounds[row : row + 1], [5 + row], sampling)
        assert torch.equal(together[row].codes, alone.codes)
        assert together[row].truncated == alone.truncated


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("max_batch_tokens", [1, 150, 400, 10_000])
def test_texts_that_wait_for_a_place_say_the_same(size: int, max_batch_tokens: int) -> None:
    model = model_of_groups(size)
    rows, bounds, seeds = [0, 1, 2, 1, 0, 2, 2], [80, 16, 60, 40, 12, 100, 33], list(range(7))
    waited = say(model, rows, bounds, seeds, Sampling(top_p=0.9), max_batch_tokens=max_batch_tokens)
    for row, bound, seed, item in zip(rows, bounds, seeds, waited, strict=True):
        (alone,) = say(model, [row], [bound], [seed], Sampling(top_p=0.9))
        assert torch.equal(item.codes, alone.codes)
        assert item.truncated == alone.truncated


def test_memory_is_bounded_by_the_tokens_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    make = KVCache.__init__

    def measured(cache: KVCache, config: object, batch: int, max_length: int, like: torch.Tensor) -> None:
        make(cache, config, batch, max_length, like)
        sizes.append(batch * max_length)

    monkeypatch.setattr(KVCache, "__init__", measured)
    model = model_of_groups(1)
    say(model, [0] * 12, [40] * 12, list(range(12)), Sampling(), max_batch_tokens=200)
    assert max(sizes) <= 200 + 3 * 1  # a place of each of three rows may be written before a row's end is seen
    say(model, [0] * 12, [40] * 12, list(range(12)), Sampling())
    assert max(sizes) > 600


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_a_stream_says_what_generate_says(size: int, seed: int) -> None:
    model = model_of_groups(size)
    (whole,) = say(model, [0], [60], [seed], Sampling(top_p=0.9))
    request = Request(TEXTS[0], PROMPTS[0], 60, [seed])
    parts = list(stream(model, request, Sampling(top_p=0.9), every=8))
    assert torch.equal(parts[-1].codes, whole.codes)
    assert [part.ended for part in parts] == [False] * (len(parts) - 1) + [True]
    for index, part in enumerate(parts[:-1]):
        assert torch.equal(part.codes, whole.codes[: 8 * (index + 1)])


@pytest.mark.parametrize("size", [1, 4])
def test_packed_float32_weights_say_the_same(size: int) -> None:
    plain, packed = model_of_groups(size), pack(model_of_groups(size), "float32")
    assert type(packed.transformer.blocks[0].qkv).__name__ == "PackedLinear"
    for row in range(3):
        one, two = (say(m, [row], [120], [row], Sampling(top_p=0.9))[0] for m in (plain, packed))
        assert torch.equal(one.codes, two.codes)


@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 0.02), ("int8", 0.04)])
def test_smaller_weights_give_nearly_the_same_logits(dtype: str, error: float) -> None:
    plain, packed = model_of_groups(1), pack(model_of_groups(1), dtype)
    arguments = TEXTS[0][None], torch.tensor([5]), PROMPTS[0][None], torch.tensor([8])
    with torch.inference_mode():
        one, two = plain(*arguments), packed(*arguments)
    assert two.dtype == torch.float32
    assert 0 < (one - two).norm() / one.norm() < error


def test_what_a_device_cannot_do_is_one_line() -> None:
    with pytest.raises(UserError, match="int8"):
        pack(model_of_groups(1), "int8", "cuda")
    with pytest.raises(UserError, match="float16"):
        pack(model_of_groups(1), "float16")


def test_greedy_decoding_with_the_cache_equals_recomputing_everything(ar: AR) -> None:
    (cached,) = say(ar, [0], [40], [0], Sampling(temperature=0))
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


def test_candidates_share_a_prefill_and_draw_as_if_alone(ar: AR, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    prefill = AR.prefill
    monkeypatch.setattr(AR, "prefill", lambda *arguments: passes.append(1) or prefill(*arguments))
    requests = [Request(TEXTS[row], PROMPTS[row], 40, [10 * row + c for c in range(3)]) for row in (0, 1)]
    several = generate(ar, requests, Sampling())
    assert len(passes) == 2
    assert [len(draws) for draws in several] == [3, 3]
    for row in (0, 1):
        for candidate in range(3):
            (alone,) = say(ar, [row], [40], [10 * row + candidate], Sampling())
            assert torch.equal(several[row][candidate].codes, alone.codes)


def test_the_bound_is_kept_and_reported() -> None:
    ar = sharpen(AR(12, TINY, codebook_size=50, tied=False)).eval()
    with torch.no_grad():
        ar.transformer.norm.weight.zero_()
        ar.transformer.norm.bias.fill_(1)
        ar.head.weight[ar.end] = -1  # every hidden vector is ones: the end mark never wins
        ar.head.weight[0] = 1
    for item in say(ar, [0, 1, 2], [20, 30, 40], [1, 2, 3], Sampling(temperature=0)):
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
    (spoken,) = say(model, [0], [frames], [0], Sampling(temperature=0))
    assert len(spoken.codes) == frames
    assert len(passes) == -(-frames // size)  # the prefill predicts the first group

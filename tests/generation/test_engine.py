"""The decoding engine: cached, batched, streamed, repeatable."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY, sharpen
from valle.errors import UserError
from valle.generation import cuda_graphs
from valle.generation.cpu_step import CompiledStep, compile_step
from valle.generation.cuda_graphs import GraphStep
from valle.generation.engine import GenerationOutput, GenerationRequest, generate, stream
from valle.generation.quantization import pack
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.kv_cache import KVCache
from valle.models.nar import NAR, NARInputs
from valle.models.sampling import Sampling
from valle.models.sequence import Padded

TEXTS = [torch.tensor([1, 2, 3, 4, 5]), torch.tensor([6, 7]), torch.tensor([3, 3, 8])]
PROMPTS = [torch.tensor(p) for p in ([1, 2, 3, 4, 5, 6, 7, 8], [9] * 16, [4, 5, 6, 7, 1, 1, 2, 2])]


def say(
    model: AR, rows: list[int], bounds: list[int], seeds: list[int], sampling: Sampling, **options
) -> list[GenerationOutput]:
    """One draw of each of these rows of TEXTS and PROMPTS."""
    requests = [
        GenerationRequest(TEXTS[row], PROMPTS[row], bound, [seed])
        for row, bound, seed in zip(rows, bounds, seeds, strict=True)
    ]
    return [draws[0] for draws in generate(model, requests, sampling, **options)]


def model_of_groups(size: int) -> AR:
    torch.manual_seed(0)
    return sharpen(AR(12, TINY, codebook_size=50, group_size=size)).eval()


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("sampling", [Sampling(top_p=0.9), Sampling(top_p=0.8, repetition_aware=True)])
def test_row_has_the_same_codes_in_a_batch_as_alone(size: int, sampling: Sampling) -> None:
    model = model_of_groups(size)
    bounds = [80, 40, 120]
    together = say(model, [0, 1, 2], bounds, [5, 6, 7], sampling)
    for row in range(3):
        (alone,) = say(model, [row], bounds[row : row + 1], [5 + row], sampling)
        assert torch.equal(together[row].codes, alone.codes)
        assert together[row].truncated == alone.truncated


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("max_batch_tokens", [1, 150, 400, 10_000])
def test_waiting_requests_have_the_same_codes(size: int, max_batch_tokens: int) -> None:
    model = model_of_groups(size)
    rows, bounds, seeds = [0, 1, 2, 1, 0, 2, 2], [80, 16, 60, 40, 12, 100, 33], list(range(7))
    waited = say(model, rows, bounds, seeds, Sampling(top_p=0.9), max_batch_tokens=max_batch_tokens)
    for row, bound, seed, item in zip(rows, bounds, seeds, waited, strict=True):
        (alone,) = say(model, [row], [bound], [seed], Sampling(top_p=0.9))
        assert torch.equal(item.codes, alone.codes)
        assert item.truncated == alone.truncated


def test_max_batch_tokens_bounds_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_stream_has_the_codes_of_generate(size: int, seed: int) -> None:
    model = model_of_groups(size)
    (whole,) = say(model, [0], [60], [seed], Sampling(top_p=0.9))
    request = GenerationRequest(TEXTS[0], PROMPTS[0], 60, [seed])
    parts = list(stream(model, request, Sampling(top_p=0.9), every=8))
    assert torch.equal(parts[-1].codes, whole.codes)
    assert [part.ended for part in parts] == [False] * (len(parts) - 1) + [True]
    for index, part in enumerate(parts[:-1]):
        assert torch.equal(part.codes, whole.codes[: 8 * (index + 1)])


@pytest.mark.parametrize("size", [1, 4])
def test_packed_float32_weights_give_the_same_codes(size: int) -> None:
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


@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 0.04), ("int8", 0.1)])
def test_smaller_weights_of_the_nar_model_give_nearly_the_same_logits(nar: NAR, dtype: str, error: float) -> None:
    """Rows of different lengths, whose padding must stay out of the attention written out for bfloat16."""
    codes = torch.randint(0, 50, (2, 9, 8))
    inputs = NARInputs(
        text=Padded(torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]]), torch.tensor([4, 2])),
        prompt=Padded(codes[:, :5], torch.tensor([5, 3])),
        codes=Padded(codes, torch.tensor([9, 6])),
    )
    stages = torch.tensor([3, 1])
    with torch.inference_mode():
        one = nar(inputs, stages)
        two = pack(nar, dtype)(inputs, stages)
    for row, frames in enumerate([9, 6]):
        difference = (one[row, :frames] - two[row, :frames]).norm() / one[row, :frames].norm()
        assert 0 < difference < error


needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
WIDE = TransformerConfig(layers=2, heads=4, dim=64, ffn_dim=192, dropout=0.0)


def wide_model(size: int) -> AR:
    torch.manual_seed(0)
    return sharpen(AR(12, WIDE, codebook_size=50, group_size=size)).eval()


@needs_compiler
@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("max_batch_tokens", [None, 300])
def test_compiled_steps_in_float32_give_the_same_codes(size: int, max_batch_tokens: int | None) -> None:
    plain, compiled = wide_model(size), pack(wide_model(size), "float32", compiled=True)
    rows, bounds, seeds = [0, 1, 2, 1, 0, 2, 2], [80, 16, 60, 40, 12, 100, 33], list(range(7))
    one, two = (
        say(m, rows, bounds, seeds, Sampling(top_p=0.9), max_batch_tokens=max_batch_tokens) for m in (plain, compiled)
    )
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.codes, b.codes)


@needs_compiler
@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-5), ("bfloat16", 0.02), ("int8", 0.04)])
@pytest.mark.parametrize("rows", [1, 3, 9])
def test_compiled_step_equals_the_transformer(dtype: str, error: float, rows: int) -> None:
    """Rows of different lengths, a step of each: against the whole pass over each row alone."""
    transformer = wide_model(1).transformer
    compiled = CompiledStep(transformer, dtype)
    lengths = torch.arange(5, 5 + rows)
    before, new = torch.randn(rows, int(lengths.max()), WIDE.dim), torch.randn(rows, 1, WIDE.dim)
    cache = KVCache(WIDE, rows, 20, like=torch.zeros(0, dtype=compiled.cache_dtype))
    with torch.inference_mode():
        wanted = []
        for row, length in enumerate(lengths.tolist()):
            alone = KVCache(WIDE, 1, length, like=before)
            transformer(before[row : row + 1, :length], causal=True, cache=alone)
            alone.advance(length, length)
            cache.copy_row([row], alone)
            whole = torch.cat((before[row : row + 1, :length], new[row : row + 1]), dim=1)
            wanted.append(transformer(whole, causal=True)[:, -1:])
        given = compiled(new, mask=None, cache=cache)
    expected = torch.cat(wanted)
    assert (given - expected).norm() / expected.norm() < error
    if dtype != "float32":
        assert not torch.allclose(given, expected, atol=1e-6)


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("compiled", [False, True])
def test_packed_rows_decode_the_same_codes_in_a_batch_as_alone(dtype: str, compiled: bool) -> None:
    model = pack(wide_model(1), dtype, compiled=compiled)
    together = say(model, [0, 1, 2], [60, 60, 60], [5, 6, 7], Sampling(top_p=0.9))
    for row in range(3):
        (alone,) = say(model, [row], [60], [5 + row], Sampling(top_p=0.9))
        assert torch.equal(together[row].codes, alone.codes)


@needs_compiler
def test_compiled_library_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = compile_step()
    made = library.stat().st_mtime_ns
    assert compile_step().stat().st_mtime_ns == made
    assert [path.name for path in library.parent.iterdir()] == [library.name]


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_missing_or_failing_compiler_is_one_line(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(UserError, match="--compile"):
        compile_step()
    assert not list(tmp_path.rglob("*.so"))


@needs_compiler
@pytest.mark.parametrize("size", [1, 4])
def test_graphs_of_fixed_shape_give_the_same_codes(size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a GPU replays, compiled whole (no graph break) for the CPU here; few positions, so that it takes several."""
    monkeypatch.setattr(cuda_graphs, "POSITIONS", 48)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plain, graphed = model_of_groups(size), model_of_groups(size)
    graphed.step_backend = GraphStep(graphed.transformer, mode="default")
    rows, bounds, seeds = [0, 1, 2], [80, 16, 60], [0, 1, 2]
    one, two = (say(m, rows, bounds, seeds, Sampling(top_p=0.9), max_batch_tokens=200) for m in (plain, graphed))
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.codes, b.codes)


def test_unsupported_dtype_of_a_device_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(torch.cuda, "is_available", lambda: True)
        patched.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(UserError, match="int8"):
            pack(model_of_groups(1), "int8", "cuda")
    with pytest.raises(UserError, match="float16"):
        pack(model_of_groups(1), "float16")


def test_greedy_decoding_with_cache_equals_decoding_without(ar: AR) -> None:
    (cached,) = say(ar, [0], [40], [0], Sampling(temperature=0))
    codes = PROMPTS[0]
    for step in range(40):
        logits = ar(TEXTS[0][None], torch.tensor([5]), codes[None], torch.tensor([len(codes)]))[0, -1, 0]
        if step == 0:
            logits[ar.eos] = -torch.inf
        code = logits.argmax()
        if code == ar.eos:
            break
        codes = torch.cat((codes, code[None]))
    assert torch.equal(cached.codes, codes[8:])


def test_candidates_share_a_prefill_and_sample_as_if_alone(ar: AR, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    prefill = AR.prefill
    monkeypatch.setattr(AR, "prefill", lambda *arguments: passes.append(1) or prefill(*arguments))
    requests = [GenerationRequest(TEXTS[row], PROMPTS[row], 40, [10 * row + c for c in range(3)]) for row in (0, 1)]
    several = generate(ar, requests, Sampling())
    assert len(passes) == 2
    assert [len(draws) for draws in several] == [3, 3]
    for row in (0, 1):
        for candidate in range(3):
            (alone,) = say(ar, [row], [40], [10 * row + candidate], Sampling())
            assert torch.equal(several[row][candidate].codes, alone.codes)


def test_length_bound_is_enforced_and_reported() -> None:
    ar = sharpen(AR(12, TINY, codebook_size=50, tie_embeddings=False)).eval()
    with torch.no_grad():
        ar.transformer.norm.weight.zero_()
        ar.transformer.norm.bias.fill_(1)
        ar.head.weight[ar.eos] = -1  # every hidden vector is ones: EOS is never sampled
        ar.head.weight[0] = 1
    for item in say(ar, [0, 1, 2], [20, 30, 40], [1, 2, 3], Sampling(temperature=0)):
        assert len(item.codes) in (20, 30, 40)
        assert item.truncated


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("frames", [1, 7, 16, 21])
def test_t_frames_take_ceil_t_over_g_steps(size: int, frames: int) -> None:
    torch.manual_seed(0)
    model = sharpen(AR(12, TINY, codebook_size=50, group_size=size, tie_embeddings=False)).eval()
    with torch.no_grad():  # every hidden vector is ones: EOS is never sampled
        model.transformer.norm.weight.zero_()
        model.transformer.norm.bias.fill_(1)
        for parameter in model.group_prediction.parameters():
            parameter.fill_(1)
        model.head.weight[model.eos] = -1
        model.head.weight[0] = 1
    passes = []
    model.transformer.register_forward_hook(lambda *_: passes.append(1))
    (spoken,) = say(model, [0], [frames], [0], Sampling(temperature=0))
    assert len(spoken.codes) == frames
    assert len(passes) == -(-frames // size)  # the prefill predicts the first group

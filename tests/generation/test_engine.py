"""The decoding engine: KV cache, batches, streams, backends."""

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
from valle.generation.engine import generate, stream
from valle.generation.quantization import pack
from valle.generation.request import GenerationOutput, GenerationRequest
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.kv_cache import KVCache
from valle.models.nar import NAR, NARInputs
from valle.models.sampling import Sampling
from valle.models.sequence import Padded

TEXTS = [torch.tensor([1, 2, 3, 4, 5]), torch.tensor([6, 7]), torch.tensor([3, 3, 8])]
PROMPTS = [torch.tensor(p) for p in ([1, 2, 3, 4, 5, 6, 7, 8], [9] * 16, [4, 5, 6, 7, 1, 1, 2, 2])]
# Seven requests, more than a small batch holds: indices of TEXTS and PROMPTS, maximum frames, seeds.
ROWS = [0, 1, 2, 1, 0, 2, 2]
MAX_FRAMES = [80, 16, 60, 40, 12, 100, 33]
SEEDS = list(range(7))


def generate_rows(
    model: AR, rows: list[int], max_frames: list[int], seeds: list[int], sampling: Sampling, **options
) -> list[GenerationOutput]:
    """Generate one candidate for each of these rows of TEXTS and PROMPTS.

    Args:
        rows: indices of TEXTS and PROMPTS.
        max_frames: of each row.
        seeds: of each row.
        options: of `generate`.
    """
    requests = [
        GenerationRequest(TEXTS[row], PROMPTS[row], frames, [seed])
        for row, frames, seed in zip(rows, max_frames, seeds, strict=True)
    ]
    return [candidates[0] for candidates in generate(model, requests, sampling, **options)]


def make_ar(size: int) -> AR:
    torch.manual_seed(0)
    return sharpen(AR(12, TINY, codebook_size=50, group_size=size)).eval()


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("sampling", [Sampling(top_p=0.9), Sampling(top_p=0.8, repetition_aware=True)])
def test_row_has_the_same_codes_in_a_batch_as_alone(size: int, sampling: Sampling) -> None:
    model = make_ar(size)
    max_frames = [80, 40, 120]
    batch = generate_rows(model, [0, 1, 2], max_frames, [5, 6, 7], sampling)
    for row in range(3):
        (single,) = generate_rows(model, [row], max_frames[row : row + 1], [5 + row], sampling)
        assert torch.equal(batch[row].codes, single.codes)
        assert batch[row].truncated == single.truncated


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("max_batch_tokens", [1, 150, 400, 10_000])
def test_queued_requests_have_the_same_codes(size: int, max_batch_tokens: int) -> None:
    model = make_ar(size)
    outputs = generate_rows(model, ROWS, MAX_FRAMES, SEEDS, Sampling(top_p=0.9), max_batch_tokens=max_batch_tokens)
    for row, frames, seed, output in zip(ROWS, MAX_FRAMES, SEEDS, outputs, strict=True):
        (single,) = generate_rows(model, [row], [frames], [seed], Sampling(top_p=0.9))
        assert torch.equal(output.codes, single.codes)
        assert output.truncated == single.truncated


def test_max_batch_tokens_bounds_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    make = KVCache.__init__

    def measured(cache: KVCache, config: object, batch: int, max_length: int, like: torch.Tensor) -> None:
        make(cache, config, batch, max_length, like)
        sizes.append(batch * max_length)

    monkeypatch.setattr(KVCache, "__init__", measured)
    model = make_ar(1)
    generate_rows(model, [0] * 12, [40] * 12, list(range(12)), Sampling(), max_batch_tokens=200)
    # Each of three rows may write one position before its EOS token is read.
    assert max(sizes) <= 200 + 3 * 1
    generate_rows(model, [0] * 12, [40] * 12, list(range(12)), Sampling())
    assert max(sizes) > 600


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_stream_has_the_codes_of_generate(size: int, seed: int) -> None:
    model = make_ar(size)
    (complete,) = generate_rows(model, [0], [60], [seed], Sampling(top_p=0.9))
    request = GenerationRequest(TEXTS[0], PROMPTS[0], 60, [seed])
    outputs = list(stream(model, request, Sampling(top_p=0.9), every=8))
    assert torch.equal(outputs[-1].codes, complete.codes)
    assert [output.ended for output in outputs] == [False] * (len(outputs) - 1) + [True]
    for index, output in enumerate(outputs[:-1]):
        assert torch.equal(output.codes, complete.codes[: 8 * (index + 1)])


@pytest.mark.parametrize("size", [1, 4])
def test_packed_float32_weights_give_the_same_codes(size: int) -> None:
    plain = make_ar(size)
    packed = pack(make_ar(size), "float32")
    assert type(packed.transformer.blocks[0].qkv).__name__ == "PackedLinear"
    for row in range(3):
        (expected,) = generate_rows(plain, [row], [120], [row], Sampling(top_p=0.9))
        (output,) = generate_rows(packed, [row], [120], [row], Sampling(top_p=0.9))
        assert torch.equal(output.codes, expected.codes)


@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 0.02), ("int8", 0.04)])
def test_smaller_weights_give_nearly_the_same_logits(dtype: str, error: float) -> None:
    arguments = (TEXTS[0][None], torch.tensor([5]), PROMPTS[0][None], torch.tensor([8]))
    with torch.inference_mode():
        expected = make_ar(1)(*arguments)
        logits = pack(make_ar(1), dtype)(*arguments)
    assert logits.dtype == torch.float32
    assert 0 < (expected - logits).norm() / expected.norm() < error


@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 0.04), ("int8", 0.1)])
def test_smaller_weights_of_the_nar_model_give_nearly_the_same_logits(nar: NAR, dtype: str, error: float) -> None:
    """Rows of different lengths, whose padding must be excluded from the bfloat16 attention."""
    codes = torch.randint(0, 50, (2, 9, 8))
    inputs = NARInputs(
        text=Padded(torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]]), torch.tensor([4, 2])),
        prompt=Padded(codes[:, :5], torch.tensor([5, 3])),
        codes=Padded(codes, torch.tensor([9, 6])),
    )
    stages = torch.tensor([3, 1])
    with torch.inference_mode():
        expected = nar(inputs, stages)
        logits = pack(nar, dtype)(inputs, stages)
    for row, frames in enumerate([9, 6]):
        difference = (expected[row, :frames] - logits[row, :frames]).norm() / expected[row, :frames].norm()
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
    plain = wide_model(size)
    compiled = pack(wide_model(size), "float32", compiled=True)
    expected, outputs = (
        generate_rows(model, ROWS, MAX_FRAMES, SEEDS, Sampling(top_p=0.9), max_batch_tokens=max_batch_tokens)
        for model in (plain, compiled)
    )
    for one, two in zip(expected, outputs, strict=True):
        assert torch.equal(one.codes, two.codes)


@needs_compiler
@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-5), ("bfloat16", 0.02), ("int8", 0.04)])
@pytest.mark.parametrize("rows", [1, 3, 9])
def test_compiled_step_equals_the_transformer(dtype: str, error: float, rows: int) -> None:
    """One step of rows of different lengths, compared with a forward pass over each complete row."""
    transformer = wide_model(1).transformer
    compiled = CompiledStep(transformer, dtype)
    lengths = torch.arange(5, 5 + rows)
    past = torch.randn(rows, int(lengths.max()), WIDE.dim)
    new = torch.randn(rows, 1, WIDE.dim)
    cache = KVCache(WIDE, rows, 20, like=torch.zeros(0, dtype=compiled.cache_dtype))
    with torch.inference_mode():
        expected_rows = []
        for row, length in enumerate(lengths.tolist()):
            single = KVCache(WIDE, 1, length, like=past)
            transformer(past[row : row + 1, :length], causal=True, cache=single)
            single.advance(length, length)
            cache.copy_row([row], single)
            complete = torch.cat((past[row : row + 1, :length], new[row : row + 1]), dim=1)
            expected_rows.append(transformer(complete, causal=True)[:, -1:])
        output = compiled(new, mask=None, cache=cache)
    expected = torch.cat(expected_rows)
    assert (output - expected).norm() / expected.norm() < error
    if dtype != "float32":
        assert not torch.allclose(output, expected, atol=1e-6)


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("compiled", [False, True])
def test_packed_rows_decode_the_same_codes_in_a_batch_as_alone(dtype: str, compiled: bool) -> None:
    model = pack(wide_model(1), dtype, compiled=compiled)
    batch = generate_rows(model, [0, 1, 2], [60, 60, 60], [5, 6, 7], Sampling(top_p=0.9))
    for row in range(3):
        (single,) = generate_rows(model, [row], [60], [5 + row], Sampling(top_p=0.9))
        assert torch.equal(batch[row].codes, single.codes)


@needs_compiler
def test_compiled_library_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = compile_step()
    modified = library.stat().st_mtime_ns
    assert compile_step().stat().st_mtime_ns == modified
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
def test_graphs_of_fixed_shape_give_the_same_codes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The function that a GPU replays, compiled for the CPU without graph breaks.

    Rows need 25 positions, so that graphs of 16 and of 32 positions are used. Compiling one takes seconds.
    """
    monkeypatch.setattr(cuda_graphs, "POSITIONS", 16)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plain = make_ar(4)
    graphed = make_ar(4)
    graphed.step_backend = GraphStep(graphed.transformer, mode="default")
    expected, outputs = (
        generate_rows(model, [0, 1], [60, 60], [0, 1], Sampling(top_p=0.9), max_batch_tokens=200)
        for model in (plain, graphed)
    )
    assert max(len(output.codes) for output in outputs) > 40
    for one, two in zip(expected, outputs, strict=True):
        assert torch.equal(one.codes, two.codes)


def test_unsupported_dtype_of_a_device_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(torch.cuda, "is_available", lambda: True)
        patched.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(UserError, match="int8"):
            pack(make_ar(1), "int8", "cuda")
    with pytest.raises(UserError, match="float16"):
        pack(make_ar(1), "float16")


def test_greedy_decoding_with_cache_equals_decoding_without(ar: AR) -> None:
    (cached,) = generate_rows(ar, [0], [40], [0], Sampling(temperature=0))
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
    outputs = generate(ar, requests, Sampling())
    assert len(passes) == 2
    assert [len(candidates) for candidates in outputs] == [3, 3]
    for row in (0, 1):
        for candidate in range(3):
            (single,) = generate_rows(ar, [row], [40], [10 * row + candidate], Sampling())
            assert torch.equal(outputs[row][candidate].codes, single.codes)


def test_length_bound_is_enforced_and_reported() -> None:
    ar = sharpen(AR(12, TINY, codebook_size=50, tie_embeddings=False)).eval()
    with torch.no_grad():
        ar.transformer.norm.weight.zero_()
        ar.transformer.norm.bias.fill_(1)
        # Every hidden vector is ones: EOS is never sampled.
        ar.head.weight[ar.eos] = -1
        ar.head.weight[0] = 1
    outputs = generate_rows(ar, [0, 1, 2], [20, 30, 40], [1, 2, 3], Sampling(temperature=0))
    assert [len(output.codes) for output in outputs] == [20, 30, 40]
    assert all(output.truncated for output in outputs)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("frames", [1, 7, 16, 21])
def test_t_frames_take_ceil_t_over_g_steps(size: int, frames: int) -> None:
    torch.manual_seed(0)
    model = sharpen(AR(12, TINY, codebook_size=50, group_size=size, tie_embeddings=False)).eval()
    # Every hidden vector is ones: EOS is never sampled.
    with torch.no_grad():
        model.transformer.norm.weight.zero_()
        model.transformer.norm.bias.fill_(1)
        for parameter in model.group_prediction.parameters():
            parameter.fill_(1)
        model.head.weight[model.eos] = -1
        model.head.weight[0] = 1
    passes = []
    model.transformer.register_forward_hook(lambda *_: passes.append(1))
    (output,) = generate_rows(model, [0], [frames], [0], Sampling(temperature=0))
    assert len(output.codes) == frames
    # The prefill predicts the first group.
    assert len(passes) == -(-frames // size)

"""The models compute what the papers say, however they are run."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import TINY, sharpen
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.transformer import KVCache, length_mask, splice


def ids(*shape: int, high: int = 12) -> torch.Tensor:
    return torch.randint(1, high, shape, generator=torch.Generator().manual_seed(sum(shape)))


def grouped(size: int) -> AR:
    torch.manual_seed(0)
    return sharpen(AR(12, TINY, codebook_size=50, group_size=size)).eval()


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_cached_decoding_equals_the_full_pass(size: int) -> None:
    model = grouped(size)
    phonemes, codes = ids(2, 7), ids(2, 6 * size, high=50)
    text, frames = torch.tensor([7, 4]), torch.tensor([6 * size, 6 * size])
    full = model(phonemes, text, codes, frames)
    cache = KVCache(model.config, 2, 20, like=model.head.weight)
    prompt = torch.tensor([2 * size, 2 * size])
    steps = [model.prefill(phonemes, text, codes[:, : 2 * size], prompt, cache)]
    for step in range(2, 6):
        mask = length_mask(cache.lengths + 1, cache.filled + 1)[:, None, None]
        group = codes[:, step * size : (step + 1) * size]
        steps.append(model.step(group, torch.tensor([step, step]), cache, mask))
    torch.testing.assert_close(torch.stack(steps, 1), full[:, 2:], atol=1e-4, rtol=1e-4)


def test_padding_changes_nothing(ar: AR, nar: NAR) -> None:
    phonemes, codes = ids(1, 5), ids(1, 9, high=50)
    alone = ar(phonemes, torch.tensor([5]), codes, torch.tensor([9]))
    padded = ar(
        torch.cat((phonemes, ids(1, 4)), 1),
        torch.tensor([5]),
        torch.cat((codes, ids(1, 3, high=50)), 1),
        torch.tensor([9]),
    )
    torch.testing.assert_close(padded[:, :10], alone, atol=1e-4, rtol=1e-4)

    prompt, target = ids(1, 4, 8, high=50), ids(1, 6, 8, high=50)
    lengths = torch.tensor([5]), torch.tensor([4]), torch.tensor([6])
    alone = nar(phonemes, lengths[0], prompt, lengths[1], target, lengths[2], torch.tensor([3]))
    more = [torch.cat((x, x[:, :2]), 1) for x in (phonemes, prompt, target)]
    padded = nar(more[0], lengths[0], more[1], lengths[1], more[2], lengths[2], torch.tensor([3]))
    torch.testing.assert_close(padded[:, :6], alone, atol=1e-4, rtol=1e-4)


def test_a_batch_of_unlike_rows_equals_each_row_alone(ar: AR) -> None:
    phonemes, codes = ids(2, 8), ids(2, 10, high=50)
    text, frames = torch.tensor([8, 3]), torch.tensor([10, 4])
    together = ar(phonemes, text, codes, frames)
    for row in range(2):
        alone = ar(
            phonemes[row : row + 1, : text[row]],
            text[row : row + 1],
            codes[row : row + 1, : frames[row]],
            frames[row : row + 1],
        )
        torch.testing.assert_close(together[row, : frames[row] + 1], alone[0], atol=1e-4, rtol=1e-4)


def test_the_ar_model_never_sees_the_future(ar: AR) -> None:
    phonemes, codes = ids(1, 5), ids(1, 9, high=50)
    changed = codes.clone()
    changed[:, 6:] = 0
    lengths = torch.tensor([5]), torch.tensor([9])
    before, after = ar(phonemes, lengths[0], codes, lengths[1]), ar(phonemes, lengths[0], changed, lengths[1])
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


@pytest.mark.parametrize("stage", range(1, 8))
def test_a_nar_stage_never_sees_its_own_codebook_or_later_ones(nar: NAR, stage: int) -> None:
    phonemes, prompt, target = ids(1, 5), ids(1, 4, 8, high=50), ids(1, 6, 8, high=50)
    lengths = torch.tensor([5]), torch.tensor([4]), torch.tensor([6])
    changed = target.clone()
    changed[..., stage:] = 0
    stages = torch.tensor([stage])
    one = nar(phonemes, lengths[0], prompt, lengths[1], target, lengths[2], stages)
    assert torch.equal(one, nar(phonemes, lengths[0], prompt, lengths[1], changed, lengths[2], stages))
    changed[..., stage - 1] = 0
    assert not torch.equal(one, nar(phonemes, lengths[0], prompt, lengths[1], changed, lengths[2], stages))


def test_rows_of_a_batch_may_be_at_different_stages(nar: NAR) -> None:
    arguments = [x.expand(3, *x.shape[1:]) for x in (ids(1, 5), ids(1, 4, 8, high=50), ids(1, 6, 8, high=50))]
    lengths = [torch.full((3,), x.shape[1]) for x in arguments]
    inputs = [x for pair in zip(arguments, lengths, strict=True) for x in pair]
    stages = torch.tensor([1, 4, 7])
    together = nar(*inputs, stages)
    for row, stage in enumerate(stages):
        torch.testing.assert_close(together[row], nar(*inputs, stage.expand(3))[row])


def test_a_nar_stage_projects_with_its_codebooks_embedding(nar: NAR) -> None:
    arguments = (
        ids(1, 5),
        torch.tensor([5]),
        ids(1, 4, 8, high=50),
        torch.tensor([4]),
        ids(1, 6, 8, high=50),
        torch.tensor([6]),
        torch.tensor([3]),
    )
    before = nar(*arguments)
    with torch.no_grad():
        nar.code_embeddings[3].weight[7] = 0  # neither prompt nor lower codebooks use it: see the next line
        arguments[2][arguments[2] == 7] = 8
    before = nar(*arguments)
    assert torch.all(before[..., 7] == 0)
    assert sum(p.numel() for n, p in nar.named_parameters() if "head" in n) == 0


def test_groups_of_one_are_no_groups(ar: AR) -> None:
    assert sum(p.numel() for p in ar.group_projection.parameters()) == 0
    codes = ids(1, 9, high=50)
    plain = ar.code_embedding(codes) * ar.config.dim**0.5
    positions = (
        ar.embed_groups(torch.zeros_like(codes)) - ar.code_embedding(torch.zeros_like(codes)) * ar.config.dim**0.5
    )
    torch.testing.assert_close(ar.embed_groups(codes), plain + positions)


def test_targets_are_codes_then_a_group_of_end_marks_then_nothing() -> None:
    model = grouped(2)
    codes = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    expected = [[[1, 2], [3, 4], [50, 50]], [[5, 6], [50, 50], [-100, -100]]]
    assert model.targets(codes, torch.tensor([4, 2])).tolist() == expected
    given = torch.tensor([[True, True, False, False]]).expand(2, -1)
    assert model.targets(codes, torch.tensor([4, 2]), given).tolist()[0] == [[-100, -100], [3, 4], [50, 50]]


def test_splice_leaves_all_padding_on_the_right() -> None:
    a, b = torch.tensor([[1.0, 2.0], [3.0, 9.0]])[..., None], torch.tensor([[4.0, 5.0], [6.0, 7.0]])[..., None]
    whole, lengths = splice([(a, torch.tensor([2, 1])), (b, torch.tensor([1, 2]))])
    assert lengths.tolist() == [3, 3]
    assert whole[:, :3, 0].tolist() == [[1, 2, 4], [3, 6, 7]]

"""The AR model computes what the papers say, however it is run."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import TINY, random_ids, sharpen
from valle.models.ar import AR, convert_group_size
from valle.models.config import Layout
from valle.models.kv_cache import KVCache
from valle.models.positions import sinusoidal_positions
from valle.models.sequence import length_mask


def ar_of_groups(size: int, layout: Layout = "valle") -> AR:
    torch.manual_seed(0)
    return sharpen(AR(12, TINY, codebook_size=50, group_size=size, layout=layout)).eval()


@pytest.mark.parametrize("layout", ["valle", "valle2"])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_decode_steps_with_cache_equal_the_full_pass(size: int, layout: Layout) -> None:
    model = ar_of_groups(size, layout)
    phonemes, codes = random_ids(2, 7), random_ids(2, 6 * size, high=50)
    text, frames = torch.tensor([7, 4]), torch.tensor([6 * size, 6 * size])
    full = model(phonemes, text, codes, frames)
    cache = KVCache(model.config, 2, 20, like=model.head.weight)
    prompt = torch.tensor([2 * size, 2 * size])
    steps = [model.prefill(phonemes, text, codes[:, : 2 * size], prompt, cache)]
    for step in range(2, 6):
        mask = length_mask(cache.lengths + 1, cache.max_position + 1)[:, None, None]
        group = codes[:, step * size : (step + 1) * size]
        steps.append(model.step(group, torch.tensor([step, step]), cache, mask))
    torch.testing.assert_close(torch.stack(steps, 1), full[:, 2:], atol=1e-4, rtol=1e-4)


def test_padding_does_not_change_logits(ar: AR) -> None:
    phonemes, codes = random_ids(1, 5), random_ids(1, 9, high=50)
    alone = ar(phonemes, torch.tensor([5]), codes, torch.tensor([9]))
    padded = ar(
        torch.cat((phonemes, random_ids(1, 4)), 1),
        torch.tensor([5]),
        torch.cat((codes, random_ids(1, 3, high=50)), 1),
        torch.tensor([9]),
    )
    torch.testing.assert_close(padded[:, :10], alone, atol=1e-4, rtol=1e-4)


def test_batch_of_different_lengths_equals_each_row_alone(ar: AR) -> None:
    phonemes, codes = random_ids(2, 8), random_ids(2, 10, high=50)
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


def test_logits_do_not_depend_on_later_codes(ar: AR) -> None:
    phonemes, codes = random_ids(1, 5), random_ids(1, 9, high=50)
    changed = codes.clone()
    changed[:, 6:] = 0
    lengths = torch.tensor([5]), torch.tensor([9])
    before, after = ar(phonemes, lengths[0], codes, lengths[1]), ar(phonemes, lengths[0], changed, lengths[1])
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_group_size_one_is_valle_bit_for_bit() -> None:
    """VALL-E, section 4.2.1, written out: embeddings with positions of their own, an end of text, causal, tied."""
    model = ar_of_groups(1)
    dim = TINY.dim
    assert not any("group" in name for name, _ in model.named_parameters())
    phonemes, codes = random_ids(1, 7), random_ids(1, 9, high=50)

    def add_positions(embedded: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return embedded * dim**0.5 + scale * sinusoidal_positions(torch.arange(embedded.shape[1])[None], dim)

    end_of_text = torch.full((1, 1), model.phoneme_embedding.num_embeddings - 1)
    text = model.phoneme_embedding(torch.cat((phonemes, end_of_text), 1))
    x = torch.cat(
        (
            add_positions(text, model.phoneme_positions.scale),
            add_positions(model.code_embedding(codes), model.code_positions.scale),
        ),
        1,
    )
    for index, block in enumerate(model.transformer.blocks):
        x = block(x, causal=True, mask=None, stage=None, cache=None, layer=index)
    expected = model.transformer.norm(x)[:, 7:] @ model.code_embedding.weight.T
    found = model(phonemes, torch.tensor([7]), codes, torch.tensor([9]))
    assert torch.equal(found[:, :, 0], expected)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_group_embedding_and_prediction_are_those_of_valle2(size: int) -> None:
    """VALL-E 2, equation 7 and the group prediction layer of section 3.2."""
    model = ar_of_groups(size)
    codes, no_positions = random_ids(1, 3 * size, high=50), model.code_positions(torch.zeros(1, 3, TINY.dim))
    for group in range(3):
        row = model.code_embedding(codes[:, group * size : (group + 1) * size]).reshape(1, -1)
        expected = row @ model.group_embedding.weight.T * TINY.dim**0.5
        torch.testing.assert_close((model.embed_groups(codes) - no_positions)[:, group], expected)
    hidden = torch.randn(TINY.dim)
    vectors = (model.group_prediction.weight @ hidden).view(size, TINY.dim)
    torch.testing.assert_close(model.predict_group(hidden), vectors @ model.code_embedding.weight.T)


@pytest.mark.parametrize("layout", ["valle", "valle2"])
def test_valle2_has_two_marks_after_the_text_and_valle_one(layout: Layout) -> None:
    model = ar_of_groups(2, layout)
    lengths = model.embed_phonemes(random_ids(1, 5), torch.tensor([5])).lengths
    assert lengths.item() - 5 == {"valle": 1, "valle2": 2}[layout]
    assert (model.max_frames is None) == (layout == "valle")


def test_converted_group_size_predicts_what_the_source_predicts() -> None:
    """Where both read the same codes, the last ones of a group."""
    torch.manual_seed(0)
    models = {size: sharpen(AR(12, TINY, 50, size, tie_embeddings=False)).eval() for size in (1, 2, 4)}
    text, codes = (random_ids(1, 5), torch.tensor([5])), random_ids(1, 4, high=50)
    for other, size in ((1, 2), (1, 4), (2, 4), (2, 1), (4, 2), (4, 1)):
        source = AR(12, TINY, 50, other, tie_embeddings=False).eval()
        state, shared = models[other].state_dict(), min(other, size)
        if other > 1:  # ignores the codes that a smaller group does not have
            state["group_embedding.weight"][:, : -shared * TINY.dim] = 0
        source.load_state_dict(state)
        converted = AR(12, TINY, 50, size, tie_embeddings=False).eval()
        converted.load_state_dict(convert_group_size(state, size, other))
        expected = source(*text, codes[:, -other:], torch.tensor([other]))
        found = converted(*text, codes[:, -size:], torch.tensor([size]))
        for index in range(size):
            torch.testing.assert_close(found[:, :, index], expected[:, :, min(index, other - 1)], atol=1e-4, rtol=1e-4)


def test_tied_groups_cannot_be_converted_to_single_codes() -> None:
    with pytest.raises(ValueError, match="tied"):
        convert_group_size(ar_of_groups(2).state_dict(), 1, 2)


def test_targets_are_codes_then_eos_then_ignored() -> None:
    model = ar_of_groups(2)
    codes = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    expected = [[[1, 2], [3, 4], [50, 50]], [[5, 6], [50, 50], [-100, -100]]]
    assert model.targets(codes, torch.tensor([4, 2])).tolist() == expected
    ignored = torch.tensor([[True, True, False, False]]).expand(2, -1)
    assert model.targets(codes, torch.tensor([4, 2]), ignored).tolist()[0] == [[-100, -100], [3, 4], [50, 50]]

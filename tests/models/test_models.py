"""The models compute what the papers say, however they are run."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import TINY, sharpen
from valle.extensions.latent_regression import VOICE_SHARE, near, towards_prompt
from valle.models.ar import AR, convert_group_size
from valle.models.nar import NAR
from valle.models.sampling import NARSampling
from valle.models.transformer import KVCache, Layout, concat_padded, length_mask, sinusoidal_positions


def ids(*shape: int, high: int = 12) -> torch.Tensor:
    return torch.randint(1, high, shape, generator=torch.Generator().manual_seed(sum(shape)))


def grouped(size: int, layout: Layout = "valle") -> AR:
    torch.manual_seed(0)
    return sharpen(AR(12, TINY, codebook_size=50, group_size=size, layout=layout)).eval()


@pytest.mark.parametrize("layout", ["valle", "valle2"])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_cached_decoding_equals_the_full_pass(size: int, layout: Layout) -> None:
    model = grouped(size, layout)
    phonemes, codes = ids(2, 7), ids(2, 6 * size, high=50)
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
    with torch.no_grad():
        nar.code_embeddings[3].weight[7] = 0  # neither prompt nor lower codebooks use it: see the next line
        arguments[2][arguments[2] == 7] = 8
    before = nar(*arguments)
    assert torch.all(before[..., 7] == 0)
    assert sum(p.numel() for n, p in nar.named_parameters() if "head" in n) == 0


def test_codes_sum_to_what_is_expected(nar: NAR, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valle.extensions.latent_regression.VOICE_SHARE", 0.0)  # what is done besides: see below
    inputs = (ids(1, 5), torch.tensor([5]), ids(1, 4, 8), torch.tensor([4]), ids(1, 6), torch.tensor([6]))
    found = nar.generate(*inputs, NARSampling(temperature=None))
    if nar.expectation is None:
        assert torch.equal(found, nar.generate(*inputs, NARSampling(temperature=0)))  # the papers' way
        return
    for few in (2, 5):
        assert torch.equal(nar.generate(*inputs, NARSampling(temperature=None, stages=few)), found[..., : 1 + few])
    frames = torch.arange(6)
    expected = nar._hear(*inputs[:4], inputs[4][..., None], inputs[5], torch.tensor([1]))[1][0]
    left, vectors = expected, nar.expectation.vectors
    for stage in range(1, 8):
        distances = (left[:, None] - vectors[stage]).norm(dim=-1)
        assert torch.equal(found[0, :, stage], distances.argmin(-1))
        left = left - vectors[stage][found[0, frames, stage]]
    assert left.norm() < 0.7 * expected.norm()


def test_what_is_expected_is_learned_and_the_loss_is_the_share_that_is_not() -> None:
    torch.manual_seed(0)
    nar = NAR(12, TINY, codebook_size=5, latent_regression_layers=1, latent_dim=6)
    nar.start_from_codebooks(torch.randn(8, 5, 6))
    first = ids(4, 30, high=5)
    codes = torch.cat((first[..., None], (first[..., None] + torch.arange(1, 8)) % 5), dim=-1)  # all told by the first
    text, lengths = (ids(4, 5), torch.full((4,), 5)), torch.full((4,), 30)
    inputs = (*text, codes[:, :9], torch.full((4,), 9), codes, lengths, torch.tensor([1, 1, 3, 7]))
    assert nar.loss(*inputs)[0]["unexplained"] == 1.0  # nothing is expected at first
    optimizer = torch.optim.Adam(nar.parameters(), 0.01)
    for _ in range(60):
        losses, *_ = nar.loss(*inputs)
        optimizer.zero_grad()
        losses["unexplained"].backward()
        optimizer.step()
    assert nar.loss(*inputs)[0]["unexplained"] < 0.1
    given = torch.ones(4, 30, dtype=torch.bool).index_fill(1, torch.tensor([0]), False)
    assert nar.loss(*inputs, given)[0]["unexplained"] != nar.loss(*inputs)[0]["unexplained"]  # of one frame a row


def test_an_expectation_says_which_latent_dim_it_lacks() -> None:
    with pytest.raises(ValueError, match="latent_dim is 5"):
        NAR(12, TINY, codebook_size=50, latent_regression_layers=1, latent_dim=6).start_from_codebooks(
            torch.randn(8, 50, 5)
        )


def test_what_varies_slowly_is_moved_towards_the_prompts_voice() -> None:
    torch.manual_seed(0)
    voice, detail = torch.randn(1, 1, 3), torch.randn(1, 12, 3)
    detail[:, 5:] = 0
    moved = towards_prompt(detail, (detail + voice), torch.tensor([12]))
    torch.testing.assert_close(moved, detail + VOICE_SHARE * voice)
    found = torch.randn(1, 12, 3)
    alone = towards_prompt(detail[:, :7], found[:, :7], torch.tensor([7]))
    torch.testing.assert_close(towards_prompt(detail, found, torch.tensor([7]))[:, :7], alone)  # whatever pads it


def test_prompt_frames_count_by_their_first_codes_and_padding_does_not() -> None:
    vectors = 9 * torch.eye(4)
    weights = near(vectors[[0, 2]][None], vectors[[2, 0, 0, 2]][None], torch.tensor([3]))
    torch.testing.assert_close(weights[:, 0], torch.full((1, 2, 4), 1 / 3).index_fill(2, torch.tensor([3]), 0.0))
    torch.testing.assert_close(weights[:, -1], torch.tensor([[[0, 0.5, 0.5, 0], [1.0, 0, 0, 0]]]))


def test_an_expectation_fills_in_its_prompts_voice() -> None:
    """Of two prompts that differ in the other codebooks alone, each draws what is filled in to itself."""
    torch.manual_seed(0)
    nar = sharpen(NAR(12, TINY, codebook_size=50, latent_regression_layers=1, latent_dim=5)).eval()
    vectors = torch.randn(8, 50, 5)
    nar.start_from_codebooks(vectors)
    first, prompt = ids(1, 20), ids(1, 20, 8)
    prompts = [torch.cat((first[..., None], p[..., 1:]), dim=-1) for p in (prompt, (prompt + 7) % 50)]
    lengths, sums = torch.tensor([20]), []
    for p in prompts:
        codes = nar.generate(ids(1, 5), torch.tensor([5]), p, lengths, first, lengths, NARSampling())
        sums.append([sum(vectors[j][c[..., j]] for j in range(1, 8)).mean(1) for c in (codes, *prompts)])
    (filled, own, _), (others, _, _) = sums
    assert (filled - own).norm() < 0.7 * (others - own).norm()


def test_the_nar_model_of_valle2_is_equations_12_to_14(nar: NAR) -> None:
    if nar.layout != "valle2":
        pytest.skip("is about the layout valle2")
    phonemes, prompt, target, stage = ids(1, 5), ids(1, 4, 8, high=50), ids(1, 6, 8, high=50), 3
    end, scale = nar.phoneme_embedding.weight[-1:], TINY.dim**0.5
    table = nar.prompt_positions.table.weight
    codes = torch.cat(
        [
            sum(nar.code_embeddings[j](prompt[0, :, j]) for j in range(8)),
            sum(nar.code_embeddings[j](target[0, :, j]) for j in range(stage)),
        ]
    )
    text = torch.cat((nar.phoneme_embedding(phonemes[0]), end)) * scale + nar.phoneme_positions.table.weight[:6]
    marks = torch.cat((end, nar.stage_embedding(torch.tensor([stage])))) * scale
    sequence = torch.cat((text, codes * scale + table[:10], marks))
    hidden = nar.transformer(sequence[None])[0, 10:16]  # after 6 of text and 4 of prompt
    lengths = [torch.tensor([n]) for n in (5, 4, 6)]
    found = nar(phonemes, lengths[0], prompt, lengths[1], target, lengths[2], torch.tensor([stage]))
    torch.testing.assert_close(found[0], hidden @ nar.code_embeddings[stage].weight.T, atol=1e-4, rtol=1e-4)


def test_groups_of_one_are_valle_bit_for_bit() -> None:
    """VALL-E, section 4.2.1, written out: embeddings with positions of their own, an end of text, causal, tied."""
    model, dim = grouped(1), TINY.dim
    assert not any("group" in name for name, _ in model.named_parameters())
    phonemes, codes = ids(1, 7), ids(1, 9, high=50)

    def place(embedded: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return embedded * dim**0.5 + scale * sinusoidal_positions(torch.arange(embedded.shape[1])[None], dim)

    end_of_text = torch.full((1, 1), model.phoneme_embedding.num_embeddings - 1)
    text = model.phoneme_embedding(torch.cat((phonemes, end_of_text), 1))
    x = torch.cat(
        (place(text, model.phoneme_positions.scale), place(model.code_embedding(codes), model.code_positions.scale)), 1
    )
    for index, block in enumerate(model.transformer.blocks):
        x = block(x, causal=True, mask=None, stage=None, cache=None, layer=index)
    expected = model.transformer.norm(x)[:, 7:] @ model.code_embedding.weight.T
    found = model(phonemes, torch.tensor([7]), codes, torch.tensor([9]))
    assert torch.equal(found[:, :, 0], expected)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_a_group_is_its_codes_embeddings_side_by_side_and_predicts_its_codes_at_once(size: int) -> None:
    """VALL-E 2, equation 7 and the group prediction layer of section 3.2."""
    model = grouped(size)
    codes, no_positions = ids(1, 3 * size, high=50), model.code_positions(torch.zeros(1, 3, TINY.dim))
    for group in range(3):
        row = model.code_embedding(codes[:, group * size : (group + 1) * size]).reshape(1, -1)
        expected = row @ model.group_embedding.weight.T * TINY.dim**0.5
        torch.testing.assert_close((model.embed_groups(codes) - no_positions)[:, group], expected)
    hidden = torch.randn(TINY.dim)
    vectors = (model.group_prediction.weight @ hidden).view(size, TINY.dim)
    torch.testing.assert_close(model.predict_group(hidden), vectors @ model.code_embedding.weight.T)


@pytest.mark.parametrize("layout", ["valle", "valle2"])
def test_valle2_has_two_marks_between_text_and_speech_and_valle_one(layout: Layout) -> None:
    model = grouped(2, layout)
    _, lengths = model.embed_phonemes(ids(1, 5), torch.tensor([5]))
    assert lengths.item() - 5 == {"valle": 1, "valle2": 2}[layout]
    assert (model.max_frames is None) == (layout == "valle")


def test_a_model_can_begin_as_one_of_other_groups() -> None:
    """What begins as the other says what it would say of the codes that both hear: the last ones of a group."""
    torch.manual_seed(0)
    models = {size: sharpen(AR(12, TINY, 50, size, tie_embeddings=False)).eval() for size in (1, 2, 4)}
    text, codes = (ids(1, 5), torch.tensor([5])), ids(1, 4, high=50)
    for other, size in ((1, 2), (1, 4), (2, 4), (2, 1), (4, 2), (4, 1)):
        source = AR(12, TINY, 50, other, tie_embeddings=False).eval()
        state, kept = models[other].state_dict(), min(other, size)
        if other > 1:  # deaf to the codes that a smaller group has not
            state["group_embedding.weight"][:, : -kept * TINY.dim] = 0
        source.load_state_dict(state)
        begun = AR(12, TINY, 50, size, tie_embeddings=False).eval()
        begun.load_state_dict(convert_group_size(state, size, other))
        expected = source(*text, codes[:, -other:], torch.tensor([other]))
        found = begun(*text, codes[:, -size:], torch.tensor([size]))
        for place in range(size):
            torch.testing.assert_close(found[:, :, place], expected[:, :, min(place, other - 1)], atol=1e-4, rtol=1e-4)


def test_single_codes_do_not_begin_as_tied_groups() -> None:
    with pytest.raises(ValueError, match="tied"):
        convert_group_size(grouped(2).state_dict(), 1, 2)


def test_targets_are_codes_then_a_group_of_end_marks_then_nothing() -> None:
    model = grouped(2)
    codes = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    expected = [[[1, 2], [3, 4], [50, 50]], [[5, 6], [50, 50], [-100, -100]]]
    assert model.targets(codes, torch.tensor([4, 2])).tolist() == expected
    given = torch.tensor([[True, True, False, False]]).expand(2, -1)
    assert model.targets(codes, torch.tensor([4, 2]), given).tolist()[0] == [[-100, -100], [3, 4], [50, 50]]


def test_splice_leaves_all_padding_on_the_right() -> None:
    a, b = torch.tensor([[1.0, 2.0], [3.0, 9.0]])[..., None], torch.tensor([[4.0, 5.0], [6.0, 7.0]])[..., None]
    whole, lengths = concat_padded([(a, torch.tensor([2, 1])), (b, torch.tensor([1, 2]))])
    assert lengths.tolist() == [3, 3]
    assert whole[:, :3, 0].tolist() == [[1, 2, 4], [3, 6, 7]]

"""The NAR model computes what the papers say, however it is run."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import TINY, nar_inputs, random_ids
from valle.extensions.latent_regression import LatentRegressionNAR
from valle.models.nar import NAR, NARInputs
from valle.models.sampling import NARSampling
from valle.models.sequence import Padded


def example() -> NARInputs:
    return nar_inputs(random_ids(1, 5), random_ids(1, 4, 8, high=50), random_ids(1, 6, 8, high=50))


def with_codes(inputs: NARInputs, codes: torch.Tensor) -> NARInputs:
    return inputs._replace(codes=Padded(codes, inputs.codes.lengths))


def test_padding_does_not_change_logits(nar: NAR) -> None:
    inputs = example()
    alone = nar(inputs, torch.tensor([3]))
    more = NARInputs(*(Padded(torch.cat((part.values, part.values[:, :2]), 1), part.lengths) for part in inputs))
    torch.testing.assert_close(nar(more, torch.tensor([3]))[:, :6], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stage", range(1, 8))
def test_logits_of_a_stage_depend_on_the_codebooks_below_only(nar: NAR, stage: int) -> None:
    inputs = example()
    stages = torch.tensor([stage])
    logits = nar(inputs, stages)
    changed = inputs.codes.values.clone()
    changed[..., stage:] = 0
    assert torch.equal(logits, nar(with_codes(inputs, changed), stages))
    changed[..., stage - 1] = 0
    assert not torch.equal(logits, nar(with_codes(inputs, changed), stages))


def test_rows_of_a_batch_can_have_different_stages(nar: NAR) -> None:
    inputs = NARInputs(*(Padded(p.values.expand(3, *p.values.shape[1:]), p.lengths.expand(3)) for p in example()))
    stages = torch.tensor([1, 4, 7])
    together = nar(inputs, stages)
    for row, stage in enumerate(stages):
        torch.testing.assert_close(together[row], nar(inputs, stage.expand(3))[row])


def test_output_projection_of_a_stage_is_the_embedding_of_its_codebook(nar: NAR) -> None:
    inputs = example()
    # Code 7 of codebook 3 is used by neither the prompt nor the lower codebooks, so that only its logit changes.
    inputs.prompt.values[inputs.prompt.values == 7] = 8
    with torch.no_grad():
        nar.code_embeddings[3].weight[7] = 0
    assert torch.all(nar(inputs, torch.tensor([3]))[..., 7] == 0)
    assert not [name for name, _ in nar.named_parameters() if "head" in name]


def test_greedy_generation_is_the_default_of_the_papers_model(nar: NAR) -> None:
    inputs = nar_inputs(random_ids(1, 5), random_ids(1, 4, 8), random_ids(1, 6)[..., None])
    greedy = nar.generate(inputs, NARSampling(temperature=0))
    if type(nar) is NAR:
        assert torch.equal(nar.generate(inputs), greedy)
    codes = inputs.codes.values
    for stage in range(1, 8):
        code = nar(with_codes(inputs, codes), torch.tensor([stage])).argmax(-1)
        codes = torch.cat((codes, code[..., None]), dim=-1)
    assert torch.equal(greedy, codes)


def test_valle2_is_equations_12_to_14(nar: NAR) -> None:
    if nar.layout != "valle2":
        pytest.skip("is about the layout valle2")
    inputs = example()
    phonemes, prompt, target = (part.values[0] for part in inputs)
    stage = 3
    eos = nar.phoneme_embedding.weight[-1:]
    scale = TINY.dim**0.5
    table = nar.prompt_positions.table.weight
    codes = torch.cat(
        [
            sum(nar.code_embeddings[j](prompt[:, j]) for j in range(8)),
            sum(nar.code_embeddings[j](target[:, j]) for j in range(stage)),
        ]
    )
    text = torch.cat((nar.phoneme_embedding(phonemes), eos)) * scale + nar.phoneme_positions.table.weight[:6]
    marks = torch.cat((eos, nar.stage_embedding(torch.tensor([stage])))) * scale
    sequence = torch.cat((text, codes * scale + table[:10], marks))
    # The target stands after 6 tokens of text and 4 of the prompt.
    hidden = nar.transformer(sequence[None])[0, 10:16]
    logits = nar(inputs, torch.tensor([stage]))
    torch.testing.assert_close(logits[0], hidden @ nar.code_embeddings[stage].weight.T, atol=1e-4, rtol=1e-4)


def test_without_conditions_the_sequence_is_the_target_alone(nar: NAR) -> None:
    """VALL-E, table 4, without prompts; VALL-E 2, table 3, without text."""
    if isinstance(nar, LatentRegressionNAR):
        pytest.skip("is about the papers' models")
    text, prompt, target = (part.values for part in example())
    nar.text_condition = False
    for stage in (1, 4):
        stages = torch.tensor([stage])
        e = sum(nar.code_embeddings[j](target[..., j]) for j in range(stage)) * TINY.dim**0.5
        if nar.layout == "valle":
            hidden = nar.transformer(nar.target_positions(e), stage=nar.stage_embedding(stages))
        else:
            eos = nar.phoneme_embedding.weight[None, -1:] * TINY.dim**0.5
            marks = (
                eos + nar.phoneme_positions.table.weight[0],
                eos,
                nar.stage_embedding(stages[None]) * TINY.dim**0.5,
            )
            x = torch.cat((marks[0], e + nar.prompt_positions.table.weight[:6], *marks[1:]), dim=1)
            hidden = nar.transformer(x)[:, 1:7]
        expected = hidden @ nar.code_embeddings[stage].weight.T
        torch.testing.assert_close(nar(nar_inputs(text, prompt[:, :0], target), stages), expected, atol=1e-4, rtol=1e-4)
        # The acoustic prompt is still a condition.
        assert not torch.allclose(nar(nar_inputs(text, prompt, target), stages), expected, atol=1e-2)


def test_rows_without_a_prompt_are_the_same_in_a_batch(nar: NAR) -> None:
    if isinstance(nar, LatentRegressionNAR):
        pytest.skip("is about the papers' models")
    text, prompt, target = (part.values for part in example())
    stages = torch.tensor([3])
    alone = nar(nar_inputs(text, prompt[:, :0], target), stages)
    parts = (text, prompt, target)
    inputs = NARInputs(*(Padded(part.expand(2, *part.shape[1:]), torch.full((2,), part.shape[1])) for part in parts))
    inputs.prompt.lengths[0] = 0
    torch.testing.assert_close(nar(inputs, stages.expand(2))[:1], alone, atol=1e-4, rtol=1e-4)


def test_prompt_as_prefix_is_generation_after_given_target_codes(nar: NAR) -> None:
    """VALL-E 2, table 3: the prompt is the prefix of the target code matrix."""
    if nar.layout != "valle2":
        pytest.skip("is about the layout valle2")
    text, prompt, target = (part.values for part in example())
    codes = target[..., :1]
    for stage in range(1, 8):
        given = torch.cat((prompt[..., :stage], codes), dim=1)
        logits = nar(nar_inputs(text, prompt[:, :0], given), torch.tensor([stage]))
        codes = torch.cat((codes, logits[:, 4:].argmax(-1, keepdim=True)), dim=-1)
    inputs = nar_inputs(text, prompt, target[..., :1])
    assert torch.equal(nar.generate(inputs, NARSampling(prompt_prefix=True)), codes)
    assert not torch.equal(nar.generate(inputs), codes)

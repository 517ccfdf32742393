"""Guided attention: one head of a block is trained to attend to the phoneme that is spoken."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import random_ids
from valle.data.loader import NEVER
from valle.extensions.guided_attention import GuidedAttention, spoken_phonemes
from valle.models.ar import AR
from valle.models.config import Layout, TransformerConfig
from valle.models.nar import NAR, NARInputs
from valle.models.sequence import Padded

CONFIG = TransformerConfig(layers=2, heads=2, dim=16, ffn_dim=32, dropout=0.0)
SPOKEN = [0, 2, 2, -1]  # phoneme of each of four steps; that of the last is not available


def guided_loss(attention: torch.Tensor) -> torch.Tensor:
    """Compute the loss of (step, key) attention: the phoneme that is spoken counts 1, neighbours 1/2, theirs 1/4."""
    sums = []
    for row, phoneme in zip(attention, SPOKEN[:3], strict=False):
        sums.append(sum(row[k] * 0.5 ** abs(k - phoneme) for k in range(5) if abs(k - phoneme) < 3))
    return -torch.stack(sums).log().mean()


@pytest.mark.parametrize("group_size", [1, 2])
def test_phoneme_of_a_group_is_the_last_one_that_began(group_size: int) -> None:
    starts = torch.tensor([[0, 2, 2, 6, NEVER], [3, 4, 5, 6, 7], [NEVER] * 5])
    spoken = spoken_phonemes(starts, torch.tensor([8, 4, 8]), group_size).tolist()
    if group_size == 1:
        assert spoken == [[0, 0, 2, 2, 2, 2, 3, 3], [-1, -1, -1, 0, -1, -1, -1, -1], [-1] * 8]
    else:
        assert spoken == [[0, 2, 2, 3], [-1, 0, -1, -1], [-1] * 4]


def test_loss_of_the_ar_model_is_of_the_first_head_with_causal_attention() -> None:
    torch.manual_seed(0)
    model = AR(9, CONFIG, codebook_size=8)
    lengths = torch.tensor([5])
    frames = torch.tensor([4])
    inputs = []
    model.transformer.blocks[1].register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    with GuidedAttention(model, enabled=True) as guide:
        model.loss(random_ids(1, 5, high=9), lengths, random_ids(1, 4, high=8), frames)
    query, key, _ = model.transformer.blocks[1].project_qkv(inputs[0], None)
    scores = query[0, 0, 5:9] @ key[0, 0].T / 8**0.5
    later = torch.arange(10) > torch.arange(5, 9)[:, None]
    loss = guide.loss(torch.tensor([SPOKEN]), model.sequence_layout(lengths, frames))
    expected = guided_loss(scores.masked_fill(later, -torch.inf).softmax(-1))
    torch.testing.assert_close(loss, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("layout", ["valle", "valle2"])
def test_loss_of_the_nar_model_is_of_the_whole_sequence_without_padding(layout: Layout) -> None:
    torch.manual_seed(0)
    model = NAR(9, CONFIG, codebook_size=8, layout=layout)
    codes = torch.randint(0, 8, (2, 7, 8))
    batch = NARInputs(
        text=Padded(torch.randint(1, 9, (2, 5)), torch.tensor([5, 5])),
        prompt=Padded(codes[:, :3], torch.tensor([3, 3])),
        codes=Padded(codes, torch.tensor([4, 7])),
    )
    inputs = []
    model.transformer.blocks[1].register_forward_pre_hook(
        lambda _, args, named: inputs.append((args[0], named["stage"])), with_kwargs=True
    )
    with GuidedAttention(model, enabled=True) as guide:
        model.loss(batch, torch.tensor([1, 2]))
    # "valle2" has an EOS token between text and prompt, and an EOS token and the stage at the end.
    first = 5 + 3 + (layout == "valle2")
    end = first + 4 + 2 * (layout == "valle2")
    x, stage = inputs[0]
    query, key, _ = model.transformer.blocks[1].project_qkv(x, stage)
    attention = (query[0, 0, first : first + 4] @ key[0, 0, :end].T / 8**0.5).softmax(-1)
    spoken = torch.tensor([SPOKEN + [-1] * 3, [-1] * 7])
    loss = guide.loss(spoken, model.sequence_layout(batch))
    torch.testing.assert_close(loss, guided_loss(attention), atol=1e-3, rtol=1e-3)

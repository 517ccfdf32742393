"""Sequences of several padded parts."""

from __future__ import annotations

import torch

from valle.models.sequence import Padded, concat_padded


def test_concatenation_leaves_all_padding_on_the_right() -> None:
    a = torch.tensor([[1.0, 2.0], [3.0, 9.0]])[..., None]
    b = torch.tensor([[4.0, 5.0], [6.0, 7.0]])[..., None]
    joined, lengths = concat_padded([Padded(a, torch.tensor([2, 1])), Padded(b, torch.tensor([1, 2]))])
    assert lengths.tolist() == [3, 3]
    assert joined[:, :3, 0].tolist() == [[1, 2, 4], [3, 6, 7]]

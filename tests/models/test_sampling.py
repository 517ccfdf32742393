"""Sampling: filters, and repetition aware sampling as in the paper."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from valle.models.sampling import NARSampling, Sampling, filter_logits, sample, sample_inverse_cdf


def pick(probabilities: list[float], uniform: float) -> int:
    """Inverse of the distribution function, in plain Python."""
    total, last = 0.0, 0
    for index, p in enumerate(probabilities):
        if p > 0:
            total, last = total + p, index
            if uniform * sum(probabilities) < total:
                return index
    return last


def repetition_aware(logits: list[float], history: list[int], u1: float, u2: float, s: Sampling) -> int:
    """VALL-E 2, algorithm 1, written out."""
    weights = torch.tensor(logits, dtype=torch.float32).softmax(0).tolist()
    order = sorted(range(len(weights)), key=lambda i: -weights[i])
    nucleus, mass = [0.0] * len(weights), 0.0
    for index in order:
        # The most likely code remains even with top_p 0.
        if mass >= s.top_p and mass > 0:
            break
        nucleus[index], mass = weights[index], mass + weights[index]
    code = pick(nucleus, u1)
    if s.ras_reading == "text":
        ratio = history[-s.ras_window :].count(code) / s.ras_window
    else:
        # The sum as printed: k = 0 is the sampled code, k = 1 .. K are the codes before it.
        sequence = [*history, code]
        ratio = sum(sequence[-1 - k] == code for k in range(s.ras_window + 1)) / s.ras_window
    return pick(weights, u2) if ratio > s.ras_threshold else code


@given(
    st.lists(st.floats(-4, 4, width=32), min_size=4, max_size=12, unique=True),
    st.lists(st.integers(0, 3), min_size=10, max_size=20),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
    st.just(0.0) | st.floats(0.1, 0.99),
    st.sampled_from(["text", "formula"]),
)
def test_repetition_aware_sampling_is_the_papers_algorithm(logits, history, u1, u2, top_p, reading) -> None:
    s = Sampling(top_p=top_p, repetition_aware=True, ras_reading=reading)
    noise = torch.tensor([[u1, u2]], dtype=torch.float64)
    weights = torch.tensor(logits).softmax(0)
    assume(len(weights.unique()) == len(weights))  # of equally likely codes any may be the nucleus's last
    code = sample(torch.tensor([logits]), torch.tensor([history]), noise, s)
    # Rounding decides where a uniform number or the bound of the nucleus is at a step of a distribution.
    for u in (u1, u2):
        assume(not on_a_step(weights, u))
    ordered = weights.sort(descending=True).values
    assume(not on_a_step(ordered, top_p))
    assume(not on_a_step(filter_logits(torch.tensor(logits), None, top_p).softmax(0), u1))
    assert code.item() == repetition_aware(logits, history, u1, u2, s)


def on_a_step(probabilities: torch.Tensor, value: float) -> bool:
    """Whether `value` is within 1e-4 of a step of the distribution function."""
    return bool(((probabilities.cumsum(0) - value).abs() < 1e-4).any())


def test_code_that_fills_the_window_is_sampled_again_from_the_whole_distribution() -> None:
    logits = torch.tensor([[5.0, 0.0, 0.0, 0.0]])
    noise = torch.tensor([[0.5, 0.9999]])
    s = Sampling(top_p=0.5, repetition_aware=True)
    assert sample(logits, torch.zeros(1, 10, dtype=torch.long), noise, s).item() == 3
    assert sample(logits, torch.full((1, 10), -1), noise, s).item() == 0


@given(st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=30), st.integers(1, 40), st.floats(0.0, 1.0))
def test_filters_retain_the_most_likely_and_at_most_k(logits, top_k, top_p) -> None:
    values = torch.tensor(logits)
    kept = filter_logits(values, top_k, top_p)
    assert kept.max() == values.max()
    finite = kept.isfinite()
    if len(set(logits)) == len(logits):
        assert finite.sum() <= top_k
    assert torch.equal(kept[finite], values[finite])


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=20), st.floats(0, 1, exclude_max=True))
def test_inverse_cdf_never_samples_what_has_no_probability(weights, uniform) -> None:
    if sum(weights) > 0:
        assert weights[sample_inverse_cdf(torch.tensor(weights), torch.tensor(uniform)).item()] > 0


def test_temperature_zero_takes_the_most_likely_code() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    assert sample(logits, torch.full((1, 10), -1), torch.tensor([[0.99, 0.99]]), Sampling(temperature=0)).item() == 1


@pytest.mark.parametrize("greedy", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_k": 1}])
def test_greedy_decoding_takes_the_most_likely_code_and_resamples_a_repeated_one(greedy: dict[str, float]) -> None:
    """VALL-E 2, section 4.1.3: top-p down to 0.0 is stable with repetition aware sampling."""
    logits = torch.tensor([[5.0, 0.0, 0.0, 0.0]])
    noise = torch.tensor([[0.9999, 0.9999]])
    sampling = Sampling(**greedy)
    assert not sampling.is_random
    assert sample(logits, torch.zeros(1, 10, dtype=torch.long), noise, sampling).item() == 0
    aware = Sampling(**greedy, repetition_aware=True)
    assert aware.is_random
    assert sample(logits, torch.full((1, 10), -1), noise, aware).item() == 0
    assert sample(logits, torch.zeros(1, 10, dtype=torch.long), noise, aware).item() == 3


@pytest.mark.parametrize(
    ("reading", "earlier", "code"), [("text", 1, 0), ("text", 2, 3), ("formula", 0, 0), ("formula", 1, 3)]
)
def test_readings_of_the_repetition_ratio(reading: str, earlier: int, code: int) -> None:
    """With K = 10 and t_r = 0.1, the text samples again from two earlier occurrences, the formula from one."""
    history = torch.tensor([[0] * earlier + [-1] * (10 - earlier)])
    logits = torch.tensor([[9.0, 0.0, 0.0, 0.0]])
    sampling = Sampling(top_p=0.5, repetition_aware=True, ras_reading=reading)
    assert sample(logits, history, torch.tensor([[0.5, 0.9999]]), sampling).item() == code


@pytest.mark.parametrize(
    "wrong", [{"top_p": -0.1}, {"top_p": 1.5}, {"top_k": 0}, {"temperature": -1.0}, {"ras_reading": "both"}]
)
def test_option_out_of_range_is_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        Sampling(**wrong)


@pytest.mark.parametrize("temperature", [-1.0, 5e-324, 1e-30, 9e-4])
def test_temperatures_without_a_distribution_are_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=r"must be 0 or at least 0\.001"):
        Sampling(temperature=temperature)
    with pytest.raises(ValueError, match=r"must be 0 or at least 0\.001"):
        NARSampling(temperature=temperature)

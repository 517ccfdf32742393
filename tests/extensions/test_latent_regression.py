"""Latent regression predicts the sum of the vectors of the codebooks after the first."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import TINY, nar_inputs, random_ids, sharpen
from valle.extensions.latent_regression import VOICE_SHARE, LatentRegressionNAR, move_towards_prompt, prompt_weights
from valle.models.nar import NAR
from valle.models.sampling import NARSampling


def model(codebook_size: int, latent_dim: int) -> LatentRegressionNAR:
    torch.manual_seed(0)
    return LatentRegressionNAR(12, TINY, codebook_size=codebook_size, layers=1, latent_dim=latent_dim)


def test_codes_are_the_nearest_to_what_is_left_of_the_predicted_mean(nar: NAR, monkeypatch: pytest.MonkeyPatch) -> None:
    if not isinstance(nar, LatentRegressionNAR):
        pytest.skip("has no latent regression")
    # Without the move towards the prompt's voice, which has a test of its own.
    monkeypatch.setattr("valle.extensions.latent_regression.VOICE_SHARE", 0.0)
    inputs = nar_inputs(random_ids(1, 5), random_ids(1, 4, 8), random_ids(1, 6)[..., None])
    codes = nar.generate(inputs, NARSampling(temperature=None))
    for stages in (2, 5):
        fewer = nar.generate(inputs, NARSampling(temperature=None, stages=stages))
        assert torch.equal(fewer, codes[..., : 1 + stages])
    predicted = nar.predict(inputs, torch.tensor([1]))[1][0]
    residual = predicted
    vectors = nar.regression.vectors
    for stage in range(1, 8):
        distances = (residual[:, None] - vectors[stage]).norm(dim=-1)
        assert torch.equal(codes[0, :, stage], distances.argmin(-1))
        residual = residual - vectors[stage][codes[0, torch.arange(6), stage]]
    assert residual.norm() < 0.7 * predicted.norm()


def test_loss_is_the_share_of_the_latent_that_is_not_predicted() -> None:
    nar = model(codebook_size=5, latent_dim=6)
    nar.init_from_codebooks(torch.randn(8, 5, 6))
    first = random_ids(4, 30, high=5)
    # The other codebooks are determined by the first.
    codes = torch.cat((first[..., None], (first[..., None] + torch.arange(1, 8)) % 5), dim=-1)
    inputs = nar_inputs(random_ids(4, 5), codes[:, :9], codes)
    stages = torch.tensor([1, 1, 3, 7])

    def unexplained(ignored: torch.Tensor | None = None) -> torch.Tensor:
        return nar.loss(inputs, stages, ignored)[0]["unexplained"]

    assert unexplained() == 1.0  # the prediction begins as zero
    optimizer = torch.optim.Adam(nar.parameters(), 0.01)
    for _ in range(60):
        loss = unexplained()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert unexplained() < 0.1
    all_but_one = torch.ones(4, 30, dtype=torch.bool).index_fill(1, torch.tensor([0]), False)
    assert unexplained(all_but_one) != unexplained()


def test_wrong_latent_dim_is_named() -> None:
    with pytest.raises(ValueError, match="latent_dim is 5"):
        model(codebook_size=50, latent_dim=6).init_from_codebooks(torch.randn(8, 50, 5))


def test_slowly_varying_part_is_moved_towards_the_prompt() -> None:
    torch.manual_seed(0)
    voice = torch.randn(1, 1, 3)
    detail = torch.randn(1, 12, 3)
    detail[:, 5:] = 0
    moved = move_towards_prompt(detail, detail + voice, torch.tensor([12]))
    torch.testing.assert_close(moved, detail + VOICE_SHARE * voice)
    similar = torch.randn(1, 12, 3)
    alone = move_towards_prompt(detail[:, :7], similar[:, :7], torch.tensor([7]))
    # Padding has no influence.
    torch.testing.assert_close(move_towards_prompt(detail, similar, torch.tensor([7]))[:, :7], alone)


def test_prompt_frames_are_weighted_by_their_first_codes_and_padding_is_not() -> None:
    vectors = 9 * torch.eye(4)
    weights = prompt_weights(vectors[[0, 2]][None], vectors[[2, 0, 0, 2]][None], torch.tensor([3]))
    torch.testing.assert_close(weights[:, 0], torch.full((1, 2, 4), 1 / 3).index_fill(2, torch.tensor([3]), 0.0))
    torch.testing.assert_close(weights[:, -1], torch.tensor([[[0, 0.5, 0.5, 0], [1.0, 0, 0, 0]]]))


def test_generated_latents_are_near_those_of_the_prompt() -> None:
    """Of two prompts that differ only in the codebooks after the first, each attracts the generated codes."""
    nar = sharpen(model(codebook_size=50, latent_dim=5)).eval()
    vectors = torch.randn(8, 50, 5)
    nar.init_from_codebooks(vectors)
    first = random_ids(1, 20)
    prompt = random_ids(1, 20, 8)
    prompts = [torch.cat((first[..., None], p[..., 1:]), dim=-1) for p in (prompt, (prompt + 7) % 50)]

    def mean_latent(codes: torch.Tensor) -> torch.Tensor:
        return sum(vectors[j][codes[..., j]] for j in range(1, 8)).mean(1)

    one, other = (mean_latent(nar.generate(nar_inputs(random_ids(1, 5), p, first[..., None]))) for p in prompts)
    own = mean_latent(prompts[0])
    assert (one - own).norm() < 0.7 * (other - own).norm()

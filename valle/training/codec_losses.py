"""Adversarial losses of codec training and EnCodec's loss balancer (arXiv 2210.13438, section 3.4).

Losses between a reconstruction and its input are in `valle.codec.reconstruction_loss`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Compute the discriminators' hinge loss, mean over scales (EnCodec, equation 4).

    Args:
        real: Scores of recordings, one tensor per scale.
        fake: Scores of reconstructions, one tensor per scale.

    Returns:
        A scalar.
    """
    losses = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def adversarial_losses(
    fake: list[Tensor], fake_features: list[list[Tensor]], real_features: list[list[Tensor]]
) -> dict[str, Tensor]:
    """Compute the generator's hinge loss and the relative feature matching loss (EnCodec, equation 2).

    Args:
        fake: Scores of reconstructions, one tensor per scale.
        fake_features: Activations of the discriminators on reconstructions, by scale and layer.
        real_features: The same on recordings.

    Returns:
        The scalars `adversarial` and `features`.
    """
    hinge = torch.stack([F.relu(1 - f).mean() for f in fake]).mean()
    matching = [
        F.l1_loss(f, r.detach()) / r.detach().abs().mean()
        for fake_scale, real_scale in zip(fake_features, real_features, strict=True)
        for f, r in zip(fake_scale, real_scale, strict=True)
    ]
    return {"adversarial": hinge, "features": torch.stack(matching).mean()}


class Balancer:
    """Make the weight of a loss its share of the gradient at the output, whatever the scale of the loss.

    g_i = d loss_i / d output is rescaled to `weight_i / sum(weights) * g_i / average(|g_i|)` (EnCodec, equation 5),
    where the average is an exponential moving average.

    Args:
        weights: Weight of each loss by name.
        decay: Decay of the moving average per step.
    """

    def __init__(self, weights: dict[str, float], decay: float = 0.99) -> None:
        self.weights = weights
        self.decay = decay
        # By loss: the decayed sum of norms, and the decayed number of norms in it.
        self.norms: dict[str, tuple[float, float]] = {}

    def gradient(self, losses: dict[str, Tensor], output: Tensor) -> Tensor:
        """Return the balanced gradient of all `losses` with respect to `output`, of a norm of about 1."""
        total = torch.zeros_like(output)
        weight_sum = sum(self.weights[name] for name in losses)
        for name, loss in losses.items():
            (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
            norm, count = self.norms.get(name, (0.0, 0.0))
            self.norms[name] = (norm * self.decay + float(gradient.norm()), count * self.decay + 1)
            # Dividing by the decayed count corrects the bias of the first steps.
            average = self.norms[name][0] / self.norms[name][1]
            total += self.weights[name] / weight_sum / (average + 1e-12) * gradient
        return total

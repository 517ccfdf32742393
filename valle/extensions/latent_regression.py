"""Latent regression: predict the sum of the vectors of the codebooks after the first.

For small NAR models. A network that regresses the latent that the other codebooks sum to learns in hundreds of steps
what a classifier of codes had not learned in thousands. It also gives better speech where the model is uncertain: the
predicted mean in place of one guess for each codebook. Not in the papers; docs/experiments.md
describes its effect.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from valle.codec.convnext import ConvNeXtBlock
from valle.models.config import TransformerConfig
from valle.models.nar import NAR, NARInputs
from valle.models.sampling import NARSampling
from valle.models.sequence import Padded, length_mask

# How similar a first code must be for a prompt frame to count, by head: from all frames alike to the nearest only.
SHARPNESS = (0.0, 1.0, 8.0)
# How far, and smoothed over how many frames, the predicted mean is moved towards the prompt's voice. A larger share has
# a higher speaker similarity and more word errors; see docs/experiments.md.
VOICE_SHARE = 0.65
VOICE_FRAMES = 5


def prompt_weights(first: Tensor, prompt_first: Tensor, prompt_lengths: Tensor) -> Tensor:
    """Weight the prompt's frames by the similarity of their first codes to those of the target.

    Args:
        first: (batch, frames, latent_dim) vectors of the target's first codes.
        prompt_first: (batch, time, latent_dim) vectors of the prompt's first codes.
        prompt_lengths: (batch,); frames beyond them have no weight.

    Returns:
        (batch, head, frames, time), each row summing to 1; one head for each of `SHARPNESS`.
    """
    sharpness = first.new_tensor(SHARPNESS)[:, None, None]
    distance = torch.cdist(first, prompt_first).square() / first.shape[2]
    padding = ~length_mask(prompt_lengths, prompt_first.shape[1])[:, None, None]
    return (-distance[:, None] * sharpness).masked_fill(padding, -1e9).softmax(-1)


def move_towards_prompt(predicted: Tensor, prompt_latents: Tensor, lengths: Tensor) -> Tensor:
    """Move the slowly varying part of predicted latents towards that of the prompt's similar frames.

    The mean that a small model predicts lies between the speaker and all others.

    Args:
        predicted: (batch, frames, latent_dim).
        prompt_latents: (batch, frames, latent_dim), latents of the prompt's frames with similar first codes.
        lengths: (batch,) frames.

    Returns:
        (batch, frames, latent_dim).
    """
    mask = length_mask(lengths, predicted.shape[1])[:, None].to(predicted.dtype)

    def smooth(x: Tensor) -> Tensor:
        sums = F.avg_pool1d(x.transpose(1, 2) * mask, VOICE_FRAMES, 1, VOICE_FRAMES // 2)
        counts = F.avg_pool1d(mask, VOICE_FRAMES, 1, VOICE_FRAMES // 2)
        return (sums / counts.clamp(min=1e-9)).transpose(1, 2)

    return predicted + VOICE_SHARE * smooth(prompt_latents - predicted)


class LatentRegression(nn.Module):
    """Convolutions over first codes, and over the latents of the prompt's frames with similar first codes.

    Args:
        dim: Width, the transformer's.
        layers: ConvNeXt blocks.
        codebook_size: Entries of a codebook.
        num_codebooks: Codebooks.
        latent_dim: Width of the codec's vectors.
        dropout: Dropout probability of the blocks' input and of the features.

    Attributes:
        vectors: (codebook, entry, latent_dim) the codec's vectors.
    """

    vectors: Tensor

    def __init__(
        self, dim: int, layers: int, codebook_size: int, num_codebooks: int, latent_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(num_codebooks, codebook_size, latent_dim))
        self.code_mean = nn.Embedding(codebook_size, latent_dim)  # of frames with this first code
        self.embedding = nn.Embedding(codebook_size, dim)
        self.inputs = nn.Linear((2 + len(SHARPNESS)) * latent_dim, dim)
        self.norm_in = nn.LayerNorm(dim)
        self.norm_out = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(ConvNeXtBlock(dim, 3 * dim, 1 / layers) for _ in range(layers))
        self.out = nn.Linear(dim, latent_dim)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=0.1)
        for parameter in (self.code_mean.weight, self.out.weight, self.out.bias):
            nn.init.zeros_(parameter)

    def latent(self, codes: Tensor) -> Tensor:
        """Sum the vectors of the codebooks after the first: (batch, time, codebook) -> (batch, time, latent_dim)."""
        latent = self.vectors[1][codes[..., 1]]
        for codebook in range(2, codes.shape[2]):
            latent = latent + self.vectors[codebook][codes[..., codebook]]
        return latent

    def _attend_to_prompt(self, first: Tensor, prompt: Padded, values: Tensor) -> Tensor:
        """Average the prompt frames' `values` (batch, time, dim): (batch, head, frames, dim)."""
        vectors = self.vectors[0].float()
        weights = prompt_weights(vectors[first], vectors[prompt.values[..., 0]], prompt.lengths)
        return weights.to(values.dtype) @ values[:, None]

    def forward(self, first: Tensor, lengths: Tensor, prompt: Padded) -> tuple[Tensor, Tensor]:
        """Predict the latent of the target.

        Args:
            first: (batch, frames) first codebook.
            lengths: (batch,) frames.
            prompt: (batch, time, codebook) acoustic prompt.

        Returns:
            Features (batch, frames, dim), and the predicted mean of the latent (batch, frames, latent_dim).
        """
        mean = self.code_mean(first)
        deviation = self.latent(prompt.values) - self.code_mean(prompt.values[..., 0])
        similar = rearrange(self._attend_to_prompt(first, prompt, deviation), "b h t d -> b t (h d)")
        x = self.inputs(torch.cat((self.vectors[0][first], mean, similar), dim=-1))
        x = self.dropout(self.norm_in(x + self.embedding(first)))
        mask = length_mask(lengths, first.shape[1])[..., None].to(x.dtype)
        for block in self.blocks:
            x = block(x, mask)
        features = self.dropout(self.norm_out(x))
        return features, mean + self.out(features)

    def codes(self, predicted: Tensor, first: Tensor, lengths: Tensor, prompt: Padded, stages: int) -> Tensor:
        """Quantize the predicted mean, moved towards the prompt's voice.

        Args:
            predicted: (batch, frames, latent_dim).
            first: (batch, frames) first codebook.
            lengths: (batch,) frames.
            prompt: (batch, time, codebook) acoustic prompt.
            stages: Codebooks after the first.

        Returns:
            (batch, frames, 1 + stages). Each code is the nearest to what those before it leave over.
        """
        similar = self._attend_to_prompt(first, prompt, self.latent(prompt.values))[:, -1]
        residual = move_towards_prompt(predicted, similar, lengths).float()
        codes = [first]
        for vectors in self.vectors[1 : 1 + stages].float():
            codes.append(torch.cdist(residual, vectors).argmin(-1))
            residual = residual - vectors[codes[-1]]
        return torch.stack(codes, dim=-1)


class LatentRegressionNAR(NAR):
    """A NAR model with latent regression: the transformer reads its features and corrects its predicted mean.

    Args:
        vocabulary_size: Number of text ids.
        config: Sizes of the transformer.
        layers: ConvNeXt blocks of the regression.
        latent_dim: Width of the codec's vectors.
        options: Other arguments of `NAR`.
    """

    def __init__(
        self, vocabulary_size: int, config: TransformerConfig, *, layers: int, latent_dim: int, **options: Any
    ) -> None:
        super().__init__(vocabulary_size, config, **options)
        self.regression = LatentRegression(
            config.dim, layers, self.codebook_size, self.num_codebooks, latent_dim, dropout=config.dropout
        )
        self.correction = nn.Linear(config.dim, latent_dim)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)
        # Optimizer states of checkpoints are stored by the position of a parameter: keep the order of former versions.
        for name in ("phoneme_positions", "prompt_positions", "target_positions", "transformer"):
            self._modules[name] = self._modules.pop(name)

    @torch.no_grad()
    def init_from_codebooks(self, vectors: Tensor) -> None:
        """Initialize the code embeddings and the regression with the codec's vectors (codebook, entry, latent_dim).

        Raises:
            ValueError: `latent_dim` is not the codec's.
        """
        super().init_from_codebooks(vectors)
        if self.regression.vectors.shape != vectors.shape:
            raise ValueError(f"the codec's latent_dim is {vectors.shape[2]}; set it so")
        self.regression.vectors.copy_(vectors)

    def predict(self, inputs: NARInputs, stages: Tensor) -> tuple[Tensor, Tensor]:
        """Run regression and transformer.

        Args:
            inputs: See `NAR.forward`.
            stages: See `NAR.forward`.

        Returns:
            The transformer's outputs (batch, frames, dim), and the predicted mean (batch, frames, latent_dim).
        """
        codes, lengths = inputs.codes
        features, predicted = self.regression(codes[..., 0], lengths, inputs.prompt)
        hidden = super().encode(inputs, stages, features)
        # Rows of later stages read more than the first codebook: their correction would be of another prediction.
        first_stage = (stages == 1)[:, None, None]
        return hidden, predicted + self.correction(hidden) * first_stage

    def encode(self, inputs: NARInputs, stages: Tensor, features: Tensor | None = None) -> Tensor:
        """Run the transformer on the target with the features of the regression, see `NAR.encode`."""
        return self.predict(inputs, stages)[0]

    def loss(
        self, inputs: NARInputs, stages: Tensor, ignored: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Compute the losses of `NAR.loss`, and "unexplained": the share of the latent's energy not predicted."""
        hidden, predicted = self.predict(inputs, stages)
        losses, logits, targets = self.loss_of(hidden, inputs, stages, ignored)
        latent = self.regression.latent(inputs.codes.values)
        padding = (targets == -100)[..., None]
        error = (latent - predicted).float().square().masked_fill(padding, 0).sum()
        energy = latent.float().square().masked_fill(padding, 0).sum()
        return {**losses, "unexplained": error / energy}, logits, targets

    @torch.inference_mode()
    def generate(self, inputs: NARInputs, sampling: NARSampling = NARSampling(), noise: Tensor | None = None) -> Tensor:
        """Fill in the codebooks after the first, see `NAR.generate`.

        Without a temperature, the codes of the predicted mean: one pass for all codebooks.
        """
        if sampling.temperature is not None:
            return super().generate(inputs, sampling, noise)
        codes, lengths = inputs.codes
        _, predicted = self.predict(inputs, torch.ones_like(lengths))
        stages = min(sampling.stages, self.num_codebooks - 1)
        return self.regression.codes(predicted, codes[..., 0], lengths, inputs.prompt, stages)

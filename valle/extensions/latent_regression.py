"""What a frame's other codebooks are expected to sum to, from first codes and an acoustic prompt.

For small NAR models (egs/bundled/README.md): a network that regresses the sum of the codes' vectors learns in hundreds
of steps what one that classifies codes has not found in thousands.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from valle.codec.convnext import ConvNeXtBlock
from valle.models.transformer import length_mask

# How like a first code has to be for a prompt frame to count, a head each: from all frames alike to the nearest.
SHARPNESS = (0.0, 1.0, 8.0)
# How far and over how many frames what is expected is moved towards the prompt's voice: egs/bundled/README.md.
VOICE_SHARE, VOICE_FRAMES = 0.65, 5


def near(first: Tensor, prompt_first: Tensor, prompt_lengths: Tensor) -> Tensor:
    """How much each prompt frame counts for each target frame, by how near the vectors of their first codes are.

    first (batch, frames, dim), prompt_first (batch, time, dim) -> (batch, SHARPNESS, frames, time) whose rows sum
    to 1; prompt frames past a row's length count for nothing.
    """
    sharpness = first.new_tensor(SHARPNESS)[:, None, None]
    distance = torch.cdist(first, prompt_first).square() / first.shape[2]
    unseen = ~length_mask(prompt_lengths, prompt_first.shape[1])[:, None, None]
    return (-distance[:, None] * sharpness).masked_fill(unseen, -1e9).softmax(-1)


def towards_prompt(expected: Tensor, found: Tensor, lengths: Tensor) -> Tensor:
    """Move what varies slowly in expected vectors towards what the prompt has in like frames, all (batch, frames, dim).

    A small model is too little sure of a voice, so what it expects is nearer to everyone's than the speaker's own.
    """
    inside = length_mask(lengths, expected.shape[1])[:, None].to(expected.dtype)

    def smooth(x: Tensor) -> Tensor:
        parts = x.transpose(1, 2) * inside, inside  # padding counts for nothing
        sums, counts = (F.avg_pool1d(part, VOICE_FRAMES, 1, VOICE_FRAMES // 2) for part in parts)
        return (sums / counts.clamp(min=1e-9)).transpose(1, 2)

    return expected + VOICE_SHARE * smooth(found - expected)


class Expectation(nn.Module):
    """Convolutions over first codes and over what the prompt has where its first codes are like them.

    Args:
        dim: width, the transformer's.
        layers: ConvNeXt blocks.
        codebook_size, num_codebooks, latent_dim: sizes of the codec's codebooks, whose vectors it has for itself.
        dropout: probability, of what goes into the blocks and of the features.
    """

    vectors: Tensor

    def __init__(
        self, dim: int, layers: int, codebook_size: int, num_codebooks: int, latent_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(num_codebooks, codebook_size, latent_dim))
        self.usual = nn.Embedding(codebook_size, latent_dim)  # with this first code, whatever is around it
        self.embedding = nn.Embedding(codebook_size, dim)
        self.inputs = nn.Linear((2 + len(SHARPNESS)) * latent_dim, dim)
        self.norm_in, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(ConvNeXtBlock(dim, 3 * dim, 1 / layers) for _ in range(layers))
        self.out = nn.Linear(dim, latent_dim)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=0.1)
        for zero in (self.usual.weight, self.out.weight, self.out.bias):
            nn.init.zeros_(zero)

    def rest(self, codes: Tensor) -> Tensor:
        """What the codebooks after the first sum to: (batch, time, codebook) -> (batch, time, latent_dim)."""
        return sum((self.vectors[j][codes[..., j]] for j in range(2, codes.shape[2])), self.vectors[1][codes[..., 1]])

    def _found(self, first: Tensor, prompt: Tensor, prompt_lengths: Tensor, values: Tensor) -> Tensor:
        """Means of the prompt frames' `values` (batch, time, dim): (batch, SHARPNESS, frames, dim)."""
        vectors = self.vectors[0].float()
        weights = near(vectors[first], vectors[prompt[..., 0]], prompt_lengths)
        return weights.to(values.dtype) @ values[:, None]

    def forward(self, first: Tensor, lengths: Tensor, prompt: Tensor, prompt_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """First codes (batch, frames) and a prompt (batch, time, codebook) -> features (batch, frames, dim) and what
        is expected of the rest, (batch, frames, latent_dim)."""
        usual, own = self.usual(first), self.rest(prompt) - self.usual(prompt[..., 0])
        found = rearrange(self._found(first, prompt, prompt_lengths, own), "b h t d -> b t (h d)")
        x = self.inputs(torch.cat((self.vectors[0][first], usual, found), dim=-1))
        x = self.dropout(self.norm_in(x + self.embedding(first)))
        mask = length_mask(lengths, first.shape[1])[..., None].to(x.dtype)
        for block in self.blocks:
            x = block(x, mask)
        features = self.dropout(self.norm_out(x))
        return features, usual + self.out(features)

    def codes(
        self, expected: Tensor, first: Tensor, lengths: Tensor, prompt: Tensor, prompt_lengths: Tensor, stages: int
    ) -> Tensor:
        """The codes that sum to what is expected, moved towards the prompt's voice: (batch, frames, 1 + stages).

        Each is the nearest to what the ones before leave over.
        """
        found = self._found(first, prompt, prompt_lengths, self.rest(prompt))[:, -1]
        left, codes = towards_prompt(expected, found, lengths).float(), [first]
        for vectors in self.vectors[1 : 1 + stages].float():
            codes.append(torch.cdist(left, vectors).argmin(-1))
            left = left - vectors[codes[-1]]
        return torch.stack(codes, dim=-1)

"""The non-autoregressive model: phonemes, an acoustic prompt and codebooks < j -> codebook j, all frames at once.

VALL-E (arXiv 2301.02111, section 4.2.2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from valle.models.transformer import Transformer, TransformerConfig, length_mask, sinusoidal_positions, splice


class NeighbouringFrames(nn.Module):
    """Two convolutions over time around a residual: what attention would have to find out about neighbours."""

    def __init__(self, dim: int, frames: int) -> None:
        super().__init__()
        self.expand = nn.Conv1d(dim, 2 * dim, frames, padding=frames // 2)
        self.contract = nn.Conv1d(2 * dim, dim, 3, padding=1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x: (batch, time, dim), right-padded to (batch,) lengths; returns its shape."""
        mask = length_mask(lengths, x.shape[1])[:, None]
        hidden = F.gelu(self.expand(x.transpose(1, 2) * mask))
        return x + self.contract(hidden * mask).transpose(1, 2)


class NAR(nn.Module):
    """A transformer with full attention over `phonemes ++ prompt ++ target`; stage j enters by adaptive layer norm.

    Args:
        vocabulary_size: number of phoneme ids; id 0 is padding.
        config: sizes of the transformer.
        codebook_size: entries of each codebook.
        num_codebooks: stages are 1 .. num_codebooks - 1; codebook 0 is the AR model's.
        local_frames: frames that a convolution over the target's embeddings sees; 0 is the paper, without one.
    """

    def __init__(
        self,
        vocabulary_size: int,
        config: TransformerConfig,
        codebook_size: int = 1024,
        num_codebooks: int = 8,
        local_frames: int = 0,
    ) -> None:
        super().__init__()
        if local_frames and local_frames % 2 == 0:
            raise ValueError(f"local_frames {local_frames} must be odd, or 0 for none")
        self.config, self.codebook_size, self.num_codebooks = config, codebook_size, num_codebooks
        self.phoneme_embedding = nn.Embedding(vocabulary_size, config.dim)
        # Entry j embeds codebook j, and its transpose is the output projection of stage j (tied, section 4.2.2).
        self.code_embeddings = nn.ModuleList(nn.Embedding(codebook_size, config.dim) for _ in range(num_codebooks))
        self.stage_embedding = nn.Embedding(num_codebooks, config.dim)
        self.neighbours = NeighbouringFrames(config.dim, local_frames) if local_frames else None
        self.transformer = Transformer(config, adaptive=True)
        for embedding in (self.phoneme_embedding, *self.code_embeddings):
            nn.init.normal_(embedding.weight, std=0.02)
        self.position_scale = nn.Parameter(torch.full((3,), 0.02 * config.dim**0.5))  # phonemes, prompt, target

    @torch.no_grad()
    def start_from_codebooks(self, vectors: Tensor) -> None:
        """Let the code embeddings begin as the codec's vectors (codebook, entry, latent_dim), turned at random.

        All are scaled alike, so the embeddings of a frame's codes sum to its latent, and codes that sound alike begin
        alike on the way in and, the projections being tied, on the way out.
        """
        turn = nn.init.orthogonal_(torch.empty(vectors.shape[2], self.config.dim, device=vectors.device))
        turned = (vectors - vectors.mean(1, keepdim=True)) @ turn
        for embedding, weight in zip(self.code_embeddings, 0.02 * turned / turned[0].std(), strict=True):
            embedding.get_parameter("weight").copy_(weight)

    def _place(self, embedded: Tensor, part: int) -> Tensor:
        """Add the part's own positions, which begin at 0 (section 4.2.2)."""
        positions = torch.arange(embedded.shape[1], device=embedded.device)
        return embedded + self.position_scale[part] * sinusoidal_positions(positions, self.config.dim)

    def embed_phonemes(self, phonemes: Tensor) -> Tensor:
        """(batch, time) ids -> (batch, time, dim)."""
        return self.phoneme_embedding(phonemes) * self.config.dim**0.5

    def embed_codes(self, codes: Tensor, below: Tensor | None = None) -> Tensor:
        """Sum of the embeddings of a frame's codebooks: (batch, time, codebook) -> (batch, time, dim).

        below: (batch,), of each row only the codebooks below this one; None: all
        """
        embedded = self.code_embeddings[0](codes[..., 0])
        for codebook in range(1, codes.shape[2]):
            summand = self.code_embeddings[codebook](codes[..., codebook])
            if below is not None:
                summand = summand * (codebook < below)[:, None, None]
            embedded = embedded + summand
        return embedded * self.config.dim**0.5

    def forward(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        prompt: Tensor,
        prompt_lengths: Tensor,
        codes: Tensor,
        code_lengths: Tensor,
        stages: Tensor,
    ) -> Tensor:
        """Logits of each row's codebook `stages` (batch,) for every target frame: (batch, frames, codebook_size).

        phonemes (batch, time) ids; prompt (batch, frames, num_codebooks); codes (batch, frames, >= stage): only
        codebooks below a row's stage are used. All are right-padded, with (batch,) lengths.
        """
        target = self.embed_codes(codes, stages)
        if self.neighbours is not None:
            target = self.neighbours(target, code_lengths)
        parts = [
            (self._place(self.embed_phonemes(phonemes), 0), phoneme_lengths),
            (self._place(self.embed_codes(prompt), 1), prompt_lengths),
            (self._place(target, 2), code_lengths),
        ]
        sequence, lengths = splice(parts)
        sequence = sequence[:, : int(lengths.max())]
        mask = None
        if int(lengths.min()) < sequence.shape[1]:
            mask = length_mask(lengths, sequence.shape[1])[:, None, None]
        hidden = self.transformer(sequence, mask=mask, stage=self.stage_embedding(stages))
        frames = torch.arange(codes.shape[1], device=codes.device)
        index = (lengths - code_lengths)[:, None] + frames
        index = index.clamp(max=hidden.shape[1] - 1)[..., None].expand(-1, -1, hidden.shape[2])
        projections = torch.stack([e.get_parameter("weight") for e in self.code_embeddings])[stages]
        return hidden.gather(1, index) @ projections.transpose(1, 2)

    def loss(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        prompt: Tensor,
        prompt_lengths: Tensor,
        codes: Tensor,
        code_lengths: Tensor,
        stages: Tensor,
        given: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cross entropy of each row's codebook `stages` over the target frames, with logits and targets.

        given: (batch, frames) bool, frames that are not to be predicted; they and the padding have target -100
        """
        logits = self(phonemes, phoneme_lengths, prompt, prompt_lengths, codes, code_lengths, stages)
        targets = codes.gather(2, stages[:, None, None].expand(-1, codes.shape[1], 1))[..., 0]
        targets = targets.masked_fill(~length_mask(code_lengths, codes.shape[1]), -100)
        if given is not None:
            targets = targets.masked_fill(given, -100)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-100), logits, targets

    @torch.inference_mode()
    def generate(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        prompt: Tensor,
        prompt_lengths: Tensor,
        first_codebook: Tensor,
        code_lengths: Tensor,
    ) -> Tensor:
        """Fill in codebooks 1 .. 7 greedily, one pass each: (batch, frames) -> (batch, frames, num_codebooks)."""
        codes = first_codebook[..., None]
        for stage in range(1, self.num_codebooks):
            stages = torch.full_like(code_lengths, stage)
            logits = self(phonemes, phoneme_lengths, prompt, prompt_lengths, codes, code_lengths, stages)
            codes = torch.cat((codes, logits.argmax(-1, keepdim=True)), dim=-1)
        return codes

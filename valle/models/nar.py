"""The non-autoregressive model: phonemes, an acoustic prompt and codebooks < j -> codebook j, all frames at once.

VALL-E (arXiv 2301.02111, section 4.2.2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from valle.models.transformer import Transformer, TransformerConfig, length_mask, sinusoidal_positions, splice


class NAR(nn.Module):
    """A transformer with full attention over `phonemes ++ prompt ++ target`; stage j enters by adaptive layer norm.

    Args:
        vocabulary_size: number of phoneme ids; id 0 is padding.
        config: sizes of the transformer.
        codebook_size: entries of each codebook.
        num_codebooks: stages are 1 .. num_codebooks - 1; codebook 0 is the AR model's.
    """

    def __init__(
        self, vocabulary_size: int, config: TransformerConfig, codebook_size: int = 1024, num_codebooks: int = 8
    ) -> None:
        super().__init__()
        self.config, self.codebook_size, self.num_codebooks = config, codebook_size, num_codebooks
        self.phoneme_embedding = nn.Embedding(vocabulary_size, config.dim)
        # Entry j embeds codebook j, and its transpose is the output projection of stage j (tied, section 4.2.2).
        self.code_embeddings = nn.ModuleList(nn.Embedding(codebook_size, config.dim) for _ in range(num_codebooks))
        self.stage_embedding = nn.Embedding(num_codebooks, config.dim)
        self.transformer = Transformer(config, adaptive=True)
        for embedding in (self.phoneme_embedding, *self.code_embeddings):
            nn.init.normal_(embedding.weight, std=0.02)
        self.position_scale = nn.Parameter(torch.full((3,), 0.02 * config.dim**0.5))  # phonemes, prompt, target

    def _embed(self, embedded: Tensor, part: int) -> Tensor:
        """Scale an embedding and add the part's own positions, which begin at 0 (section 4.2.2)."""
        positions = torch.arange(embedded.shape[1], device=embedded.device)
        sinusoids = sinusoidal_positions(positions, self.config.dim)
        return embedded * self.config.dim**0.5 + self.position_scale[part] * sinusoids

    def embed_codes(self, codes: Tensor) -> Tensor:
        """Sum of the embeddings of codebooks 0 .. n-1: (batch, time, n) -> (batch, time, dim)."""
        embedded = self.code_embeddings[0](codes[..., 0])
        for codebook in range(1, codes.shape[2]):
            embedded = embedded + self.code_embeddings[codebook](codes[..., codebook])
        return embedded

    def forward(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        prompt: Tensor,
        prompt_lengths: Tensor,
        codes: Tensor,
        code_lengths: Tensor,
        stage: int,
    ) -> Tensor:
        """Logits of codebook `stage` for every target frame: (batch, frames, codebook_size).

        phonemes (batch, time) ids; prompt (batch, frames, num_codebooks); codes (batch, frames, >= stage): only
        codebooks below `stage` are read. All are right-padded, with (batch,) lengths.
        """
        if not 1 <= stage < self.num_codebooks:
            raise ValueError(f"stage {stage} is not between 1 and {self.num_codebooks - 1}")
        text = self._embed(self.phoneme_embedding(phonemes), 0)
        voice = self._embed(self.embed_codes(prompt), 1)
        target = self._embed(self.embed_codes(codes[..., :stage]), 2)
        parts = [(text, phoneme_lengths), (voice, prompt_lengths), (target, code_lengths)]
        sequence, lengths = splice(parts)
        sequence = sequence[:, : int(lengths.max())]
        mask = None
        if int(lengths.min()) < sequence.shape[1]:
            mask = length_mask(lengths, sequence.shape[1])[:, None, None]
        hidden = self.transformer(sequence, mask=mask, stage=self.stage_embedding.weight[stage])
        frames = torch.arange(codes.shape[1], device=codes.device)
        index = (lengths - code_lengths)[:, None] + frames
        index = index.clamp(max=hidden.shape[1] - 1)[..., None].expand(-1, -1, hidden.shape[2])
        return F.linear(hidden.gather(1, index), self.code_embeddings[stage].get_parameter("weight"))

    def loss(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        prompt: Tensor,
        prompt_lengths: Tensor,
        codes: Tensor,
        code_lengths: Tensor,
        stage: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cross entropy of codebook `stage` over the target frames, with logits and targets (-100: padding)."""
        logits = self(phonemes, phoneme_lengths, prompt, prompt_lengths, codes, code_lengths, stage)
        targets = codes[..., stage].masked_fill(~length_mask(code_lengths, codes.shape[1]), -100)
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
            logits = self(phonemes, phoneme_lengths, prompt, prompt_lengths, codes, code_lengths, stage)
            codes = torch.cat((codes, logits.argmax(-1, keepdim=True)), dim=-1)
        return codes

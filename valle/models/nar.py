"""The non-autoregressive model: phonemes, an acoustic prompt and codebooks < j -> codebook j, all frames at once.

VALL-E (arXiv 2301.02111, section 4.2.2) and VALL-E 2 (arXiv 2406.05370, section 3.3.2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from valle.models.sampling import NARSampling, draw
from valle.models.transformer import Layout, Positions, Transformer, TransformerConfig, length_mask, splice


class NeighbouringFrames(nn.Module):
    """Two convolutions over time around a residual, and a norm: what attention would have to find out about frames
    near by."""

    def __init__(self, dim: int, frames: int) -> None:
        super().__init__()
        self.expand = nn.Conv1d(dim, 2 * dim, frames, padding=frames // 2)
        self.contract = nn.Conv1d(2 * dim, dim, 3, padding=1)
        self.norm = nn.LayerNorm(dim)  # or the sum grows until nothing that the blocks add to it is heard

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x: (batch, time, dim), right-padded to (batch,) lengths; returns its shape."""
        mask = length_mask(lengths, x.shape[1])[:, None]
        hidden = F.gelu(self.expand(x.transpose(1, 2) * mask))
        return self.norm(x + self.contract(hidden * mask).transpose(1, 2))


def near(first: Tensor, prompt_first: Tensor, prompt_lengths: Tensor, sharpness: Tensor) -> Tensor:
    """How much each prompt frame counts for each target frame, by how near the vectors of their first codes are.

    first (batch, frames, dim), prompt_first (batch, time, dim), sharpness (heads,) -> (batch, heads, frames, time)
    whose rows sum to 1; prompt frames past a row's length count for nothing.
    """
    distance = torch.cdist(first, prompt_first).square() / first.shape[2]
    unseen = ~length_mask(prompt_lengths, prompt_first.shape[1])[:, None, None]
    return (-distance[:, None] * sharpness[:, None, None]).masked_fill(unseen, -1e9).softmax(-1)


class PromptLookup(nn.Module):
    """What the prompt's frames of like first codes hold: what attention would have to find out about the voice.

    Each head weighs the prompt's frames by how near their first code's embedding is to the target frame's, one nearly
    all of them alike, others ever fewer.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.log_sharpness = nn.Parameter(torch.linspace(-2.0, 3.5, heads))
        self.out = nn.Linear(heads * dim, dim)
        nn.init.zeros_(self.out.weight)

    def forward(self, first: Tensor, prompt_first: Tensor, prompt: Tensor, prompt_lengths: Tensor) -> Tensor:
        """Embeddings of first codes, (batch, frames, dim) of the target and (batch, time, dim) of the prompt, and of
        all the prompt's codes -> (batch, frames, dim) to be added to the target."""
        query, key = (F.layer_norm(x, x.shape[-1:]).float() for x in (first, prompt_first))
        found = near(query, key, prompt_lengths, self.log_sharpness.exp()).to(prompt.dtype) @ prompt[:, None]
        return self.out(rearrange(found, "b h t d -> b t (h d)"))


# How far, by what likeness of first codes and over how many frames a model with a lookup is moved towards the prompt's
# voice: egs/bundled/README.md.
VOICE_SHARE, VOICE_SHARPNESS, VOICE_FRAMES = 0.6, 8.0, 5


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


class NAR(nn.Module):
    """A transformer with full attention over `phonemes ++ prompt ++ target`.

    Args:
        vocabulary_size: number of phoneme ids; id 0 is padding.
        config: sizes of the transformer.
        codebook_size: entries of each codebook.
        num_codebooks: stages are 1 .. num_codebooks - 1; codebook 0 is the AR model's.
        local_frames: frames that a convolution over the target's embeddings sees; 0 is the papers, without one.
        lookup_heads: heads that add to each target frame what the prompt has where its first codes are like it; 0 is
            the papers, without any.
        layout: "valle": stage j enters by adaptive layer norm, and phonemes, prompt and target have positions of their
            own. "valle2": stage j enters as the last token of the sequence, end marks part it from the codes and these
            from the text, prompt and target are one run of positions, and positions are learned (equations 12 to 14).
    """

    def __init__(
        self,
        vocabulary_size: int,
        config: TransformerConfig,
        codebook_size: int = 1024,
        num_codebooks: int = 8,
        local_frames: int = 0,
        lookup_heads: int = 0,
        layout: Layout = "valle",
    ) -> None:
        super().__init__()
        if local_frames and local_frames % 2 == 0:
            raise ValueError(f"local_frames {local_frames} must be odd, or 0 for none")
        self.config, self.codebook_size, self.num_codebooks = config, codebook_size, num_codebooks
        self.layout = layout
        self.phoneme_embedding = nn.Embedding(vocabulary_size + (layout == "valle2"), config.dim)  # the last: end mark
        # Entry j embeds codebook j, and its transpose is the output projection of stage j (tied, section 4.2.2).
        self.code_embeddings = nn.ModuleList(nn.Embedding(codebook_size, config.dim) for _ in range(num_codebooks))
        self.stage_embedding = nn.Embedding(num_codebooks, config.dim)
        self.neighbours = NeighbouringFrames(config.dim, local_frames) if local_frames else None
        self.lookup = PromptLookup(config.dim, lookup_heads) if lookup_heads else None
        self.phoneme_positions = Positions(config.dim, learned=layout == "valle2")
        self.prompt_positions = Positions(config.dim, learned=layout == "valle2")
        self.target_positions = Positions(config.dim, learned=False) if layout == "valle" else self.prompt_positions
        self.transformer = Transformer(config, adaptive=layout == "valle")
        for embedding in (self.phoneme_embedding, *self.code_embeddings):
            nn.init.normal_(embedding.weight, std=0.02)
        # Of length one: the norms are linear in it, so with longer ones a step of the optimiser moves them too far.
        nn.init.normal_(self.stage_embedding.weight, std=config.dim**-0.5)

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

    @property
    def most_frames(self) -> int | None:
        """Frames of prompt and target that the model has positions for; None: any number."""
        return self.prompt_positions.most

    def embed_phonemes(self, phonemes: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, time) ids -> (batch, time, dim), and its lengths; "valle2" has an end mark after each row."""
        if self.layout == "valle2":
            phonemes = F.pad(phonemes, (0, 1)).scatter(1, lengths[:, None], self.phoneme_embedding.num_embeddings - 1)
            lengths = lengths + 1
        return self.phoneme_positions(self.phoneme_embedding(phonemes) * self.config.dim**0.5), lengths

    def _stage_tokens(self, stages: Tensor) -> Tensor:
        """The end of a "valle2" sequence: an end mark and the stage, (batch, 2, dim)."""
        end = self.phoneme_embedding.weight[-1].expand(len(stages), -1)
        return torch.stack((end, self.stage_embedding(stages)), dim=1) * self.config.dim**0.5

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
        target, before = self.embed_codes(codes, stages), self.embed_codes(prompt)
        if self.lookup is not None:
            first = self.code_embeddings[0]
            target = target + self.lookup(first(codes[..., 0]), first(prompt[..., 0]), before, prompt_lengths)
        if self.neighbours is not None:
            target = self.neighbours(target, code_lengths)
        text, text_lengths = self.embed_phonemes(phonemes, phoneme_lengths)
        second = self.layout == "valle2"
        parts = [
            (text, text_lengths),
            (self.prompt_positions(before), prompt_lengths),
            (self.target_positions(target, prompt_lengths if second else 0), code_lengths),
        ]
        if second:
            parts.append((self._stage_tokens(stages), torch.full_like(code_lengths, 2)))
        sequence, lengths = splice(parts)
        sequence = sequence[:, : int(lengths.max())]
        mask = None
        if int(lengths.min()) < sequence.shape[1]:
            mask = length_mask(lengths, sequence.shape[1])[:, None, None]
        hidden = self.transformer(sequence, mask=mask, stage=None if second else self.stage_embedding(stages))
        index = (text_lengths + prompt_lengths)[:, None] + torch.arange(codes.shape[1], device=codes.device)
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
        sampling: NARSampling = NARSampling(),
        noise: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> Tensor:
        """Fill in codebooks 1 .. 7, one pass each: (batch, frames) -> (batch, frames, 1 + sampling.stages).

        noise: (batch, frames, num_codebooks) uniform in [0, 1), for a temperature other than 0
        vectors: (codebook, entry, latent_dim) what the codec's codes stand for, for a temperature of None
        """
        codes, leftover = first_codebook[..., None], torch.zeros((), device=first_codebook.device)
        weights = None
        if self.lookup is not None and vectors is not None:
            first, prompt_first = vectors[0][first_codebook], vectors[0][prompt[..., 0]]
            weights = near(first, prompt_first, prompt_lengths, first.new_tensor([VOICE_SHARPNESS]))[:, 0]
        for stage in range(1, 1 + min(sampling.stages, self.num_codebooks - 1)):
            stages = torch.full_like(code_lengths, stage)
            logits = self(phonemes, phoneme_lengths, prompt, prompt_lengths, codes, code_lengths, stages).float()
            if sampling.temperature is None:
                assert vectors is not None
                expected = logits.softmax(-1) @ vectors[stage]
                if weights is not None:
                    expected = towards_prompt(expected, weights @ vectors[stage][prompt[..., stage]], code_lengths)
                expected = leftover + expected
                code = (expected @ vectors[stage].T - vectors[stage].square().sum(-1) / 2).argmax(-1)  # the nearest
                leftover = expected - vectors[stage][code]  # the next stage makes up for it
            elif sampling.temperature == 0:
                code = logits.argmax(-1)
            else:
                assert noise is not None
                code = draw((logits / sampling.temperature).softmax(-1), noise[..., stage])
            codes = torch.cat((codes, code[..., None]), dim=-1)
        return codes

"""The non-autoregressive model: phonemes, an acoustic prompt and codebooks < j -> codebook j, all frames at once.

VALL-E (arXiv 2301.02111, section 4.2.2) and VALL-E 2 (arXiv 2406.05370, section 3.3.2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from valle.extensions.latent_regression import Expectation
from valle.models.sampling import NARSampling, draw
from valle.models.transformer import (
    Layout,
    PositionalEmbedding,
    Transformer,
    TransformerConfig,
    concat_padded,
    length_mask,
)


class NAR(nn.Module):
    """A transformer with full attention over `phonemes ++ prompt ++ target`.

    Args:
        vocabulary_size: number of phoneme ids; id 0 is padding.
        config: sizes of the transformer.
        codebook_size: entries of each codebook.
        num_codebooks: stages are 1 .. num_codebooks - 1; codebook 0 is the AR model's.
        latent_regression_layers: blocks of a network that tells what the codebooks after the first sum to, see
            `valle.extensions.latent_regression`; the transformer hears it and adds to it. 0 is the papers, without one.
        latent_dim: width of the codec's vectors, for such a network.
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
        latent_regression_layers: int = 0,
        latent_dim: int = 128,
        layout: Layout = "valle",
    ) -> None:
        super().__init__()
        self.config, self.codebook_size, self.num_codebooks = config, codebook_size, num_codebooks
        self.layout = layout
        self.phoneme_embedding = nn.Embedding(vocabulary_size + (layout == "valle2"), config.dim)  # the last: end mark
        # Entry j embeds codebook j, and its transpose is the output projection of stage j (tied, section 4.2.2).
        self.code_embeddings = nn.ModuleList(nn.Embedding(codebook_size, config.dim) for _ in range(num_codebooks))
        self.stage_embedding = nn.Embedding(num_codebooks, config.dim)
        self.expectation = None
        if latent_regression_layers:
            self.expectation = Expectation(
                config.dim, latent_regression_layers, codebook_size, num_codebooks, latent_dim, config.dropout
            )
            self.correction = nn.Linear(config.dim, latent_dim)  # what the transformer adds to it
            nn.init.zeros_(self.correction.weight)
            nn.init.zeros_(self.correction.bias)
        self.phoneme_positions = PositionalEmbedding(config.dim, learned=layout == "valle2")
        self.prompt_positions = PositionalEmbedding(config.dim, learned=layout == "valle2")
        self.target_positions = (
            PositionalEmbedding(config.dim, learned=False) if layout == "valle" else self.prompt_positions
        )
        self.transformer = Transformer(config, adaptive=layout == "valle")
        for embedding in (self.phoneme_embedding, *self.code_embeddings):
            nn.init.normal_(embedding.weight, std=0.02)
        # Of length one: the norms are linear in it, so with longer ones a step of the optimiser moves them too far.
        nn.init.normal_(self.stage_embedding.weight, std=config.dim**-0.5)

    @torch.no_grad()
    def start_from_codebooks(self, vectors: Tensor) -> None:
        """Let the code embeddings begin as the codec's vectors (codebook, entry, latent_dim), turned at random.

        All are scaled alike, so the embeddings of a frame's codes sum to its latent, and codes that sound alike begin
        alike on the way in and, the projections being tied, on the way out. An expectation is of these vectors.
        """
        turn = nn.init.orthogonal_(torch.empty(vectors.shape[2], self.config.dim, device=vectors.device))
        turned = (vectors - vectors.mean(1, keepdim=True)) @ turn
        for embedding, weight in zip(self.code_embeddings, 0.02 * turned / turned[0].std(), strict=True):
            embedding.get_parameter("weight").copy_(weight)
        if self.expectation is not None:
            if self.expectation.vectors.shape != vectors.shape:
                raise ValueError(f"the codec's latent_dim is {vectors.shape[2]}; set it so")
            self.expectation.vectors.copy_(vectors)

    @property
    def max_frames(self) -> int | None:
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

    def _hear(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        prompt: Tensor,
        prompt_lengths: Tensor,
        codes: Tensor,
        code_lengths: Tensor,
        stages: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """The transformer's output for the target frames, (batch, frames, dim), and what is expected of the rest."""
        target, before, expected = self.embed_codes(codes, stages), self.embed_codes(prompt), None
        if self.expectation is not None:
            features, expected = self.expectation(codes[..., 0], code_lengths, prompt, prompt_lengths)
            target = target + features
        text, text_lengths = self.embed_phonemes(phonemes, phoneme_lengths)
        second = self.layout == "valle2"
        parts = [
            (text, text_lengths),
            (self.prompt_positions(before), prompt_lengths),
            (self.target_positions(target, prompt_lengths if second else 0), code_lengths),
        ]
        if second:
            parts.append((self._stage_tokens(stages), torch.full_like(code_lengths, 2)))
        sequence, lengths = concat_padded(parts)
        sequence = sequence[:, : int(lengths.max())]
        mask = None
        if int(lengths.min()) < sequence.shape[1]:
            mask = length_mask(lengths, sequence.shape[1])[:, None, None]
        hidden = self.transformer(sequence, mask=mask, stage=None if second else self.stage_embedding(stages))
        index = (text_lengths + prompt_lengths)[:, None] + torch.arange(codes.shape[1], device=codes.device)
        index = index.clamp(max=hidden.shape[1] - 1)[..., None].expand(-1, -1, hidden.shape[2])
        hidden = hidden.gather(1, index)
        if expected is not None:  # of rows that are told more than the first codes it would be another question
            expected = expected + self.correction(hidden) * (stages == 1)[:, None, None]
        return hidden, expected

    def _logits(self, hidden: Tensor, stages: Tensor) -> Tensor:
        projections = torch.stack([e.get_parameter("weight") for e in self.code_embeddings])[stages]
        return hidden @ projections.transpose(1, 2)

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
        text = phonemes, phoneme_lengths
        hidden, _ = self._hear(*text, prompt, prompt_lengths, codes, code_lengths, stages)
        return self._logits(hidden, stages)

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
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Cross entropy of each row's codebook `stages` over the target frames, with logits and targets.

        given: (batch, frames) bool, frames that are not to be predicted; they and the padding have target -100

        The losses are by name: "loss", and with an expectation "unexplained", the share of the rest's squared length
        that is not expected.
        """
        text = phonemes, phoneme_lengths
        hidden, expected = self._hear(*text, prompt, prompt_lengths, codes, code_lengths, stages)
        logits = self._logits(hidden, stages)
        targets = codes.gather(2, stages[:, None, None].expand(-1, codes.shape[1], 1))[..., 0]
        targets = targets.masked_fill(~length_mask(code_lengths, codes.shape[1]), -100)
        if given is not None:
            targets = targets.masked_fill(given, -100)
        losses = {"loss": F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-100)}
        if self.expectation is not None and expected is not None:
            rest = self.expectation.rest(codes)
            counted = (targets != -100)[..., None]
            missed, whole = (x.float().square().masked_fill(~counted, 0).sum() for x in (rest - expected, rest))
            losses["unexplained"] = missed / whole
        return losses, logits, targets

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
    ) -> Tensor:
        """Fill in codebooks 1 .. 7: (batch, frames) -> (batch, frames, 1 + sampling.stages).

        One pass each, of the likeliest codes or drawn ones; or one for all, where a temperature of None asks for what
        is expected and there is an expectation.

        noise: (batch, frames, num_codebooks) uniform in [0, 1), for a temperature other than 0
        """
        codes, last = first_codebook[..., None], min(sampling.stages, self.num_codebooks - 1)
        given = phonemes, phoneme_lengths, prompt, prompt_lengths
        if sampling.temperature is None and self.expectation is not None:
            _, expected = self._hear(*given, codes, code_lengths, torch.ones_like(code_lengths))
            assert expected is not None
            return self.expectation.codes(expected, first_codebook, code_lengths, prompt, prompt_lengths, last)
        for stage in range(1, 1 + last):
            logits = self(*given, codes, code_lengths, torch.full_like(code_lengths, stage)).float()
            if sampling.temperature:
                assert noise is not None
                code = draw((logits / sampling.temperature).softmax(-1), noise[..., stage])
            else:
                code = logits.argmax(-1)
            codes = torch.cat((codes, code[..., None]), dim=-1)
        return codes

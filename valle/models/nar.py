"""The non-autoregressive model: text, an acoustic prompt and codebooks < j -> codebook j, all frames at once.

VALL-E (arXiv 2301.02111, section 4.2.2) and VALL-E 2 (arXiv 2406.05370, section 3.3.2).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from valle.models.config import Layout, TransformerConfig
from valle.models.positions import PositionalEmbedding
from valle.models.sampling import NARSampling, sample_inverse_cdf
from valle.models.sequence import Padded, SequenceLayout, concat_padded, length_mask, select_positions
from valle.models.transformer import Transformer


class NARInputs(NamedTuple):
    """What the NAR model is conditioned on.

    Attributes:
        text: (batch, time) text ids.
        prompt: (batch, frames, codebook) acoustic prompt, all codebooks.
        codes: (batch, frames, codebook) target, at least the codebooks below the one that is predicted.
    """

    text: Padded
    prompt: Padded
    codes: Padded


class NAR(nn.Module):
    """A transformer with full attention over `text ++ prompt ++ target`.

    Args:
        vocabulary_size: Number of text ids; id 0 is padding.
        config: Sizes of the transformer.
        codebook_size: Entries of each codebook.
        num_codebooks: Codebooks; stages are 1 .. num_codebooks - 1, codebook 0 is the AR model's.
        layout: "valle": the stage enters by adaptive layer norm, and text, prompt and target have positions of their
            own. "valle2": the stage is the last token of the sequence, EOS tokens stand after the text and after the
            codes, prompt and target are one run of positions, and positions are learned (equations 12 to 14).
        text_condition: Whether the model is conditioned on the text; False is an ablation of both papers (VALL-E, table
            4; VALL-E 2, table 3): whatever text the inputs have, the sequence has none.
    """

    def __init__(
        self,
        vocabulary_size: int,
        config: TransformerConfig,
        codebook_size: int = 1024,
        num_codebooks: int = 8,
        layout: Layout = "valle",
        text_condition: bool = True,
    ) -> None:
        super().__init__()
        self.config = config
        self.codebook_size = codebook_size
        self.num_codebooks = num_codebooks
        self.layout = layout
        self.text_condition = text_condition
        # With "valle2" the last text id is the EOS token.
        self.phoneme_embedding = nn.Embedding(vocabulary_size + (layout == "valle2"), config.dim)
        # Entry j embeds codebook j, and its transpose is the output projection of stage j (tied, section 4.2.2).
        self.code_embeddings = nn.ModuleList(nn.Embedding(codebook_size, config.dim) for _ in range(num_codebooks))
        self.stage_embedding = nn.Embedding(num_codebooks, config.dim)
        self.phoneme_positions = PositionalEmbedding(config.dim, learned=layout == "valle2")
        self.prompt_positions = PositionalEmbedding(config.dim, learned=layout == "valle2")
        self.target_positions = self.prompt_positions
        if layout == "valle":
            self.target_positions = PositionalEmbedding(config.dim, learned=False)
        self.transformer = Transformer(config, adaptive=layout == "valle")
        for embedding in (self.phoneme_embedding, *self.code_embeddings):
            nn.init.normal_(embedding.weight, std=0.02)
        # Of length one: the adaptive norms are linear in it, and with a longer one each step moves them too far.
        nn.init.normal_(self.stage_embedding.weight, std=config.dim**-0.5)

    @torch.no_grad()
    def init_from_codebooks(self, vectors: Tensor) -> None:
        """Initialize the code embeddings with the codec's vectors, rotated at random.

        All are scaled by one factor, so that the embeddings of a frame's codes sum to its latent, and similar codes
        begin with similar embeddings and, as the projections are tied, similar logits.

        Args:
            vectors: (codebook, entry, latent_dim).
        """
        rotation = nn.init.orthogonal_(torch.empty(vectors.shape[2], self.config.dim, device=vectors.device))
        rotated = (vectors - vectors.mean(1, keepdim=True)) @ rotation
        for embedding, weight in zip(self.code_embeddings, 0.02 * rotated / rotated[0].std(), strict=True):
            embedding.get_parameter("weight").copy_(weight)

    @property
    def max_frames(self) -> int | None:
        """Frames of prompt and target that the model has positions for; None: any number."""
        return self.prompt_positions.max_positions

    def forward(self, inputs: NARInputs, stages: Tensor) -> Tensor:
        """Compute the logits of one codebook of each row, for all frames at once.

        VALL-E, equation 2, where `C~` is the acoustic prompt and `x` the text:

            p(C_{:,2:8} | x, C~) = prod_{j=2..8} p(c_{:,j} | C_{:,<j}, x, C~)

        One factor of it is a stage. The paper counts codebooks from 1, the code from 0: stage j predicts codebook j.

        Args:
            inputs: x, C~ and C_{:,<j}; codebooks from j on are not used.
            stages: (batch,) stage of each row, 1 .. num_codebooks - 1.

        Returns:
            (batch, frames, codebook_size).
        """
        return self.logits(self.encode(inputs, stages), stages)

    def encode(self, inputs: NARInputs, stages: Tensor, features: Tensor | None = None) -> Tensor:
        """Run the transformer.

        Args:
            inputs: See `forward`.
            stages: See `forward`.
            features: (batch, frames, dim), added to the embeddings of the target; for extensions.

        Returns:
            Outputs at the target's frames, (batch, frames, dim).
        """
        if not self.text_condition:
            no_text = Padded(inputs.text.values[:, :0], torch.zeros_like(inputs.text.lengths))
            inputs = inputs._replace(text=no_text)
        layout = self.sequence_layout(inputs)
        valle2 = self.layout == "valle2"
        # x, C~ and C_{:,<j}
        text = self.embed_phonemes(*inputs.text)
        prompt = self.prompt_positions(self.embed_codes(inputs.prompt.values))
        target = self.embed_codes(inputs.codes.values, stages)
        if features is not None:
            target = target + features
        target = self.target_positions(target, inputs.prompt.lengths if valle2 else 0)
        parts = [text, Padded(prompt, inputs.prompt.lengths), Padded(target, inputs.codes.lengths)]
        if valle2:
            parts.append(self.embed_stages(stages))
        # Attention without a causal mask: each frame attends to all frames of all codebooks below j.
        sequence = concat_padded(parts).values[:, : int(layout.lengths.max())]
        mask = None
        if int(layout.lengths.min()) < sequence.shape[1]:
            mask = length_mask(layout.lengths, sequence.shape[1])[:, None, None]
        hidden = self.transformer(sequence, mask=mask, stage=None if valle2 else self.stage_embedding(stages))
        return select_positions(hidden, layout.target, inputs.codes.values.shape[1])

    def logits(self, hidden: Tensor, stages: Tensor) -> Tensor:
        """Project outputs (batch, frames, dim) to the codebook of each row's stage: (batch, frames, codebook_size)."""
        projections = torch.stack([e.get_parameter("weight") for e in self.code_embeddings])[stages]
        return hidden @ projections.transpose(1, 2)

    def sequence_layout(self, inputs: NARInputs) -> SequenceLayout:
        """Return the positions of text and target in the sequence."""
        valle2 = self.layout == "valle2"
        target = inputs.text.lengths + valle2 + inputs.prompt.lengths
        return SequenceLayout(
            text_lengths=inputs.text.lengths,
            target=target,
            lengths=target + inputs.codes.lengths + 2 * valle2,  # an EOS token, and the stage
            causal=False,
        )

    def embed_phonemes(self, phonemes: Tensor, lengths: Tensor) -> Padded:
        """Embed text ids, (batch, time); "valle2" has an EOS token after each row."""
        if self.layout == "valle2":
            eos = self.phoneme_embedding.num_embeddings - 1
            phonemes = F.pad(phonemes, (0, 1)).scatter(1, lengths[:, None], eos)
            lengths = lengths + 1
        embedded = self.phoneme_embedding(phonemes) * self.config.dim**0.5
        return Padded(self.phoneme_positions(embedded), lengths)

    def embed_codes(self, codes: Tensor, below: Tensor | None = None) -> Tensor:
        """Sum the embeddings of a frame's codebooks.

        Args:
            codes: (batch, frames, codebook).
            below: (batch,) of each row, only the codebooks below this one; None: all.

        Returns:
            (batch, frames, dim).
        """
        embedded = self.code_embeddings[0](codes[..., 0])
        for codebook in range(1, codes.shape[2]):
            summand = self.code_embeddings[codebook](codes[..., codebook])
            if below is not None:
                summand = summand * (codebook < below)[:, None, None]
            embedded = embedded + summand
        return embedded * self.config.dim**0.5

    def embed_stages(self, stages: Tensor) -> Padded:
        """Embed the end of a "valle2" sequence: an EOS token and the stage, (batch, 2, dim)."""
        eos = self.phoneme_embedding.weight[-1].expand(len(stages), -1)
        tokens = torch.stack((eos, self.stage_embedding(stages)), dim=1) * self.config.dim**0.5
        return Padded(tokens, torch.full_like(stages, 2))

    def loss(
        self, inputs: NARInputs, stages: Tensor, ignored: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Compute the cross entropy of each row's stage.

        Args:
            inputs: See `forward`; the codes have the codebook of the stage too.
            stages: See `forward`.
            ignored: (batch, frames) bool, frames that are not to be predicted.

        Returns:
            The losses by name ("loss"), logits, and targets (batch, frames), which are -100 in ignored frames and
            padding.
        """
        return self.loss_of(self.encode(inputs, stages), inputs, stages, ignored)

    def loss_of(
        self, hidden: Tensor, inputs: NARInputs, stages: Tensor, ignored: Tensor | None
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Compute what `loss` returns from the transformer's outputs, (batch, frames, dim)."""
        codes, lengths = inputs.codes
        logits = self.logits(hidden, stages)
        targets = codes.gather(2, stages[:, None, None].expand(-1, codes.shape[1], 1))[..., 0]
        targets = targets.masked_fill(~length_mask(lengths, codes.shape[1]), -100)
        if ignored is not None:
            targets = targets.masked_fill(ignored, -100)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-100)
        return {"loss": loss}, logits, targets

    @torch.inference_mode()
    def generate(self, inputs: NARInputs, sampling: NARSampling = NARSampling(), noise: Tensor | None = None) -> Tensor:
        """Fill in the codebooks after the first: one pass each, in rising order (VALL-E, section 4.3).

        With `sampling.prompt_prefix`, the prompt is the prefix of the target codes (VALL-E 2, table 3): stage j has its
        codebooks below j, as those of the target, and not all of them. Prompt and target have one run of positions with
        the layout "valle2" only.

        Args:
            inputs: The codes have the first codebook only.
            sampling: How codes are chosen; without a temperature, the most likely ones.
            noise: (batch, frames, num_codebooks) uniform in [0, 1), for a temperature above 0.

        Returns:
            (batch, frames, 1 + sampling.stages).
        """
        codes, lengths = inputs.codes
        for stage in range(1, 1 + min(sampling.stages, self.num_codebooks - 1)):
            step = inputs._replace(codes=Padded(codes, lengths))
            if sampling.prompt_prefix:
                below = inputs.prompt.values[..., :stage]
                step = step._replace(prompt=Padded(below, inputs.prompt.lengths))
            logits = self(step, torch.full_like(lengths, stage)).float()
            if sampling.temperature:
                assert noise is not None
                code = sample_inverse_cdf((logits / sampling.temperature).softmax(-1), noise[..., stage])
            else:
                code = logits.argmax(-1)
            codes = torch.cat((codes, code[..., None]), dim=-1)
        return codes

"""The autoregressive model: text and the first codebook so far -> the next group of codes of the first codebook.

VALL-E (arXiv 2301.02111, section 4.2.1) and VALL-E 2 (arXiv 2406.05370, sections 3.2 and 3.3.1).

Over 300 lines, since it has the equations of both papers.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from valle.models.config import Layout, TransformerConfig
from valle.models.kv_cache import KVCache
from valle.models.positions import PositionalEmbedding
from valle.models.sampling import Sampling
from valle.models.sequence import Padded, SequenceLayout, concat_padded, length_mask, select_positions
from valle.models.transformer import StepBackend, Transformer


class AR(nn.Module):
    """A decoder-only transformer over `text ++ marks ++ groups of first-codebook codes`.

    Args:
        vocabulary_size: Number of text ids; id 0 is padding.
        config: Sizes of the transformer.
        codebook_size: Entries of the first codebook; the id `codebook_size` is the EOS token.
        group_size: Codes predicted by one step (G). 1 is VALL-E; 2, 4 and 8 are VALL-E 2.
        layout: "valle": one mark, for the end of the text. "valle2": a second one, for the beginning of speech (VALL-E
            2, equation 8), and learned positions.
        tie_embeddings: Whether codes are predicted with the weights of their embedding, as in both papers (VALL-E,
            section 4.2.1; VALL-E 2, section 3.2).

    Attributes:
        eos: Id of the EOS token.
        num_marks: Marks after the text.
        step_backend: Computes the transformer of decode steps; None: `transformer` does.
    """

    def __init__(
        self,
        vocabulary_size: int,
        config: TransformerConfig,
        codebook_size: int = 1024,
        group_size: int = 1,
        layout: Layout = "valle",
        tie_embeddings: bool = True,
    ) -> None:
        super().__init__()
        if group_size not in (1, 2, 4, 8):
            raise ValueError(f"group_size {group_size} is not one of 1, 2, 4, 8")
        self.config = config
        self.codebook_size = codebook_size
        self.group_size = group_size
        self.eos = codebook_size
        self.first_mark = vocabulary_size
        self.num_marks = {"valle": 1, "valle2": 2}[layout]
        self.phoneme_embedding = nn.Embedding(vocabulary_size + self.num_marks, config.dim)
        self.code_embedding = nn.Embedding(codebook_size + 1, config.dim)
        self.phoneme_positions = PositionalEmbedding(config.dim, learned=layout == "valle2")
        self.code_positions = PositionalEmbedding(config.dim, learned=layout == "valle2")
        # VALL-E 2, section 3.2: a group is embedded as a projection of its codes' embeddings side by side, and
        # predicted by a projection to as many vectors as it has codes. A group of one needs neither.
        self.group_embedding: nn.Module = nn.Identity()
        self.group_prediction: nn.Module = nn.Identity()
        if group_size > 1:
            self.group_embedding = nn.Linear(group_size * config.dim, config.dim, bias=False)
            self.group_prediction = nn.Linear(config.dim, group_size * config.dim, bias=False)
        self.transformer = Transformer(config)
        self.step_backend: StepBackend | None = None
        self.head = nn.Linear(config.dim, codebook_size + 1, bias=False)
        if tie_embeddings:
            self.head.weight = self.code_embedding.weight
        for weight in (self.phoneme_embedding.weight, self.code_embedding.weight, self.head.weight):
            nn.init.normal_(weight, std=0.02)

    @property
    def max_frames(self) -> int | None:
        """Frames of prompt and target that the model has positions for; None: any number."""
        positions = self.code_positions.max_positions
        return None if positions is None else positions * self.group_size

    @property
    def cache_dtype(self) -> torch.dtype:
        """Dtype of the `KVCache` of decode steps."""
        return self.code_embedding.weight.dtype if self.step_backend is None else self.step_backend.cache_dtype

    def forward(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        codes: Tensor,
        code_lengths: Tensor,
        condition: Tensor | None = None,
    ) -> Tensor:
        """Compute the logits of every group of codes, with teacher forcing.

        VALL-E, equation 1, where `C~` is the acoustic prompt and `x` the text of prompt and target:

            p(c_{:,1} | x, C~_{:,1}) = prod_t p(c_{t,1} | c_{<t,1}, C~_{:,1}, x)

        The prompt is a prefix of `codes`: in training any prefix is the prompt of what follows. VALL-E 2,
        section 3.2, has groups of G codes in place of single ones, predicted independently of each other given what is
        before:

            p(c_{:,1} | x) = prod_t prod_{g < G} p(c_{tG+g,1} | c_{<tG,1}, x)

        Args:
            phonemes: (batch, time) text ids, padded on the right.
            phoneme_lengths: (batch,).
            codes: (batch, frames) first codebook, padded on the right; G divides the number of frames.
            code_lengths: (batch,) multiples of G.
            condition: See `embed_groups`.

        Returns:
            (batch, frames / G + 1, G, codebook_size + 1). Entry t predicts group t; after the last group, EOS tokens.
        """
        # x, c_{<t,1}
        text = self.embed_phonemes(phonemes, phoneme_lengths)
        groups = Padded(self.embed_groups(codes, condition=condition), code_lengths // self.group_size)
        sequence = concat_padded([text, groups]).values
        # The padding is on the right of a causal sequence, so no mask is needed and the fused kernel applies.
        layout = self.sequence_layout(phoneme_lengths, code_lengths)
        hidden = self.transformer(sequence[:, : int(layout.lengths.max())], causal=True)
        # p(c_{t,1} | ...) for every t
        steps = codes.shape[1] // self.group_size + 1
        return self.predict_group(select_positions(hidden, layout.target, steps))

    def sequence_layout(
        self, phoneme_lengths: Tensor, code_lengths: Tensor, prompt_lengths: Tensor | int = 0
    ) -> SequenceLayout:
        """Return the positions of text and target in the sequence.

        Args:
            phoneme_lengths: (batch,).
            code_lengths: (batch,) frames of prompt and target.
            prompt_lengths: (batch,) frames of a prompt before the target; 0: all codes are the target.
        """
        text = phoneme_lengths + self.num_marks
        return SequenceLayout(
            text_lengths=phoneme_lengths,
            target=text - 1 + prompt_lengths // self.group_size,  # the last mark predicts the first group
            lengths=text + code_lengths // self.group_size,
            causal=True,
        )

    def embed_phonemes(self, phonemes: Tensor, lengths: Tensor) -> Padded:
        """Embed text ids, (batch, time), with the marks after them: (batch, time + num_marks, dim)."""
        phonemes = F.pad(phonemes, (0, self.num_marks))
        for mark in range(self.num_marks):
            phonemes = phonemes.scatter(1, lengths[:, None] + mark, self.first_mark + mark)
        embedded = self.phoneme_embedding(phonemes) * self.config.dim**0.5
        return Padded(self.phoneme_positions(embedded), lengths + self.num_marks)

    def embed_groups(self, codes: Tensor, first: Tensor | int = 0, condition: Tensor | None = None) -> Tensor:
        """Embed groups of codes.

        Args:
            codes: (batch, groups * G).
            first: Position of the first group: a number, or (batch,) one for each row.
            condition: Added to the embeddings, of a shape that broadcasts to theirs; for extensions.

        Returns:
            (batch, groups, dim).
        """
        groups = rearrange(self.code_embedding(codes), "b (t g) d -> b t (g d)", g=self.group_size)
        embedded = self.group_embedding(groups) * self.config.dim**0.5
        if condition is not None:
            embedded = embedded + condition
        return self.code_positions(embedded, first)

    def predict_group(self, hidden: Tensor) -> Tensor:
        """Compute logits of the next group's codes: (..., dim) -> (..., G, codebook_size + 1)."""
        return self.head(rearrange(self.group_prediction(hidden), "... (g d) -> ... g d", g=self.group_size))

    def targets(self, codes: Tensor, lengths: Tensor, ignored: Tensor | None = None) -> Tensor:
        """Return what `forward` should predict: the codes, a group of EOS tokens, then -100.

        Args:
            codes: (batch, frames).
            lengths: (batch,) frames.
            ignored: (batch, frames) bool, frames that are not to be predicted: -100 too.

        Returns:
            (batch, frames / G + 1, G).
        """
        frames = codes.shape[1] + self.group_size
        codes = F.pad(codes, (0, self.group_size))
        codes = codes.masked_fill(~length_mask(lengths, frames), self.eos)
        codes = codes.masked_fill(~length_mask(lengths + self.group_size, frames), -100)
        if ignored is not None:
            codes = codes.masked_fill(F.pad(ignored, (0, self.group_size)), -100)
        return rearrange(codes, "b (t g) -> b t g", g=self.group_size)

    def untranscribed_prefix(self, prompt: Tensor) -> Tensor:
        """Append a group of EOS tokens to a prompt whose text is not given: (batch, frames) -> (batch, frames + G).

        They tell that what follows begins with the first symbol of the text.
        """
        return F.pad(prompt, (0, self.group_size), value=self.eos)

    def loss(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        codes: Tensor,
        code_lengths: Tensor,
        ignored: Tensor | None = None,
        condition: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the cross entropy of codes and EOS.

        Args:
            phonemes: See `forward`.
            phoneme_lengths: See `forward`.
            codes: See `forward`.
            code_lengths: See `forward`.
            ignored: (batch, frames) bool, frames that are not to be predicted.
            condition: See `embed_groups`.

        Returns:
            The loss, and the logits and targets that it was computed from.
        """
        logits = self(phonemes, phoneme_lengths, codes, code_lengths, condition)
        targets = self.targets(codes, code_lengths, ignored)
        return F.cross_entropy(logits.flatten(0, 2).float(), targets.flatten(), ignore_index=-100), logits, targets

    def prefill(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        prompt: Tensor,
        prompt_lengths: Tensor,
        cache: KVCache,
        condition: Tensor | None = None,
    ) -> Tensor:
        """Fill the cache with text and prompt.

        Args:
            phonemes: (batch, time) text ids of prompt and target, padded on the right.
            phoneme_lengths: (batch,).
            prompt: (batch, frames) first codebook of the prompt, padded on the right.
            prompt_lengths: (batch,) multiples of G.
            cache: An empty cache.
            condition: See `embed_groups`.

        Returns:
            Logits of the first group of the target, (batch, G, codebook_size + 1).
        """
        groups = Padded(self.embed_groups(prompt, condition=condition), prompt_lengths // self.group_size)
        return self.predict_group(self.prefill_hidden(self.embed_phonemes(phonemes, phoneme_lengths), groups, cache))

    def prefill_hidden(self, text: Padded, groups: Padded, cache: KVCache) -> Tensor:
        """Fill the cache with embedded text and groups; return the hidden state of the last position, (batch, dim)."""
        sequence, lengths = concat_padded([text, groups])
        hidden = self.transformer(sequence, causal=True, cache=cache)
        cache.advance(lengths, sequence.shape[1])
        return hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]

    def make_guide(self, slots: int, sampling: Sampling) -> Any:
        """Make the `valle.generation.guide.StepGuide` that decoding needs, for rows in `slots`; None: without one."""
        return None

    def step(
        self,
        codes: Tensor,
        position: Tensor,
        cache: KVCache,
        mask: Tensor | None = None,
        backend: StepBackend | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """Run one decode step.

        Args:
            codes: (batch, G) the latest group.
            position: (batch,) its position among the groups.
            cache: Keys and values of what is before; those of the group are appended.
            mask: (batch, 1, 1, key) bool, for a batch whose rows differ in length.
            backend: Computes the transformer; None: `step_backend`, or else `transformer`.
            condition: (batch, 1, dim), see `embed_groups`.

        Returns:
            Logits of the next group, (batch, G, codebook_size + 1).
        """
        run = backend or self.step_backend or self.transformer
        hidden = run(self.embed_groups(codes, position, condition), mask=mask, cache=cache)
        cache.advance(1, 1)
        return self.predict_group(hidden[:, 0])


def convert_group_size(state: dict[str, Tensor], group_size: int, source_size: int) -> dict[str, Tensor]:
    """Convert the weights of an AR model to another group size, as a start for training.

    A group is embedded as its last codes were, and each of its codes is predicted as the source's code at its index, or
    its last one.

    Args:
        state: Weights of a model of `source_size` codes in a group.
        group_size: Codes in a group of the new model.
        source_size: Codes in a group of the source.

    Returns:
        Weights of a model of `group_size` codes in a group.

    Raises:
        ValueError: The weights are tied and `group_size` is 1: the embedding and the prediction of a code would differ.
    """
    embedding = "group_embedding.weight"
    prediction = "group_prediction.weight"
    codes = state["code_embedding.weight"]
    head = state["head.weight"]
    dim = codes.shape[1]
    shared = min(group_size, source_size)
    identity = torch.eye(dim, dtype=codes.dtype)
    embeds = state.get(embedding, identity)[:, -shared * dim :]
    source_predictions = state.get(prediction, identity).split(dim)
    predicts = [source_predictions[min(index, source_size - 1)] for index in range(group_size)]
    rest = {name: weight for name, weight in state.items() if name not in (embedding, prediction)}
    if group_size > 1:
        return {**rest, embedding: F.pad(embeds, ((group_size - shared) * dim, 0)), prediction: torch.cat(predicts)}
    if torch.equal(codes, head):
        raise ValueError("single codes cannot begin as groups whose embedding and prediction are tied")
    return {**rest, "code_embedding.weight": codes @ embeds.T, "head.weight": head @ predicts[0]}

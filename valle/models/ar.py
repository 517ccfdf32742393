"""The autoregressive model: phonemes and the first codebook so far -> the first codebook's next group of codes.

VALL-E (arXiv 2301.02111, section 4.2.1) and VALL-E 2 (arXiv 2406.05370, sections 3.2 and 3.3.1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from valle.models.transformer import (
    KVCache,
    Layout,
    PositionalEmbedding,
    Transformer,
    TransformerConfig,
    concat_padded,
    length_mask,
)


class AR(nn.Module):
    """A decoder-only transformer over `phonemes ++ end of text ++ groups of first-codebook codes`.

    Args:
        vocabulary_size: number of phoneme ids; id 0 is padding.
        config: sizes of the transformer.
        codebook_size: entries of the first codebook; the id `codebook_size` is the end mark.
        group_size: codes predicted by one step (G). 1 is VALL-E, 2, 4 and 8 are VALL-E 2.
        layout: "valle", or "valle2": a mark for the beginning of speech after the one for the end of text (VALL-E 2,
            equation 8), and learned positions.
        tie_embeddings: codes are predicted with the weights of their embedding, as in both papers (VALL-E, section
            4.2.1; VALL-E 2, section 3.2); False gives the prediction its own.
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
        self.config, self.codebook_size, self.group_size = config, codebook_size, group_size
        self.end = codebook_size
        self.first_mark, self.marks = vocabulary_size, {"valle": 1, "valle2": 2}[layout]
        self.phoneme_embedding = nn.Embedding(vocabulary_size + self.marks, config.dim)
        self.code_embedding = nn.Embedding(codebook_size + 1, config.dim)
        self.phoneme_positions = PositionalEmbedding(config.dim, learned=layout == "valle2")
        self.code_positions = PositionalEmbedding(config.dim, learned=layout == "valle2")
        # VALL-E 2, section 3.2: a group is embedded as its codes' embeddings side by side, projected, and predicted
        # by a projection to as many vectors as it has codes. A group of one needs neither.
        self.group_embedding: nn.Module = nn.Identity()
        self.group_prediction: nn.Module = nn.Identity()
        if group_size > 1:
            self.group_embedding = nn.Linear(group_size * config.dim, config.dim, bias=False)
            self.group_prediction = nn.Linear(config.dim, group_size * config.dim, bias=False)
        self.transformer = Transformer(config)
        self.head = nn.Linear(config.dim, codebook_size + 1, bias=False)
        if tie_embeddings:
            self.head.weight = self.code_embedding.weight
        for weight in (self.phoneme_embedding.weight, self.code_embedding.weight, self.head.weight):
            nn.init.normal_(weight, std=0.02)

    @property
    def max_frames(self) -> int | None:
        """Frames of prompt and speech that the model has positions for; None: any number."""
        return None if self.code_positions.most is None else self.code_positions.most * self.group_size

    def embed_phonemes(self, phonemes: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, time) ids -> (batch, time + marks, dim) with the marks after each row, and its lengths."""
        phonemes = F.pad(phonemes, (0, self.marks))
        for mark in range(self.marks):
            phonemes = phonemes.scatter(1, lengths[:, None] + mark, self.first_mark + mark)
        embedded = self.phoneme_embedding(phonemes) * self.config.dim**0.5
        return self.phoneme_positions(embedded), lengths + self.marks

    def embed_groups(self, codes: Tensor, first: Tensor | int = 0) -> Tensor:
        """(batch, groups * G) codes -> (batch, groups, dim); `first`: position of the first group, a row's own."""
        groups = rearrange(self.code_embedding(codes), "b (t g) d -> b t (g d)", g=self.group_size)
        return self.code_positions(self.group_embedding(groups) * self.config.dim**0.5, first)

    def predict_group(self, hidden: Tensor) -> Tensor:
        """(..., dim) -> logits of the next group's codes (..., G, codebook_size + 1)."""
        return self.head(rearrange(self.group_prediction(hidden), "... (g d) -> ... g d", g=self.group_size))

    def forward(self, phonemes: Tensor, phoneme_lengths: Tensor, codes: Tensor, code_lengths: Tensor) -> Tensor:
        """Logits of every group and of the end after the last: teacher forcing.

        phonemes (batch, time) and codes (batch, frames) are right-padded; frames and code_lengths divide by G.
        Returns (batch, frames / G + 1, G, codebook_size + 1): entry t predicts group t.
        The padding is on the right of a causal sequence, so no mask is needed and the fused kernel applies.
        """
        text, text_lengths = self.embed_phonemes(phonemes, phoneme_lengths)
        parts = [(text, text_lengths), (self.embed_groups(codes), code_lengths // self.group_size)]
        sequence, lengths = concat_padded(parts)
        hidden = self.transformer(sequence[:, : int(lengths.max())], causal=True)
        steps = torch.arange(codes.shape[1] // self.group_size + 1, device=codes.device)
        index = (text_lengths[:, None] - 1 + steps).clamp(max=hidden.shape[1] - 1)  # the last mark predicts group 0
        hidden = hidden.gather(1, index[..., None].expand(-1, -1, hidden.shape[2]))
        return self.predict_group(hidden)

    def targets(self, codes: Tensor, lengths: Tensor, given: Tensor | None = None) -> Tensor:
        """What `forward` should predict: (batch, frames / G + 1, G), the codes, a group of end marks, then -100.

        given: (batch, frames) bool, frames that are not to be predicted: -100 too
        """
        frames = codes.shape[1] + self.group_size
        codes = F.pad(codes, (0, self.group_size))
        codes = codes.masked_fill(~length_mask(lengths, frames), self.end)
        codes = codes.masked_fill(~length_mask(lengths + self.group_size, frames), -100)
        if given is not None:
            codes = codes.masked_fill(F.pad(given, (0, self.group_size)), -100)
        return rearrange(codes, "b (t g) -> b t g", g=self.group_size)

    def voice_prefix(self, prompt: Tensor) -> Tensor:
        """A prompt whose text is not given, (batch, frames) -> (batch, frames + G): a group of end marks after it
        says that what follows begins with the text's first phoneme."""
        return F.pad(prompt, (0, self.group_size), value=self.end)

    def loss(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        codes: Tensor,
        code_lengths: Tensor,
        given: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cross entropy over codes and end mark, with the logits and targets it was computed from.

        given: (batch, frames) bool, frames that are not to be predicted
        """
        logits = self(phonemes, phoneme_lengths, codes, code_lengths)
        targets = self.targets(codes, code_lengths, given)
        return F.cross_entropy(logits.flatten(0, 2).float(), targets.flatten(), ignore_index=-100), logits, targets

    def prefill(
        self, phonemes: Tensor, phoneme_lengths: Tensor, prompt: Tensor, prompt_lengths: Tensor, cache: KVCache
    ) -> Tensor:
        """Fill the cache with text and prompt codes; returns the logits of the first new group (batch, G, entries)."""
        text, text_lengths = self.embed_phonemes(phonemes, phoneme_lengths)
        groups = prompt_lengths // self.group_size
        sequence, lengths = concat_padded([(text, text_lengths), (self.embed_groups(prompt), groups)])
        hidden = self.transformer(sequence, causal=True, cache=cache)
        cache.advance(lengths, sequence.shape[1])
        last = hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
        return self.predict_group(last)

    def step(self, codes: Tensor, position: Tensor, cache: KVCache, mask: Tensor | None = None) -> Tensor:
        """One group of codes (batch, G) at its (batch,) group position -> logits of the next (batch, G, entries).

        mask: (batch, 1, 1, key) bool for a batch whose rows differ in length; None when they do not.
        """
        hidden = self.transformer(self.embed_groups(codes, position), mask=mask, cache=cache)
        cache.advance(1, 1)
        return self.predict_group(hidden[:, 0])


def convert_group_size(state: dict[str, Tensor], group_size: int, other: int) -> dict[str, Tensor]:
    """Weights of an AR model of `other` codes a group -> those of one of `group_size` that begins with what it knows.

    A group is embedded as its last codes were, and each of its codes predicted as the other's at its place, or last.
    Raises ValueError for tied weights where `group_size` is 1: what embeds a code and what predicts it differ then.
    """
    embedding, prediction = "group_embedding.weight", "group_prediction.weight"
    codes, head = state["code_embedding.weight"], state["head.weight"]
    dim, kept = codes.shape[1], min(group_size, other)
    one = torch.eye(dim, dtype=codes.dtype)
    embeds = state.get(embedding, one)[:, -kept * dim :]
    predicts = list(state.get(prediction, one).split(dim))
    predicts = [predicts[min(place, other - 1)] for place in range(group_size)]
    rest = {name: weight for name, weight in state.items() if name not in (embedding, prediction)}
    if group_size > 1:
        return {**rest, embedding: F.pad(embeds, ((group_size - kept) * dim, 0)), prediction: torch.cat(predicts)}
    if torch.equal(codes, head):
        raise ValueError("single codes cannot begin as groups whose embedding and prediction are tied")
    return {**rest, "code_embedding.weight": codes @ embeds.T, "head.weight": head @ predicts[0]}

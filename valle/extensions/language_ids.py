"""Language IDs: an embedding of its language is added to each acoustic token of the AR model (VALL-E X).

VALL-E X (arXiv 2303.03926) trains VALL-E on speech of several languages. Its AR model adds an embedding of the language
ID to the embeddings of the acoustic tokens, so that the language controls the accent:

    p(A_{:,1} | S) = prod_t p(A_{t,1} | <S, A_{<t,1} + l>)

where S are the phonemes and l is the embedding of the language. A cross-lingual prompt is in another language than the
text: S is then the phonemes of the prompt in its language and those of the text in the other, and each acoustic token
has the ID of the language that it is spoken in, the prompt's or the text's. The paper's NAR model has no language IDs.

After 200 steps of fine-tuning the bundled model on 160 German and 186 English utterances, the loss of held-out German
rises by 0.02 nats per code with the ID of English, and that of English does not rise with the ID of German
(benchmarks/language_ids.py). The effect on accents was not measured.

The EOS tokens after an untranscribed prompt, which the paper does not have, are the beginning of the target, and have
the text's language.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from valle.models.ar import AR


class Conditions(NamedTuple):
    """Embedded languages of a text to decode.

    Attributes:
        prompt: (groups, dim) of the groups of the prompt.
        target: (dim,) of each group that is decoded.
    """

    prompt: Tensor
    target: Tensor


class LanguageIdAR(AR):
    """An AR model with language IDs.

    Their embeddings are initialized with zeros, so that the model computes what the AR model computes that training
    starts from.

    Args:
        languages: espeak-ng language tags.
        **sizes: See `AR`.
    """

    def __init__(self, *, languages: Sequence[str], **sizes: Any) -> None:
        super().__init__(**sizes)
        self.languages = tuple(languages)
        self.language_embedding = nn.Embedding(len(self.languages), self.config.dim)
        nn.init.zeros_(self.language_embedding.weight)

    def embed_languages(self, languages: Tensor) -> Tensor:
        """Embed indices of languages: (...) -> (..., dim)."""
        return self.language_embedding(languages) * self.config.dim**0.5

    def conditions(self, frames: int, prompt_language: str, language: str, *, untranscribed: bool) -> Conditions:
        """Embed the languages of a prompt and a text.

        Args:
            frames: Codes of the prompt, with the EOS tokens of an untranscribed one.
            prompt_language: Language of the prompt.
            language: Language of the text.
            untranscribed: Whether the prompt ends with a group of EOS tokens.
        """
        source, target = map(self.languages.index, (prompt_language, language))
        index = torch.full((frames // self.group_size,), source, device=self.language_embedding.weight.device)
        if untranscribed:
            index[-1:] = target
        return Conditions(self.embed_languages(index), self.embed_languages(index.new_tensor(target)))

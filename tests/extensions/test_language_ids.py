"""Language IDs (VALL-E X): an embedding of its language is added to each acoustic token of the AR model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import TINY, random_ids, sharpen
from valle.extensions.language_ids import LanguageIdAR
from valle.generation.engine import generate, stream
from valle.generation.request import GenerationRequest
from valle.models.ar import AR
from valle.models.sampling import Sampling

LANGUAGES = ("de", "en-us")


def model(group_size: int = 1) -> LanguageIdAR:
    """A model with random weights, in the language embeddings too."""
    torch.manual_seed(0)
    ar = LanguageIdAR(
        languages=LANGUAGES,
        vocabulary_size=12,
        config=TINY,
        codebook_size=50,
        group_size=group_size,
        tie_embeddings=False,
    ).eval()
    torch.nn.init.normal_(ar.language_embedding.weight, std=0.05)
    sharpen(ar)
    return ar


def written_out(ar: LanguageIdAR, text: Tensor, codes: Tensor, languages: list[str]) -> Tensor:
    """Logits of one row, computed position by position: each group with the embedding of its own language."""
    scale = TINY.dim**0.5
    positions = ar.phoneme_positions(torch.zeros(1, len(text) + 1, TINY.dim))[0]
    marked = torch.cat((text, torch.tensor([12])))
    rows = [ar.phoneme_embedding.weight[symbol] * scale + positions[i] for i, symbol in enumerate(marked)]
    groups = codes.view(-1, ar.group_size)
    positions = ar.code_positions(torch.zeros(1, len(groups), TINY.dim))[0]
    for i, group in enumerate(groups):
        embedded = ar.group_embedding(torch.cat([ar.code_embedding.weight[code] for code in group]))
        language = ar.language_embedding.weight[LANGUAGES.index(languages[i])]
        rows.append((embedded + language) * scale + positions[i])
    hidden = ar.transformer(torch.stack(rows)[None], causal=True)[0, len(text) :]
    return ar.predict_group(hidden)


@pytest.mark.parametrize("group_size", [1, 2])
def test_training_adds_the_language_of_the_utterance_to_every_acoustic_token(group_size: int) -> None:
    ar = model(group_size)
    text, codes = random_ids(2, 5), random_ids(2, 8, high=50)
    lengths = torch.tensor([5, 5]), torch.tensor([8, 8])
    logits = ar(text, lengths[0], codes, lengths[1], ar.embed_languages(torch.tensor([[0], [1]])))
    for row, language in enumerate(LANGUAGES):
        expected = written_out(ar, text[row], codes[row], [language] * (8 // group_size))
        torch.testing.assert_close(logits[row], expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(logits[0], ar(text, lengths[0], codes, lengths[1])[0], atol=1e-2)


@pytest.mark.parametrize("group_size", [1, 2])
@pytest.mark.parametrize("untranscribed", [False, True])
def test_cross_lingual_decoding_has_the_prompt_in_its_language_and_the_target_in_the_other(
    group_size: int, untranscribed: bool
) -> None:
    ar = model(group_size)
    text, prompt = random_ids(6), random_ids(4, high=50)
    if untranscribed:
        prompt = ar.untranscribed_prefix(prompt[None])[0]
    conditions = ar.conditions(len(prompt), "en-us", "de", untranscribed=untranscribed)
    request = GenerationRequest(
        text, prompt, max_frames=12, seeds=[0], min_frames=12, prompt_condition=conditions[0], condition=conditions[1]
    )
    ((output,),) = generate(ar, [request], Sampling(temperature=0.0))
    expected = prompt
    # EOS tokens after an untranscribed prompt are the beginning of the target.
    languages = ["en-us"] * (4 // group_size) + ["de"] * 20
    while len(expected) < len(prompt) + 12:
        logits = written_out(ar, text, expected, languages)[-1]
        logits[:, ar.eos] = -torch.inf
        expected = torch.cat((expected, logits.argmax(-1)))
    assert output.codes.tolist() == expected[len(prompt) :].tolist()


def test_rows_of_a_batch_have_the_codes_that_they_have_alone() -> None:
    ar = model()
    requests = []
    for index, languages in enumerate((("de", "de"), ("en-us", "de"), None, ("de", "en-us"))):
        request = GenerationRequest(random_ids(4 + index), random_ids(3, high=50), max_frames=5 + 4 * index, seeds=[7])
        if languages is not None:
            request.prompt_condition, request.condition = ar.conditions(3, *languages, untranscribed=False)
        requests.append(request)
    # Few slots, so that rows take the slots of others.
    together = generate(ar, requests, Sampling(), max_batch_tokens=60)
    for request, (output,) in zip(requests, together, strict=True):
        ((alone,),) = generate(ar, [request], Sampling())
        assert output.codes.tolist() == alone.codes.tolist()
        *_, streamed = stream(ar, request, Sampling(), every=4)
        assert streamed.codes.tolist() == alone.codes.tolist()


def test_language_changes_the_codes() -> None:
    ar = model()
    codes = []
    for language in LANGUAGES:
        conditions = ar.conditions(0, language, language, untranscribed=False)
        request = GenerationRequest(random_ids(5), torch.zeros(0, dtype=torch.long), max_frames=20, seeds=[0])
        request.prompt_condition, request.condition = conditions
        codes.append(generate(ar, [request], Sampling())[0][0].codes.tolist())
    assert codes[0] != codes[1]


def test_untrained_language_ids_change_nothing() -> None:
    torch.manual_seed(0)
    plain = AR(12, TINY, codebook_size=50).eval()
    ar = LanguageIdAR(languages=LANGUAGES, vocabulary_size=12, config=TINY, codebook_size=50).eval()
    ar.load_state_dict(plain.state_dict(), strict=False)
    text, codes = random_ids(1, 5), random_ids(1, 8, high=50)
    lengths = torch.tensor([5]), torch.tensor([8])
    expected = plain(text, lengths[0], codes, lengths[1])
    assert torch.equal(ar(text, lengths[0], codes, lengths[1], ar.embed_languages(torch.tensor([[1]]))), expected)

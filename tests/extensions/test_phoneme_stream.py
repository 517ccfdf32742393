"""A model with a phoneme stream (VALL-E R): each step speaks the present phoneme of the text or the next one."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import random_ids, sharpen
from valle.data.loader import NEVER
from valle.errors import UserError
from valle.extensions.monotonic_alignment import MonotonicAlignment, align_prompt
from valle.extensions.phoneme_path import (
    Path,
    Role,
    check_durations,
    phonemes_of_groups,
    scaled_durations,
    symbol_roles,
)
from valle.extensions.phoneme_stream import PhonemeStream, PhonemeStreamAR
from valle.generation.engine import generate
from valle.generation.request import GenerationOutput, GenerationRequest
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.kv_cache import KVCache
from valle.models.sampling import Sampling
from valle.models.sequence import Padded

CONFIG = TransformerConfig(layers=2, heads=2, dim=32, ffn_dim=64, dropout=0.0)
VOCABULARY = ["<pad>", " ", "ˈ", ",", ".", *"abcdefghijk"]
ROLES = symbol_roles(VOCABULARY)


def ids(text: str) -> torch.Tensor:
    return torch.tensor([VOCABULARY.index(symbol) for symbol in text])


def model(group_size: int = 2, seed: int = 0) -> PhonemeStreamAR:
    """A model with random weights, in the phoneme stream too."""
    torch.manual_seed(seed)
    ar = PhonemeStreamAR(
        vocabulary=VOCABULARY,
        code_rate=50.0,
        vocabulary_size=len(VOCABULARY),
        config=CONFIG,
        codebook_size=50,
        group_size=group_size,
        tie_embeddings=False,
    ).eval()
    for layer in (ar.stream_embedding, ar.stream_condition, ar.stream_head):
        torch.nn.init.normal_(layer.weight, std=0.1)
    sharpen(ar)
    return ar


def request(text: str, frames: int = 60, seed: int = 0, group_size: int = 2, **more: object) -> GenerationRequest:
    """A text after an untranscribed prompt of four frames."""
    prompt = torch.cat((torch.arange(4), torch.full((group_size,), 50)))
    return GenerationRequest(ids(text), prompt, max_frames=frames, seeds=[seed], **more)  # type: ignore[arg-type]


def decode(ar: AR, item: GenerationRequest) -> GenerationOutput:
    ((output,),) = generate(ar, [item], Sampling())
    return output


def spoken_symbols(text: str, output: GenerationOutput) -> str:
    """The symbols that an output spoke, each once for each stay."""
    assert output.spoken is not None
    states = output.spoken.tolist()
    changes = [state for state, before in zip(states, [None, *states], strict=False) if state != before]
    return "".join("-" if state < 0 else text[state] for state in changes)


@settings(max_examples=40, deadline=None)
@given(
    text=st.text("ˈ ,.abcde", min_size=1, max_size=12).filter(lambda text: set(text) & set("abcde")),
    group_size=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 1000),
    more=st.integers(0, 20),
)
def test_every_phoneme_is_spoken_once_and_in_order(text: str, group_size: int, seed: int, more: int) -> None:
    """Whatever the weights, and even where there are no more steps than phonemes."""
    phonemes = [symbol for symbol in text if symbol in "abcde"]
    output = decode(model(group_size, seed), request(text, (len(phonemes) + more) * group_size, seed, group_size))
    assert output.spoken is not None
    assert len(output.spoken) == len(output.codes)
    indices = output.spoken[output.spoken >= 0].tolist()
    assert indices == sorted(indices)
    assert [text[index] for index in dict.fromkeys(indices) if text[index] in "abcde"] == phonemes
    assert not {text[index] for index in indices} & {" ", "ˈ"}


def test_eos_comes_after_the_last_phoneme_even_where_the_model_always_predicts_it() -> None:
    ar = model(group_size=1)
    with torch.no_grad():
        ar.transformer.norm.bias.fill_(1.0)
        ar.stream_condition.weight.zero_()
        ar.stream_head.weight.zero_()
        ar.head.weight.zero_()
        ar.head.weight[ar.eos] = 1.0
    output = decode(ar, request("abcdef.", frames=100, group_size=1))
    assert not output.truncated
    assert spoken_symbols("abcdef.", output).lstrip("-").rstrip(".") == "abcdef"


def test_codes_are_the_same_in_a_batch_as_alone() -> None:
    ar = model()
    requests = [request("abcde", seed=1), request("ab, ˈcd.", 40, 2), request("fghij abcde", 80, 3, text_start=6)]
    requests[2].prompt = random_ids(16, high=49)
    together = generate(ar, requests, Sampling())
    for one, candidates in zip(requests, together, strict=True):
        alone = decode(ar, one)
        assert torch.equal(alone.codes, candidates[0].codes)
        assert torch.equal(alone.spoken, candidates[0].spoken)  # type: ignore[arg-type]


def test_no_phoneme_or_pause_lasts_longer_than_half_a_second() -> None:
    """With a model that never moves on by itself, nor predicts EOS."""
    ar = model()
    with torch.no_grad():
        ar.stream_head.weight.zero_()
        ar.head.weight[ar.eos] = 0
        ar.transformer.norm.bias.fill_(1.0)
        ar.head.weight[:20] += 1
    text = "ab, c."
    outputs = {seed: decode(ar, request(text, 1000, seed)) for seed in range(5)}
    assert not any(output.truncated for output in outputs.values())

    class Stuck(MonotonicAlignment):
        def _advance(self, logits: torch.Tensor, active: torch.Tensor) -> None:
            logits = torch.full_like(logits, -20.0).scatter(1, self._present()[:, None], 20.0)
            super()._advance(logits, active)

    ((output,),) = generate(ar, [request(text, 1000)], Sampling(), make_guide=lambda a, s: Stuck(a, s, Sampling()))
    assert not output.truncated
    assert output.spoken is not None
    counts = torch.bincount(output.spoken + 1, minlength=7).tolist()
    # 12 groups of 2 codes at 50 codes per second.
    assert set(counts) <= {0, 24}
    assert [text[index] for index in range(6) if counts[index + 1]] in (
        list("abc."),
        list("ab,c."),
        list("abc"),
        list("ab,c"),
    )


@torch.no_grad()
def test_steps_compute_what_the_written_out_forward_pass_computes() -> None:
    """The input of a step is codes plus phoneme; codes are predicted for the phoneme that the step speaks."""
    ar = model()
    text = "ab cd"
    output = decode(ar, request(text, frames=40, seed=5))
    assert output.spoken is not None
    path = [0 if index < 0 else int(ids(text)[index]) for index in output.spoken[::2].tolist()]
    prompt = request(text).prompt
    codes = torch.cat((prompt, output.codes))
    scale = math.sqrt(CONFIG.dim)
    embedded = ar.embed_groups(codes[None])[0]
    inputs = torch.tensor([0] * (len(prompt) // 2) + path)
    embedded = embedded + scale * ar.stream_embedding.weight[inputs]
    symbols = ar.embed_phonemes(ids(text)[None], torch.tensor([5])).values[0]
    hidden = ar.transformer(torch.cat((symbols, embedded))[None], causal=True)[0]
    before = 5 + len(prompt) // 2  # the mark, whose output predicts the first group
    guide = MonotonicAlignment(ar, 1, Sampling())
    cache = KVCache(CONFIG, 1, 100, like=torch.empty(0))
    logits = guide.prefill([0], request(text, frames=40, seed=5), cache)
    noise = guide.noise[0]
    state = 0
    states = Path.of_text(ids(text), ROLES)
    for step, phoneme in enumerate(path):
        h = hidden[before + step]
        expected = ar.predict_group(h + scale * ar.stream_condition.weight[phoneme])
        torch.testing.assert_close(logits[0], expected, atol=1e-4, rtol=1e-4)
        # The step moves on with probability 1 / (1 + exp(present - next)).
        present, following = (float(ar.stream_head.weight[states.ids[min(s, 4)]] @ h) for s in (state, state + 1))
        left = 4 - state
        moves = state < 4 and (float(noise[step]) >= 1 - 1 / (1 + math.exp(present - following)) or left >= 20 - step)
        state += moves
        assert int(states.ids[state]) == phoneme, step
        group = codes[len(prompt) + 2 * step :][:2]
        logits = ar.step(group[None], torch.tensor([len(prompt) // 2 + step]), cache, None, guide)


def test_loss_is_the_joint_cross_entropy_of_codes_and_phonemes() -> None:
    ar = model()
    text = Padded(random_ids(2, 6, high=16), torch.tensor([6, 4]))
    codes = Padded(random_ids(2, 8, high=49), torch.tensor([8, 6]))
    spoken = random_ids(2, 5, high=16)
    targets = spoken.clone()
    targets[0, 4:] = -100
    targets[1, 3:] = -100
    losses, logits, code_targets = ar.stream_loss(text, codes, None, PhonemeStream(spoken, spoken[:, :-1], targets))
    total = 0.0
    for row, groups in enumerate((4, 3)):
        symbols = text.values[row : row + 1, : text.lengths[row]]
        hidden = ar.hidden(symbols, text.lengths[row : row + 1], codes.values[row : row + 1, : groups * 2],
                           codes.lengths[row : row + 1], spoken[row : row + 1, :groups])[0]  # fmt: skip
        log_probabilities = (hidden[:groups] @ ar.stream_head.weight.T).log_softmax(-1)
        total -= float(log_probabilities[torch.arange(groups), spoken[row, :groups]].sum())
    assert float(losses["phonemes"]) == pytest.approx(total / 7, rel=1e-4)
    entropy = F.cross_entropy(logits.flatten(0, 2), code_targets.flatten(), ignore_index=-100)
    torch.testing.assert_close(losses["codes"], entropy)
    torch.testing.assert_close(losses["loss"], losses["codes"] + losses["phonemes"])
    # A row without phoneme times does not count.
    missing = targets.clone()
    missing[1] = -100
    alone, _, _ = ar.stream_loss(text, codes, None, PhonemeStream(spoken, spoken[:, :-1], missing))
    first = [Padded(x.values[:1], x.lengths[:1]) for x in (text, codes)]
    one, _, _ = ar.stream_loss(*first, None, PhonemeStream(spoken[:1], spoken[:1, :-1], targets[:1]))
    torch.testing.assert_close(alone["loss"], one["loss"])


def test_given_durations_are_honoured_exactly() -> None:
    ar = model()
    text = "ab, ˈcd."
    durations = [4, 2, 6, 8, 0, 0, 2, 10, 4]
    for seed in range(3):
        output = decode(ar, request(text, sum(durations), seed, min_frames=sum(durations), durations=durations))
        assert not output.truncated
        assert output.spoken is not None
        assert (torch.bincount(output.spoken + 1, minlength=9)).tolist() == durations


def test_durations_that_do_not_fit_the_text_are_refused() -> None:
    for durations, message in (
        ([2, 2], "for a text of 4 symbols"),
        ([0, 2, 4, 2, 2], "no duration"),
        ([0, 2, 0, 1, 2], "at least 2"),
        ([-1, 2, 0, 2, 2], "at least 0"),
    ):
        with pytest.raises(UserError, match=message):
            check_durations(durations, ids("a b."), ROLES, 2)
    check_durations([0, 2, 0, 2, 0], ids("a b."), ROLES, 2)


def test_scaled_durations_are_those_of_the_speech_with_a_group_for_each_phoneme() -> None:
    text = ids("ab, c")
    spoken = torch.tensor([-1, -1, 0, 0, 1, 1, 2, 2, 2, 2, 4, 4])
    assert scaled_durations(spoken, text, ROLES, 2.0, 2) == [4, 4, 4, 8, 0, 4]
    assert scaled_durations(spoken, text, ROLES, 0.5, 2) == [1, 2, 2, 2, 0, 2]


@pytest.mark.parametrize("group_size", [1, 2])
def test_phoneme_of_a_group_is_the_one_in_its_middle_and_each_has_one(group_size: int) -> None:
    text = ids("ˈabc, d.")
    #         ˈ  a  b  c  ,  _  d   .
    starts = [2, 2, 4, 5, 6, 10, 10, 13]
    frames = torch.tensor([16, 16, 4, 16])
    rows = torch.stack([text] * 4)
    times = torch.tensor([starts, [2, 2, 4, 5, 10, 10, 10, 10], starts, [NEVER] * 8])
    names = phonemes_of_groups(rows, times, frames, group_size, ROLES)
    spoken = ["".join("-" if i == 0 else "?" if i < 0 else VOCABULARY[i] for i in row) for row in names.tolist()]
    if group_size == 1:
        # A comma at the start of the next phoneme is no pause, nor a full stop at that of the last one.
        assert spoken == ["--aabc,,,,ddd....", "--aabcccccdddddd" + "d", "?" * 17, "?" * 17]
    else:
        assert spoken == ["-abc,d...", "-abccdddd", "?" * 9, "?" * 9]
        rushed = phonemes_of_groups(text[None], torch.tensor([[2, 2, 2, 2, 2, 2, 2, 13]]), frames[:1], 2, ROLES)
        assert "".join(VOCABULARY[i] if i else "-" for i in rushed[0].tolist()) == "-abcdd..."


def test_alignment_of_a_prompt_is_the_most_likely_path() -> None:
    ar = model(group_size=1)
    text = ids("a,b c")
    prompt = random_ids(6, high=49)
    path = Path.of_text(text, ROLES)
    assert path.ids.tolist() == [0, *ids("a,bc").tolist()]
    found = align_prompt(ar, text, prompt, path, last=3)
    none = torch.zeros(1, 6, dtype=torch.long)
    with torch.no_grad():
        hidden = ar.hidden(text[None], torch.tensor([5]), prompt[None], torch.tensor([6]), none)[0]
        score = torch.zeros(6, 5)
        for state, phoneme in enumerate(path.ids):
            logits = ar.predict_group(ar.condition(hidden[:6], phoneme.expand(6)))[:, 0].log_softmax(-1)
            score[:, state] = logits[torch.arange(6), prompt] + ar.stream_head(hidden[:6]).log_softmax(-1)[:, phoneme]

    def paths(states: list[int]) -> list[list[int]]:
        if len(states) == 6:
            return [states] if states[-1] == 3 else []
        reach = {0: 1, 1: 3, 2: 3, 3: 4, 4: 4}[states[-1]] if states else 1
        first = states[-1] if states else 0
        return [p for state in range(first, reach + 1) for p in paths([*states, state])]

    best = max(paths([]), key=lambda states: float(score[torch.arange(6), states].sum()))
    assert found.tolist() == best


def test_new_model_computes_what_the_model_without_a_stream_computes() -> None:
    torch.manual_seed(0)
    plain = sharpen(AR(len(VOCABULARY), CONFIG, codebook_size=50, group_size=2, tie_embeddings=False)).eval()
    ar = PhonemeStreamAR(
        vocabulary=VOCABULARY,
        code_rate=50.0,
        vocabulary_size=16,
        config=CONFIG,
        codebook_size=50,
        group_size=2,
        tie_embeddings=False,
    ).eval()
    ar.load_state_dict(plain.state_dict(), strict=False)
    text, codes, spoken = random_ids(1, 6, high=16), random_ids(1, 8, high=49), random_ids(1, 5, high=16)
    lengths = [torch.tensor([6]), torch.tensor([8])]
    logits, _ = ar(text, lengths[0], codes, lengths[1], PhonemeStream(spoken, spoken[:, :-1], spoken))
    torch.testing.assert_close(logits, plain(text, lengths[0], codes, lengths[1]))


def test_roles_of_symbols() -> None:
    assert symbol_roles(["<pad>", " ", "ˌ", "!", "aɪ"]) == (
        Role.SILENT, Role.SILENT, Role.SILENT, Role.PAUSE, Role.PHONEME,
    )  # fmt: skip

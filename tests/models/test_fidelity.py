"""What the papers state, written out independently of the models, and the references of docs/fidelity.md.

References compute one row without padding, from the weights of the models only: no module of `valle.models` is called.
"""

from __future__ import annotations

import copy
import inspect
import math
import re
from collections.abc import Callable
from typing import Literal

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.conftest import ROOT, TINY, nar_inputs, random_ids, sharpen
from valle import codec
from valle.data.loader import Batch
from valle.generation.engine import generate
from valle.generation.request import GenerationRequest
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.nar import NAR
from valle.models.sampling import Sampling
from valle.synthesis import TTS, Prompt
from valle.text import TextUnits, Vocabulary
from valle.training import ARModule, NARModule
from valle.training.config import DataConfig

DOCUMENT = ROOT / "docs" / "fidelity.md"
SCALE = TINY.dim**0.5  # embeddings are multiplied by it, as in arXiv 1706.03762, section 3.4


def test_every_function_and_test_in_the_document_exists() -> None:
    text = DOCUMENT.read_text()
    references = re.findall(r"`([a-z_0-9/]+\.py):(\w+)`", text)
    tests = set(re.findall(r"`(test_\w+)`", text))
    assert len(references) > 40
    assert len(tests) > 25
    for file, name in references:
        source = (ROOT / "valle" / file).read_text()
        assert re.search(rf"^\s*(class|def) {name}\b|^{name}\b.* = ", source, re.MULTILINE), (file, name)
    all_tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert {name for name in tests if f"def {name}(" not in all_tests} == set()


def test_every_difference_is_explained() -> None:
    text = DOCUMENT.read_text()
    marked = {int(n) for n in re.findall(r"(?:\*\*differs\*\*:|see) (\d+)", text)}
    explained = {int(n) for n in re.findall(r"^(\d+)\. ", text, re.MULTILINE)}
    assert marked == explained


def test_defaults_are_those_of_the_papers() -> None:
    config = TransformerConfig()
    assert (config.layers, config.heads, config.dim, config.ffn_dim, config.dropout) == (12, 16, 1024, 4096, 0.1)
    assert (Sampling().ras_window, Sampling().ras_threshold) == (10, 0.1)
    assert not Sampling().repetition_aware
    for module in (ARModule, NARModule):
        options = inspect.signature(module).parameters
        assert options["transformer"].default == config
        assert options["optimizer"].default.learning_rate == pytest.approx(5e-4)
        assert options["optimizer"].default.warmup_steps == 32_000
        assert options["layout"].default == "valle"
    assert inspect.signature(ARModule).parameters["group_size"].default == 1
    assert inspect.signature(ARModule).parameters["tie_embeddings"].default


def sinusoids(count: int, first: int = 0) -> Tensor:
    """Sine and cosine of positions (arXiv 1706.03762, section 3.5), the sines before the cosines: (count, dim)."""
    half = TINY.dim // 2
    rows = []
    for position in range(first, first + count):
        angles = [position / 10_000 ** (2 * i / TINY.dim) for i in range(half)]
        rows.append([math.sin(a) for a in angles] + [math.cos(a) for a in angles])
    return torch.tensor(rows)


def normalized(x: Tensor) -> Tensor:
    centered = x - x.mean(-1, keepdim=True)
    return centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def layer_norm(norm: nn.Module, x: Tensor) -> Tensor:
    return normalized(x) * norm.weight + norm.bias


def adaptive_layer_norm(embedding: Tensor) -> Callable[[nn.Module, Tensor], Tensor]:
    """AdaLN(h, i) = a_i LayerNorm(h) + b_i, where a_i and b_i are linear in the stage's embedding, (dim,)."""

    def norm(module: nn.Module, x: Tensor) -> Tensor:
        a, b = (module.modulation.weight @ embedding + module.modulation.bias).chunk(2)
        return a * normalized(x) + b

    return norm


def transformer(model: AR | NAR, x: Tensor, norm: Callable[[nn.Module, Tensor], Tensor], *, causal: bool) -> Tensor:
    """Pre-norm blocks of attention, head by head, and of a feed-forward network with GELU: (time, dim)."""
    width = TINY.dim // TINY.heads
    for block in model.transformer.blocks:
        query, key, value = (norm(block.attention_norm, x) @ block.qkv.weight.T + block.qkv.bias).split(TINY.dim, -1)
        mixed = []
        for head in range(TINY.heads):
            part = slice(head * width, (head + 1) * width)
            scores = query[:, part] @ key[:, part].T / math.sqrt(width)
            if causal:
                scores = scores + torch.full_like(scores, -torch.inf).triu(1)
            mixed.append(scores.softmax(-1) @ value[:, part])
        x = x + torch.cat(mixed, -1) @ block.out.weight.T + block.out.bias
        h = norm(block.ffn_norm, x) @ block.ffn_in.weight.T + block.ffn_in.bias
        h = h * (1 + torch.erf(h / math.sqrt(2))) / 2
        x = x + h @ block.ffn_out.weight.T + block.ffn_out.bias
    return norm(model.transformer.norm, x)


def nar_of_valle() -> NAR:
    torch.manual_seed(0)
    model = sharpen(NAR(12, TINY, codebook_size=50)).eval()
    with torch.no_grad():
        # Each part has positions of its own: with different scales they cannot be mistaken for one another.
        for part, scale in ((model.phoneme_positions, 0.5), (model.prompt_positions, 1.0), (model.target_positions, 2)):
            part.scale.fill_(scale)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def valle_nar(
    model: NAR, text: Tensor, prompt: Tensor, target: Tensor, stage: int, mistake: str | None = None
) -> Tensor:
    """VALL-E, section 4.2.2, with one statement of it changed by `mistake`: logits, (frames, codebook_size)."""
    codebooks = [embedding.weight for embedding in model.code_embeddings]
    first_prompt = len(text) if mistake == "positions of text and prompt in one run" else 0
    first_target = len(prompt) if mistake == "positions of prompt and target in one run" else 0
    of_prompt = stage if mistake == "codebooks of the prompt below the stage only" else 8
    of_target = stage + 1 if mistake == "target with the codebook of the stage" else stage
    e_x = model.phoneme_embedding.weight[text] * SCALE
    e_prompt = sum(codebooks[j][prompt[:, j]] for j in range(of_prompt)) * SCALE
    e_target = sum(codebooks[j][target[:, j]] for j in range(of_target)) * SCALE
    x = torch.cat(
        (
            e_x + model.phoneme_positions.scale * sinusoids(len(text)),
            e_prompt + model.prompt_positions.scale * sinusoids(len(prompt), first_prompt),
            e_target + model.target_positions.scale * sinusoids(len(target), first_target),
        )
    )
    if mistake == "stage embedding added to the input":
        x = x + model.stage_embedding.weight[stage] * SCALE
    norm_stage = 1 if mistake == "norms of another stage" else stage
    norm = adaptive_layer_norm(model.stage_embedding.weight[norm_stage])
    hidden = transformer(model, x, norm, causal=mistake == "causal attention")
    projection = codebooks[stage - 1] if mistake == "projection of the codebook before" else codebooks[stage]
    return hidden[len(text) + len(prompt) :] @ projection.T


def nar_example() -> tuple[Tensor, Tensor, Tensor]:
    return random_ids(5), random_ids(4, 8, high=50), random_ids(6, 8, high=50)


@pytest.mark.parametrize("stage", range(1, 8))
def test_nar_is_section_422_of_valle(stage: int) -> None:
    model, parts = nar_of_valle(), nar_example()
    found = model(nar_inputs(*(part[None] for part in parts)), torch.tensor([stage]))[0]
    torch.testing.assert_close(found, valle_nar(model, *parts, stage), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "mistake",
    [
        "positions of text and prompt in one run",
        "positions of prompt and target in one run",
        "codebooks of the prompt below the stage only",
        "target with the codebook of the stage",
        "stage embedding added to the input",
        "norms of another stage",
        "causal attention",
        "projection of the codebook before",
    ],
)
def test_nar_differs_from_section_422_with_a_mistake(mistake: str) -> None:
    """The reference depends on every statement: with any one changed it is far from the model."""
    model, parts = nar_of_valle(), nar_example()
    found = model(nar_inputs(*(part[None] for part in parts)), torch.tensor([3]))[0]
    assert (found - valle_nar(model, *parts, 3, mistake)).abs().max() > 0.1


@pytest.mark.parametrize("size", [1, 2, 4])
def test_valle2_ar_is_equations_5_to_11(size: int) -> None:
    """VALL-E 2, sections 3.2 and 3.3.1: grouped codes, two special tokens, positions of text and groups, causal."""
    torch.manual_seed(0)
    model = sharpen(AR(12, TINY, codebook_size=50, group_size=size, layout="valle2")).eval()
    text, codes = random_ids(5), random_ids(3 * size, high=50)
    eos_bos = torch.tensor([12, 13])  # the ids after the 12 text units
    e_x = model.phoneme_embedding.weight[torch.cat((text, eos_bos))] * SCALE
    e_c = model.code_embedding.weight[codes]
    groups = torch.stack([torch.cat(tuple(e_c[t * size : (t + 1) * size])) for t in range(3)])
    e_g = (groups @ model.group_embedding.weight.T if size > 1 else groups) * SCALE
    tables = model.phoneme_positions.table.weight, model.code_positions.table.weight
    assert tables[0] is not tables[1]
    sequence = torch.cat((e_x + tables[0][:7], e_g + tables[1][:3]))
    # <bos> predicts the first group, and the last group predicts EOS.
    hidden = transformer(model, sequence, layer_norm, causal=True)[6:]
    if size > 1:
        hidden = hidden @ model.group_prediction.weight.T
    expected = hidden.view(4, size, TINY.dim) @ model.code_embedding.weight.T
    found = model(text[None], torch.tensor([5]), codes[None], torch.tensor([3 * size]))[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def training_batch(rows: int, frames: int) -> Batch:
    text = random_ids(rows, 5)
    codes = random_ids(rows, frames, 8, high=50)
    lengths = torch.full((rows,), 5), torch.full((rows,), frames)
    return Batch(text, lengths[0], codes, lengths[1], torch.zeros_like(text), [str(row) for row in range(rows)])


SYMBOLS = ["<pad>", *"abcdefghijk"]
DATA = DataConfig(SYMBOLS, codebook_size=50)


def loss_of_a_step(module: ARModule | NARModule, batch: Batch) -> Tensor:
    """Train a copy of a module for one step, and return the loss."""
    trainer = L.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(copy.deepcopy(module), DataLoader([batch], batch_size=None))
    return trainer.callback_metrics["train/loss"]


def test_nar_is_trained_on_a_uniformly_sampled_codebook() -> None:
    """VALL-E, section 4.2.2; VALL-E 2, equation 17: the cross entropy of c_{>= T', j} for a random j."""
    torch.manual_seed(0)
    module = NARModule(DATA, transformer=TINY, prefix_prompt_prob=1.0, prompt_seconds=0.04)  # a prompt of 3 frames
    seen: list[Tensor] = []
    module.model.stage_embedding.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    batch = training_batch(700, 8)
    loss = loss_of_a_step(module, batch)
    stages = seen[0]
    counts = stages.bincount(minlength=8).tolist()
    assert counts[0] == 0
    assert all(65 < count < 135 for count in counts[1:])  # 100 each, standard deviation 9.3
    logits = module.model(nar_inputs(batch.phonemes, batch.codes[:, :3], batch.codes[:, 3:]), stages)
    likelihoods = []
    for row, stage in enumerate(stages.tolist()):
        codes = batch.codes[row, 3:, stage]
        likelihoods.append(logits[row].log_softmax(-1)[torch.arange(5), codes])
    torch.testing.assert_close(loss, -torch.cat(likelihoods).mean().detach())


def test_ar_is_trained_on_whole_utterances_without_a_prompt() -> None:
    """VALL-E, section 4.2.1: plain language modeling of the first codebook and its EOS token."""
    torch.manual_seed(0)
    module = ARModule(DATA, transformer=TINY, untranscribed_prompt_prob=0.0)
    batch = training_batch(3, 8)
    lengths = batch.phoneme_lengths, batch.code_lengths
    logits = module.model(batch.phonemes, lengths[0], batch.codes[..., 0], lengths[1])[:, :, 0]
    codes = F.pad(batch.codes[..., 0], (0, 1), value=50)
    expected = -logits.log_softmax(-1).gather(2, codes[..., None]).mean().detach()
    torch.testing.assert_close(loss_of_a_step(module, batch), expected)
    prompted = ARModule(DATA, transformer=TINY, untranscribed_prompt_prob=1.0)
    prompted.load_state_dict(module.state_dict())
    assert abs(loss_of_a_step(prompted, batch) - expected) > 1e-3


def test_optimizer_is_adamw_with_the_settings_of_the_document() -> None:
    module = NARModule(DATA, transformer=TINY)
    module.trainer = L.Trainer(max_steps=10, accelerator="cpu", logger=False, enable_checkpointing=False)
    optimizer = module.configure_optimizers()["optimizer"]
    assert type(optimizer) is torch.optim.AdamW
    for group in optimizer.param_groups:
        assert group["betas"] == (0.9, 0.95)
        assert group["weight_decay"] == (0.01 if group["params"][0].ndim > 1 else 0.0)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(module.parameters()))


@pytest.mark.parametrize("mode", ["transcribed", "continuation"])
def test_the_prompt_is_a_prefix_of_text_and_codes(mode: Literal["transcribed", "continuation"]) -> None:
    """VALL-E, sections 4.2.1 and 4.3: the prompt's phonemes precede the text; a continuation has the whole text."""
    torch.manual_seed(0)
    vocabulary = Vocabulary(["<pad>", " ", "b", "a", "d", "h", "ə", "l", "ˈ", "oʊ"])
    tts = TTS(AR(10, TINY), NAR(10, TINY), 225, codec.load("mini"), vocabulary, TextUnits())
    text: list[Tensor] = []
    codes: list[Tensor] = []
    tts.ar.phoneme_embedding.register_forward_hook(lambda _, inputs, output: text.append(inputs[0]))
    tts.ar.code_embedding.register_forward_hook(lambda _, inputs, output: codes.append(inputs[0]))
    prompt = Prompt(random_ids(9, 8, high=1024), ("b", "a", "d") if mode == "transcribed" else (), mode)
    tts.synthesize_batch(["hello"], [prompt], [0], attempts=1)
    expected = [5, 6, 7, 8, 9]
    if mode == "transcribed":
        expected = [2, 3, 4, 1, *expected]
    assert text[0].tolist() == [[*expected, 10]]  # an EOS token follows
    assert torch.equal(codes[0][0], prompt.codes[:, 0])


def test_history_of_repetition_aware_sampling_has_the_prompt_and_the_codes_of_the_group() -> None:
    """VALL-E 2, section 3.4.1: with t_r = 0.1 and K = 10 a third equal code is sampled again, within a group too."""
    model = AR(12, TINY, codebook_size=1000, group_size=4, tie_embeddings=False).eval()
    with torch.no_grad():  # code 0 is slightly more likely than any other, at every position
        model.transformer.norm.weight.zero_()
        model.transformer.norm.bias.fill_(1)
        model.group_prediction.weight.fill_(1)
        model.head.weight.zero_()
        model.head.weight[0] = 1e-6
    sampling = Sampling(top_p=0.0, repetition_aware=True)

    def decode(prompt: list[int]) -> list[int]:
        request = GenerationRequest(torch.tensor([1, 2]), torch.tensor(prompt), 4, [0], min_frames=4)
        return generate(model, [request], sampling)[0][0].codes.tolist()

    codes = decode([5, 6, 7, 8])
    assert codes[:2] == [0, 0]
    assert 0 not in codes[2:]
    assert 0 not in decode([0, 0, 7, 8])

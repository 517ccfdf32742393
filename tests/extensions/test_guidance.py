"""Classifier-free guidance: logits are u + s (c - u), of a row with its text and its twin without."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.conftest import command, sharpen, train
from tests.training.runs import read_scalars
from valle.extensions.attention_constraint import AttentionConstraint
from valle.extensions.guidance import Guidance, drop_text, guided
from valle.generation.cpu_step import CompiledStep
from valle.generation.engine import generate, stream
from valle.generation.request import GenerationRequest
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.nar import NAR, NARInputs
from valle.models.sampling import Sampling
from valle.models.sequence import Padded

CONFIG = TransformerConfig(layers=3, heads=2, dim=64, ffn_dim=64, dropout=0.0)
GREEDY = Sampling(temperature=0.0)


def model(group_size: int = 2) -> AR:
    torch.manual_seed(0)
    ar = AR(30, CONFIG, codebook_size=40, group_size=group_size, tie_embeddings=False).eval()
    sharpen(ar)
    return ar


def request(seed: int, frames: int = 24, candidates: int = 1) -> GenerationRequest:
    generator = torch.Generator().manual_seed(seed)
    phonemes = torch.randint(1, 30, (5 + 3 * (seed % 4),), generator=generator)
    prompt = torch.randint(0, 40, (4 + 4 * (seed % 3),), generator=generator)
    return GenerationRequest(phonemes, prompt, max_frames=frames, seeds=[seed + i for i in range(candidates)])


@torch.inference_mode()
def reference(ar: AR, one: GenerationRequest, scale: float) -> torch.Tensor:
    """Greedy codes with guidance, each step computed from the whole sequence with and without the text."""
    codes = one.prompt[None]
    while codes.shape[1] - len(one.prompt) < one.max_frames:
        length = torch.tensor([codes.shape[1]])
        text = one.phonemes[None]
        conditional = ar(text, torch.tensor([text.shape[1]]), codes, length, one.condition)[0, -1]
        unconditional = ar(text[:, :0], torch.tensor([0]), codes, length, one.condition)[0, -1]
        logits = unconditional + scale * (conditional - unconditional)
        first = codes.shape[1] == len(one.prompt)
        logits[0 if first else 1 :, ar.eos] = -torch.inf
        group = logits.argmax(-1)
        if ar.eos in group:
            break
        codes = torch.cat((codes, group[None]), dim=1)
    return codes[0, len(one.prompt) :]


@pytest.mark.parametrize("group_size", [1, 2])
@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_codes_are_those_of_the_written_out_formula(group_size: int, scale: float) -> None:
    ar = model(group_size)
    requests = [request(seed) for seed in range(4)]
    outputs = generate(ar, requests, GREEDY, make_guide=partial(Guidance, scale=scale))
    for one, (output,) in zip(requests, outputs, strict=True):
        assert torch.equal(output.codes, reference(ar, one, scale))
    plain = generate(ar, requests, GREEDY)
    assert any(not torch.equal(a.codes, b.codes) for (a,), (b,) in zip(outputs, plain, strict=True))


def test_rows_and_twins_have_the_condition_of_their_prompt() -> None:
    ar = model(1)
    condition = torch.randn(CONFIG.dim)
    one = request(2)
    conditioned = replace(one, prompt_condition=condition.expand(len(one.prompt), -1), condition=condition)
    ((output,),) = generate(ar, [conditioned], GREEDY, make_guide=partial(Guidance, scale=2.0))
    assert torch.equal(output.codes, reference(ar, conditioned, 2.0))
    assert not torch.equal(output.codes, reference(ar, one, 2.0))


def test_scale_one_is_no_guidance() -> None:
    ar = model()
    requests = [request(seed) for seed in range(4)]
    guided = generate(ar, requests, GREEDY, make_guide=partial(Guidance, scale=1.0))
    plain = generate(ar, requests, GREEDY)
    assert all(torch.equal(a.codes, b.codes) for (a,), (b,) in zip(guided, plain, strict=True))


def constrained(ar: AR, slots: int) -> Guidance:
    return Guidance(ar, slots, scale=2.0, constraint=AttentionConstraint(ar, slots))


@pytest.mark.parametrize("make_guide", [partial(Guidance, scale=2.0), constrained])
@pytest.mark.parametrize("max_batch_tokens", [None, 120])
def test_queued_rows_have_the_codes_that_they_have_alone(make_guide, max_batch_tokens: int | None) -> None:
    """Rows end at different steps, leave their slot to others, and have several candidates."""
    ar = model()
    sampling = Sampling(top_p=0.9, repetition_aware=True)
    requests = [request(seed, frames=10 + 9 * (seed % 5), candidates=1 + seed % 2) for seed in range(9)]
    together = generate(ar, requests, sampling, max_batch_tokens, make_guide)
    for one, candidates in zip(requests, together, strict=True):
        (alone,) = generate(ar, [one], sampling, make_guide=make_guide)
        for a, b in zip(alone, candidates, strict=True):
            assert torch.equal(a.codes, b.codes)


def test_stream_has_the_codes_of_the_whole() -> None:
    ar = model()
    guide = partial(Guidance, scale=2.0)
    ((whole,),) = generate(ar, [request(1)], Sampling(), make_guide=guide)
    *_, last = stream(ar, request(1), Sampling(), 4, guide)
    assert last.ended
    assert torch.equal(last.codes, whole.codes)


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_compiled_steps_are_guided_too() -> None:
    ar = model()
    requests = [request(seed, frames=10 + 9 * seed) for seed in range(3)]
    plain = generate(ar, requests, GREEDY, make_guide=partial(Guidance, scale=2.0))
    ar.step_backend = CompiledStep(ar.transformer, "float32")
    compiled = generate(ar, requests, GREEDY, make_guide=partial(Guidance, scale=2.0))
    assert all(torch.equal(a.codes, b.codes) for (a,), (b,) in zip(plain, compiled, strict=True))


def test_texts_are_dropped_with_the_given_probability() -> None:
    lengths = torch.full((4000,), 7)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert torch.equal(drop_text(lengths, 0.0), lengths)
    assert torch.equal(torch.get_rng_state(), state)
    remaining = drop_text(lengths, 0.1)
    assert set(remaining.tolist()) == {0, 7}
    assert 0.08 < float((remaining == 0).float().mean()) < 0.12
    assert not drop_text(lengths, 1.0).any()


@pytest.fixture(scope="module")
def guided_run(run_directory: Path, tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory whose AR model was trained with dropped texts and guided attention."""
    root = tmp_path_factory.mktemp("guided")
    options = ["--model.init_args.text_dropout=0.5", "--model.init_args.guided_attention=0.5"]
    train("ARModule", tokens, root / "ar", 3, *options)
    (root / "nar").symlink_to(run_directory / "nar")
    return root


def test_synth_takes_a_scale_for_models_trained_with_dropped_texts(
    guided_run: Path, run_directory: Path, speech: Path, tmp_path: Path
) -> None:
    def synthesize(model: Path, name: str, *options: str, check: bool = True):
        return command("valle-synth", "--model", model, "--text", "Hello.", "--prompt", speech,
                       "-o", tmp_path / name, *options, check=check)  # fmt: skip

    synthesize(guided_run, "plain.wav")
    synthesize(guided_run, "one.wav", "--guidance", "1")
    synthesize(guided_run, "three.wav", "--guidance", "3")
    plain, one, three = ((tmp_path / f"{name}.wav").read_bytes() for name in ("plain", "one", "three"))
    assert plain == one != three
    untrained = synthesize(run_directory, "none.wav", "--guidance", "3", check=False)
    assert untrained.returncode == 2
    assert "guidance 3: the model was trained without text_dropout" in untrained.stderr
    for value in ("-1", "nan", "inf"):
        wrong = synthesize(guided_run, "none.wav", "--guidance", value, check=False)
        assert wrong.returncode == 2
        assert "guidance" in wrong.stderr
    assert not (tmp_path / "none.wav").exists()


def test_dropped_texts_take_no_part_in_training(tokens: Path, tmp_path: Path) -> None:
    """The only text symbol with a gradient is the mark, and there is nothing to attend to."""
    for name, probability in (("dropped", 1.0), ("kept", 0.0)):
        options = [f"--model.init_args.text_dropout={probability}", "--model.init_args.guided_attention=0.5"]
        train("ARModule", tokens, tmp_path / name, 2, *options)
        checkpoint = torch.load(tmp_path / name / "last.ckpt", weights_only=True)
        shape = checkpoint["state_dict"]["model.phoneme_embedding.weight"].shape
        moments = [state["exp_avg"] for state in checkpoint["optimizer_states"][0]["state"].values()]
        (moment,) = [moment for moment in moments if moment.shape == shape]
        assert (int(moment.any(1).sum()) == 1) == (name == "dropped")
        assert bool(read_scalars(tmp_path / name, "train/guide")) == (name == "kept")


def nar_inputs() -> tuple[NAR, NARInputs]:
    torch.manual_seed(0)
    nar = NAR(30, CONFIG, codebook_size=40, num_codebooks=4).eval()
    sharpen(nar)
    lengths = torch.tensor([9, 6])
    return nar, NARInputs(
        text=Padded(torch.randint(1, 30, (2, 8)), torch.tensor([8, 5])),
        prompt=Padded(torch.randint(0, 40, (2, 5, 4)), torch.tensor([5, 5])),
        codes=Padded(torch.randint(0, 40, (2, 9, 1)), lengths),
    )


@torch.inference_mode()
def test_nar_codes_are_those_of_the_written_out_formula() -> None:
    nar, inputs = nar_inputs()
    with guided(nar, 2.5):
        guided_codes = nar.generate(inputs)
    codes = inputs.codes.values
    no_text = Padded(torch.zeros(2, 0, dtype=torch.long), torch.tensor([0, 0]))
    for stage in range(1, 4):
        step = inputs._replace(codes=Padded(codes, inputs.codes.lengths))
        stages = torch.tensor([stage, stage])
        conditional, unconditional = nar(step, stages), nar(step._replace(text=no_text), stages)
        code = (unconditional + 2.5 * (conditional - unconditional)).argmax(-1)
        codes = torch.cat((codes, code[..., None]), dim=-1)
    plain = nar.generate(inputs)
    for row, length in enumerate(inputs.codes.lengths.tolist()):
        assert torch.equal(guided_codes[row, :length], codes[row, :length])
    assert not torch.equal(guided_codes, plain)
    # Outside of the block, nothing is guided.
    assert torch.equal(nar.generate(inputs), plain)


def test_synth_guides_a_nar_model_trained_with_dropped_texts(
    run_directory: Path, tokens: Path, speech: Path, tmp_path: Path
) -> None:
    train("NARModule", tokens, tmp_path / "nar", 2, "--model.init_args.text_dropout=0.5")
    (tmp_path / "ar").symlink_to(run_directory / "ar")
    options = ["--text", "Hello.", "--prompt", speech, "--nar-guidance", "3"]
    command("valle-synth", "--model", tmp_path, *options, "-o", tmp_path / "guided.wav")
    assert (tmp_path / "guided.wav").is_file()
    untrained = command("valle-synth", "--model", run_directory, *options, "-o", tmp_path / "no.wav", check=False)
    assert untrained.returncode == 2
    assert "nar_guidance 3: the model was trained without text_dropout" in untrained.stderr
    assert not (tmp_path / "no.wav").exists()

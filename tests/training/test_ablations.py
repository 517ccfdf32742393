"""The ablations of both papers: what the models are trained on, and what they are conditioned on in synthesis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import valle
from tests.conftest import TINY, command, nar_inputs, random_ids, train, train_arguments
from tests.models.test_fidelity import DATA, loss_of_a_step, training_batch
from valle import audio, codec
from valle.data import kaldi
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.sampling import NARSampling
from valle.synthesis import TTS, Prompt
from valle.text import TextUnits, Vocabulary
from valle.training import NARModule

# NAR models of VALL-E's table 4, and of VALL-E 2's tables 3 and 6: options of training by name.
NO_PROMPT = {"prompt_seconds": 0.0, "max_prompt_seconds": 0.0}
NO_TEXT = {"text_condition": False}


def tiny_tts(layout: str = "valle2", **options: bool) -> TTS:
    """Random models of the codec `mini` that can speak "hello"."""
    torch.manual_seed(0)
    vocabulary = Vocabulary(["<pad>", " ", "b", "a", "d", "h", "ə", "l", "ˈ", "oʊ"])
    nar = NAR(10, TINY, layout=layout, **options)
    return TTS(AR(10, TINY, layout=layout), nar, 225, codec.load("mini"), vocabulary, TextUnits())


@pytest.mark.parametrize("prefix", [0.0, 1.0])
@pytest.mark.parametrize("layout", ["valle", "valle2"])
def test_training_without_acoustic_prompts_predicts_whole_utterances(layout: str, prefix: float) -> None:
    torch.manual_seed(0)
    module = NARModule(DATA, transformer=TINY, layout=layout, prefix_prompt_prob=prefix, **NO_PROMPT)
    seen: list[torch.Tensor] = []
    module.model.stage_embedding.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    batch = training_batch(20, 8)
    loss = loss_of_a_step(module, batch)
    logits = module.model(nar_inputs(batch.phonemes, batch.codes[:, :0], batch.codes), seen[0])
    codes = batch.codes[torch.arange(20), :, seen[0]]
    expected = -logits.log_softmax(-1).gather(2, codes[..., None]).mean().detach()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("options", [NO_TEXT, NO_TEXT | NO_PROMPT])
def test_training_without_text_depends_on_codes_only(options: dict) -> None:
    torch.manual_seed(0)
    module = NARModule(DATA, transformer=TINY, **options)
    batch = training_batch(20, 8)
    loss = loss_of_a_step(module, batch)
    batch.phonemes.copy_(1 + batch.phonemes % 11)
    assert torch.equal(loss_of_a_step(module, batch), loss)
    with_text = NARModule(
        DATA, transformer=TINY, **{name: value for name, value in options.items() if name in NO_PROMPT}
    )
    with_text.load_state_dict(module.state_dict())
    assert not torch.equal(loss_of_a_step(with_text, batch), loss)


def test_models_without_conditions_have_gradients_of_all_weights() -> None:
    """Distributed training waits for the gradient of every parameter."""
    torch.manual_seed(0)
    model = NARModule(DATA, transformer=TINY, **NO_TEXT, **NO_PROMPT).model
    reference = {name for name, _ in NARModule(DATA, transformer=TINY).model.named_parameters()}
    text, codes = random_ids(7, 5), random_ids(7, 6, 8, high=50)
    losses, _, _ = model.loss(nar_inputs(text, codes[:, :0], codes), torch.arange(1, 8))
    losses["loss"].backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == reference


def test_checkpoint_of_an_ablation_is_synthesized_without_its_conditions(
    tokens: Path, run_directory: Path, speech: Path, tmp_path: Path
) -> None:
    options = [f"--model.init_args.{name}={value}" for name, value in (NO_PROMPT | NO_TEXT).items()]
    train("NARModule", tokens, tmp_path / "nar", 1, *options)
    (tmp_path / "ar").symlink_to(run_directory / "ar")
    hyper_parameters = torch.load(tmp_path / "nar" / "last.ckpt", weights_only=True)["hyper_parameters"]
    assert hyper_parameters["text_condition"] is False
    assert hyper_parameters["prompt_seconds"] == 0
    assert NARModule.load_from_checkpoint(tmp_path / "nar" / "last.ckpt").model.text_condition is False
    tts = valle.load(tmp_path)
    lengths: list[tuple[int, ...]] = []
    tts.nar.transformer.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape))
    (result,) = tts.synthesize_batch(["Good morning."], [tts.prompt(speech)], [0])
    assert {shape[1] for shape in lengths} == {len(result.codes)}
    # Checkpoints from before this option have text.
    assert valle.load(run_directory).nar.text_condition


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("guided_attention", "guided_attention 1.0: needs the text"),
        ("text_dropout", "text_dropout 1.0: the model has no text"),
    ],
)
def test_options_of_the_text_without_text_are_one_line(option: str, reason: str, tokens: Path, tmp_path: Path) -> None:
    options = ["--model.init_args.text_condition=false", f"--model.init_args.{option}=1"]
    done = command("valle-train", *train_arguments("NARModule", tokens, tmp_path / "run", 1, *options), check=False)
    assert done.returncode == 2
    assert reason in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_ar_model_without_prompt_reads_the_text_alone() -> None:
    """VALL-E, table 5; VALL-E 2, table 3: the NAR model still has the prompt."""
    tts = tiny_tts()
    text: dict[str, list[list[int]]] = {"ar": [], "nar": []}
    codes: list[torch.Tensor] = []
    for kind, model in (("ar", tts.ar), ("nar", tts.nar)):
        model.phoneme_embedding.register_forward_hook(
            lambda _, inputs, output, kind=kind: text[kind].append(inputs[0][0].tolist())
        )
    tts.ar.code_embedding.register_forward_hook(lambda _, inputs, output: codes.append(inputs[0]))
    prompt = Prompt(random_ids(9, 8, high=1024), ("b", "a", "d"), "transcribed")
    tts.synthesize_batch(["hello"], [prompt], [0], attempts=1, ar_prompt=False)
    assert text["ar"][0][:5] == [5, 6, 7, 8, 9]
    assert codes[0].shape == (1, 0)
    assert text["nar"][0][:9] == [2, 3, 4, 1, 5, 6, 7, 8, 9]
    with pytest.raises(valle.UserError, match="no speech can be continued"):
        tts.synthesize_batch(["hello"], [Prompt(prompt.codes, mode="continuation")], [0], ar_prompt=False)


def test_prompt_as_prefix_has_the_text_and_all_frames_of_the_prompt() -> None:
    """VALL-E 2, table 3, "not explicitly split": of a model without acoustic prompts in training."""
    tts = tiny_tts()
    tts.nar_prompt_frames = 0
    prompt = Prompt(random_ids(9, 8, high=1024), ("b", "a", "d"), "transcribed")
    first = random_ids(6, high=1024)
    results = {}
    for prefix in (False, True):
        sampling = NARSampling(prompt_prefix=prefix)
        (speech,) = tts.synthesize_batch(["hello"], [prompt], [0], first_codes=[first], nar_sampling=sampling)
        results[prefix] = speech.codes
    joint = torch.tensor([[2, 3, 4, 1, 5, 6, 7, 8, 9]])
    given = first[None, :, None]
    expected = tts.nar.generate(nar_inputs(joint, prompt.codes[None], given), NARSampling(prompt_prefix=True))
    assert torch.equal(results[True], expected[0])
    alone = tts.nar.generate(nar_inputs(joint[:, 4:], prompt.codes[None, :0], given))
    assert torch.equal(results[False], alone[0])
    with pytest.raises(valle.UserError, match="more frames than the NAR model"):
        tts.synthesize_batch(["hello"], [prompt], [0], first_codes=[first.expand(700, 6).flatten()])
    with pytest.raises(valle.UserError, match="NAR models of VALL-E 2 only"):
        tiny_tts("valle").synthesize_batch(["hello"], [prompt], [0], nar_sampling=NARSampling(prompt_prefix=True))


def test_first_codes_of_recordings_are_not_predicted(run_directory: Path, corpus: Path, tmp_path: Path) -> None:
    """VALL-E, table 4: the input of the NAR model is the first codebook of the recording."""
    data = corpus / "test_seen"
    command("valle-synth", "--model", run_directory, "--data", data, "--output-dir", tmp_path, "--limit", "2",
            "--protocol", "reference", "--true-first-codes", "--nar-temperature", "0")  # fmt: skip
    tts = valle.load(run_directory)
    utterances = {utterance.id: utterance for utterance in kaldi.read(data)}
    files = sorted((tmp_path / "codes").iterdir())
    assert len(files) == 2
    for file in files:
        utterance = utterances[file.stem]
        recording = audio.read(utterance.path, start=utterance.start, end=utterance.end)
        codes = tts.codec.encode(recording.samples, recording.sample_rate)
        synthesized = torch.from_numpy(np.load(file).astype(np.int64))
        assert synthesized.shape == codes.shape
        assert torch.equal(synthesized[:, 0], codes[:, 0])
        assert not torch.equal(synthesized, codes)


def test_command_synthesizes_the_rows_of_table_3(tokens: Path, speech: Path, tmp_path: Path) -> None:
    """VALL-E 2: all inputs, the prompt as prefix, and no prompt of the AR model, of one NAR model without prompts."""
    layout = "--model.init_args.layout=valle2"
    train("ARModule", tokens, tmp_path / "run" / "ar", 1, layout)
    without = [f"--model.init_args.{name}={value}" for name, value in NO_PROMPT.items()]
    train("NARModule", tokens, tmp_path / "run" / "nar", 1, layout, *without)
    text = "Good morning."
    (tmp_path / "list.tsv").write_text(f"id\tprompt\tprompt_text\ttext\none\t{speech}\tThe quick brown fox.\t{text}\n")
    codes = {}
    for option in ("", "--nar-prompt-prefix", "--no-ar-prompt"):
        output = tmp_path / f"out{option}"
        command("valle-synth", "--model", tmp_path / "run", "--data", tmp_path / "list.tsv", "--output-dir", output,
                *[option] * bool(option))  # fmt: skip
        codes[option] = np.load(output / "codes" / "one.npy")
    assert np.array_equal(codes[""][:, 0], codes["--nar-prompt-prefix"][:, 0])
    assert not np.array_equal(codes[""], codes["--nar-prompt-prefix"])
    assert not np.array_equal(codes[""][:10, 0], codes["--no-ar-prompt"][:10, 0])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--true-first-codes", "--text", "Hello."], "--true-first-codes goes with --data"),
        (["--true-first-codes", "--data", "list.tsv"], "list.tsv is a test list"),
        (["--true-first-codes", "--data", "data", "--protocol", "continuation"], "--protocol continuation"),
        (["--no-ar-prompt", "--data", "data", "--protocol", "continuation"], "--protocol continuation"),
        (["--nar-prompt-prefix", "--nar-prompt-seconds", "3", "--text", "Hello."], "leave its seconds out"),
    ],
)
def test_switches_that_do_not_go_together_are_one_line(options: list[str], named: str, tmp_path: Path) -> None:
    (tmp_path / "list.tsv").touch()
    (tmp_path / "data").mkdir()
    output = ["--output-dir", "out"] if "--data" in options else ["-o", "out/out.wav"]
    done = command("valle-synth", *options, *output, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert named in done.stderr
    assert not (tmp_path / "out").exists()


def test_untranscribed_prompts_that_the_ar_model_does_not_read_are_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    tts = tiny_tts()
    tts.untranscribed_prompts = False
    prompt = Prompt(random_ids(9, 8, high=1024))
    tts.synthesize_batch(["hello"], [prompt], [0], first_codes=[random_ids(6, high=1024)])
    tts.synthesize_batch(["hello"], [prompt], [0], ar_prompt=False)
    assert not [warning for warning in recwarn if warning.category is valle.PromptWarning]
    tts.synthesize_batch(["hello"], [prompt], [0])
    assert [warning for warning in recwarn if warning.category is valle.PromptWarning]

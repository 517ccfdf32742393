"""Training, checkpoints and synthesis of models with a phoneme stream, as a user runs them."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
import torch

import valle
from tests.conftest import command, train, train_arguments
from tests.training.runs import read_scalars, read_weights
from valle.checkpoint import load_model
from valle.errors import UserError
from valle.extensions.phoneme_stream import PhonemeStreamAR
from valle.synthesis.prompt import Prompt

STREAM = "--model.init_args.phoneme_stream=true"


@pytest.fixture(scope="module")
def stream_run(run_directory: Path, tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory whose AR model was fine-tuned with a phoneme stream from the one of `run_directory`."""
    root = tmp_path_factory.mktemp("stream")
    options = ["--trainer.val_check_interval=1", "--trainer.check_val_every_n_epoch=null"]
    train("ARModule", tokens, root / "ar", 6, STREAM, f"--init_from={run_directory}", *options)
    shutil.copytree(run_directory / "nar", root / "nar")
    return root


def test_training_logs_the_losses_of_codes_and_phonemes(stream_run: Path) -> None:
    for split in ("train", "valid"):
        losses, codes, phonemes = (
            read_scalars(stream_run / "ar", f"{split}/{name}") for name in ("loss", "codes", "phonemes")
        )
        assert losses
        assert losses == pytest.approx({step: codes[step] + phonemes[step] for step in losses}, rel=1e-3)
    assert list(phonemes.values())[-1] < next(iter(phonemes.values()))


def test_a_checkpoint_holds_the_stream_and_earlier_ones_have_none(stream_run: Path, run_directory: Path) -> None:
    model, parameters = load_model(stream_run / "ar" / "last.ckpt")
    assert isinstance(model, PhonemeStreamAR)
    assert parameters["phoneme_stream"] is True
    assert type(load_model(run_directory / "ar" / "last.ckpt")[0]).__name__ == "AR"
    assert bool(model.stream_head.weight.any())


def test_durations_are_a_result_and_can_be_given(stream_run: Path) -> None:
    tts = valle.load(stream_run)
    text = "A cat, a dog."
    codes = torch.randint(0, 1024, (40, 8), generator=torch.Generator().manual_seed(0))
    transcribed = Prompt(codes, tts.encode_text("Good day.").symbols, "transcribed")
    prompts = [Prompt(codes), transcribed, Prompt(codes, mode="continuation")]
    results = tts.synthesize_batch([text] * 3, prompts, [0, 1, 2])
    symbols = tts.encode_text(text).symbols
    for result in results:
        assert result.durations is not None
        assert [symbol for symbol, _ in result.durations] == ["", *symbols]
        assert sum(frames for _, frames in result.durations) == len(result.codes)
    # The text of a continuation begins in the prompt.
    for result in results[:2]:
        assert result.durations is not None
        assert all(frames > 0 for symbol, frames in result.durations if symbol.isalpha() and symbol not in "ˈˌ")
    durations = [0, *(0 if symbol in " ˈˌ" else 3 for symbol in symbols)]
    (again,) = tts.synthesize_batch([text], prompts[:1], [0], durations=[durations])
    assert again.durations is not None
    assert [frames for _, frames in again.durations] == durations
    assert not again.truncated
    (usual,) = tts.synthesize_batch([text], prompts[:1], [0])
    (slow,) = tts.synthesize_batch([text], prompts[:1], [0], speed=0.5)
    assert usual.durations is not None
    assert slow.durations == [(symbol, 2 * frames) for symbol, frames in usual.durations]
    # Streams are stretched.
    lengths = [sum(len(c.samples) for c in tts.stream(text, prompts[0], speed=speed)) for speed in (1.0, 0.5)]
    assert lengths[1] == pytest.approx(2 * lengths[0], abs=2)
    with pytest.raises(UserError, match="for a text of"):
        tts.synthesize_batch([text], prompts[:1], [0], durations=[[1, 2, 3]])
    with pytest.raises(UserError, match="phoneme stream"):
        tts.synthesize(text, prompts[0], attention_constraint=True)


def test_synth_needs_no_further_options(stream_run: Path, run_directory: Path, speech: Path, tmp_path: Path) -> None:
    options = ["--text", "Hello.", "--prompt", speech, "--speed", "1.5", "-o", tmp_path / "out.wav"]
    command("valle-synth", "--model", stream_run, *options)
    assert (tmp_path / "out.wav").is_file()
    (tmp_path / "out.wav").unlink()
    # Other models are stretched.
    command("valle-synth", "--model", run_directory, *options)
    assert (tmp_path / "out.wav").is_file()


def test_a_stream_has_the_codes_of_the_whole(stream_run: Path) -> None:
    tts = valle.load(stream_run)
    prompt = Prompt(torch.randint(0, 1024, (40, 8), generator=torch.Generator().manual_seed(0)))
    (whole,) = tts.synthesize_batch(["A cat."], [prompt], [3])
    chunks = list(tts.stream("A cat.", prompt, seed=3))
    assert sum(chunk.duration for chunk in chunks) == pytest.approx(whole.audio.duration, abs=0.05)


def test_exported_model_keeps_the_stream_and_can_be_trained_on(stream_run: Path, tokens: Path, tmp_path: Path) -> None:
    command("python", "-m", "valle.training.export_model", stream_run, tmp_path / "model")
    model, _ = load_model(tmp_path / "model" / "ar.safetensors")
    assert isinstance(model, PhonemeStreamAR)
    options = [f"--init_from={tmp_path / 'model'}", "--model.init_args.optimizer.learning_rate=1e-12"]
    train("ARModule", tokens, tmp_path / "more", 1, STREAM, *options)
    before, after = (read_weights(path / "last.ckpt") for path in (stream_run / "ar", tmp_path / "more"))
    for name in before:
        torch.testing.assert_close(after[name], before[name], atol=2e-3, rtol=2e-3)
    # Without the option, the stream is left out.
    train("ARModule", tokens, tmp_path / "plain", 1, *options)
    assert not any("stream" in name for name in read_weights(tmp_path / "plain" / "last.ckpt"))


def without_times(source: Path, target: Path, left_out: int) -> None:
    """Copy folders of tokens without the phoneme times of the first training utterances."""
    shutil.copytree(source, target)
    for folder in [target / "train"]:
        cuts = []
        files = sorted(folder.glob("cuts.*.jsonl.gz"))
        for file in files:
            cuts.append([json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()])
        for cut in [cut for shard in cuts for cut in shard][:left_out]:
            del cut["custom"]["starts"]
        for file, shard in zip(files, cuts, strict=True):
            file.write_bytes(gzip.compress("\n".join(json.dumps(cut) for cut in shard).encode()))


def test_utterances_without_phoneme_times_are_left_out_and_counted(tokens: Path, tmp_path: Path) -> None:
    without_times(tokens, tmp_path / "some", 1)
    done = train("ARModule", tmp_path / "some", tmp_path / "run", 1, STREAM)
    assert "1 of 10 utterances have" in done.stderr
    assert "no phoneme times and are left out" in done.stderr
    without_times(tokens, tmp_path / "none", 1000)
    arguments = train_arguments("ARModule", tmp_path / "none", tmp_path / "run2", 1, STREAM)
    failed = command("valle-train", *arguments, check=False)
    assert failed.returncode == 2
    assert "no utterance has phoneme times" in failed.stderr

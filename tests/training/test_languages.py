"""Training on folders of several languages, and synthesis in each of them, as a user runs them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import valle
from tests.conftest import command, train, train_arguments
from tests.training.runs import read_weights
from valle.checkpoint import load_model
from valle.data import kaldi
from valle.data.datamodule import TokensDataModule
from valle.errors import UserError
from valle.extensions.language_ids import LanguageIdAR
from valle.synthesis.jobs import make_job
from valle.synthesis.options import SynthesisOptions
from valle.synthesis.planning import TextPart
from valle.synthesis.prompt import Prompt

IDS = "--model.init_args.language_ids=true"
OPTIONS = SynthesisOptions()
GERMAN = ["Guten Tag, schöne Frau.", "Das Mädchen läuft über die Brücke.", "Zwölf Boxkämpfer jagen Viktor."]


@pytest.fixture(scope="module")
def languages(tokens: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of English tokens (train, valid), and german, tokenized from the same recordings with other texts."""
    root = tmp_path_factory.mktemp("languages")
    source = kaldi.read(corpus / "train")[:6]
    utterances = [
        kaldi.Utterance(f"{u.id}-de", u.path, GERMAN[i % 3], u.speaker, u.start, u.end) for i, u in enumerate(source)
    ]
    kaldi.write(root / "data", utterances)
    command("valle-tokenize", root / "data", root / "german", "--codec", "mini", "--language", "de")
    for name in ("train", "valid"):
        shutil.copytree(tokens / name, root / name)
    return root


def both(root: Path) -> str:
    return f"--data.init_args.train=[{root / 'train'},{root / 'german'}]"


@pytest.fixture(scope="module")
def run(languages: Path, run_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory, fine-tuned from an English one with language IDs."""
    root = tmp_path_factory.mktemp("run")
    train("ARModule", languages, root / "ar", 4, both(languages), IDS, f"--init_from={run_directory}")
    train("NARModule", languages, root / "nar", 2, both(languages), f"--init_from={run_directory}")
    return root


def test_each_utterance_has_the_language_of_its_folder(languages: Path) -> None:
    folders = [str(languages / name) for name in ("train", "german")]
    data = TokensDataModule(folders, folders[:1], max_duration=20, num_buckets=2, num_workers=0)
    assert data.languages == ["de", "en-us"]
    english = TokensDataModule(folders[:1], folders[:1]).vocabulary.symbols
    german = TokensDataModule(folders[1:], folders[1:]).vocabulary.symbols
    assert set(data.vocabulary.symbols) == set(english) | set(german)
    assert {"ç", "øː"} <= set(german) - set(english)
    seen = set()
    for batch in data.train_dataloader():
        assert batch.languages.tolist() == [1 - key.endswith("-de") for key in batch.ids]
        seen |= set(batch.languages.tolist())
    assert seen == {0, 1}


def test_fine_tuning_keeps_the_ids_of_phonemes_and_adds_languages(run: Path, run_directory: Path) -> None:
    model, parameters = load_model(run / "ar" / "last.ckpt")
    assert isinstance(model, LanguageIdAR)
    assert parameters["languages"] == ["de", "en-us"]
    assert parameters["language"] == "en-us"
    before = load_model(run_directory / "ar" / "last.ckpt")[1]["vocabulary"]
    assert parameters["vocabulary"][: len(before)] == before
    assert bool(model.language_embedding.weight.any())


def test_checkpoint_without_languages_has_one(run_directory: Path) -> None:
    tts = valle.load(run_directory)
    assert tts.languages == ("en-us",)
    with pytest.raises(UserError, match="language 'de': the model was trained on en-us; give one of them"):
        tts.encode_text("Guten Tag.", language="de")


def test_each_text_is_normalized_and_phonemized_in_its_language(run: Path) -> None:
    tts = valle.load(run)
    german, english = (tts.encode_text("Die Hand.", language=language) for language in ("de", "en-us"))
    assert (german.language, english.language) == ("de", "en-us")
    assert german.symbols != english.symbols
    assert tts.encode_text("Die Hand.").symbols == english.symbols


def test_cross_lingual_prompt_has_its_own_phonemes_and_id(run: Path, speech: Path) -> None:
    tts = valle.load(run)
    assert isinstance(tts.ar, LanguageIdAR)
    prompt = tts.prompt(speech, "The quick fox.", language="en-us")
    text = tts.encode_text("Schöne Brücke.", language="de")
    job = make_job(tts, TextPart(text), prompt, text=0, number=0, seed=0)
    expected = [*tts.encode_text("The quick fox.").symbols, " ", *text.symbols]
    assert job.joint.tolist() == tts.vocabulary.encode(expected)
    request = tts._decoder()._request(job, OPTIONS)
    english, german = (tts.ar.embed_languages(torch.tensor(index)) for index in (1, 0))
    assert request.prompt_condition is not None
    assert torch.equal(request.prompt_condition, english.expand_as(request.prompt_condition))
    assert request.condition is not None
    assert torch.equal(request.condition, german)


def test_speech_depends_on_the_language_of_the_prompt(run: Path) -> None:
    tts = valle.load(run)
    # The embeddings were trained for four steps only.
    with torch.no_grad():
        tts.ar.get_parameter("language_embedding.weight").normal_(std=0.5)
    codes = torch.randint(0, 1024, (40, 8), generator=torch.Generator().manual_seed(0))
    text = tts.encode_text("Schöne Brücke.", language="de")
    prompts = [Prompt(codes), Prompt(codes, language="de"), Prompt(codes, language="en-us")]
    first, same, other = (s.codes.tolist() for s in tts.synthesize_batch([text] * 3, prompts, [0] * 3, attempts=1))
    assert first == same != other


def test_synth_takes_the_languages_of_text_and_prompt(run: Path, speech: Path, tmp_path: Path) -> None:
    options = ["--model", run, "--text", "Guten Tag.", "-o", tmp_path / "out.wav"]
    prompt = ["--prompt", speech, "--prompt-text", "The quick brown fox jumps.", "--prompt-language", "en-us"]
    command("valle-synth", *options, "--language", "de", *prompt)
    assert (tmp_path / "out.wav").is_file()
    (tmp_path / "out.wav").unlink()
    command("valle-synth", *options, "--language", "de")
    (tmp_path / "out.wav").unlink()
    for more, message in (
        (["--language", "fr-fr"], "language 'fr-fr': the model was trained on de, en-us; give one of them"),
        ([*prompt[:-1], "nl"], "language 'nl': the model was trained on de, en-us"),
        (["--prompt-language", "de"], "--prompt-language goes with --prompt"),
    ):
        done = command("valle-synth", *options, *more, check=False)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "out.wav").exists()


def test_test_list_names_the_languages(run: Path, speech: Path, tmp_path: Path) -> None:
    lines = ["prompt\ttext\tlanguage\tprompt_language", f"{speech}\tGuten Tag.\tde\ten-us", f"{speech}\tGood day.\t\t"]
    (tmp_path / "list.tsv").write_text("\n".join(lines) + "\n")
    command("valle-synth", "--model", run, "--data", tmp_path / "list.tsv", "--output-dir", tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.wav"))) == 2
    (tmp_path / "list.tsv").write_text("\n".join(lines).replace("\tde\t", "\tnl\t") + "\n")
    failed = command(
        "valle-synth", "--model", run, "--data", tmp_path / "list.tsv", "--output-dir", tmp_path / "none", check=False
    )
    assert failed.returncode == 2
    assert "language 'nl'" in failed.stderr
    assert not (tmp_path / "none").exists()


def test_wrong_combinations_are_reported(languages: Path, tmp_path: Path) -> None:
    for more, message in (
        ([IDS], "language_ids true: all tokens are in one language (en-us)"),
        ([IDS, both(languages), "--model.init_args.phoneme_stream=true"], "language_ids true: not with"),
    ):
        arguments = train_arguments("ARModule", languages, tmp_path / "run", 1, *more)
        failed = command("valle-train", *arguments, check=False)
        assert failed.returncode == 2
        assert message in failed.stderr


def test_model_with_language_ids_is_exported_and_fine_tuned_on_one_language(
    run: Path, languages: Path, tmp_path: Path
) -> None:
    command("python", "-m", "valle.training.export_model", run, tmp_path / "model")
    tts = valle.load(tmp_path / "model")
    assert isinstance(tts.ar, LanguageIdAR)
    assert tts.languages == ("de", "en-us")
    options = [f"--init_from={tmp_path / 'model'}", "--model.init_args.optimizer.learning_rate=1e-12"]
    german = [f"--data.init_args.{part}=[{languages / 'german'}]" for part in ("train", "valid")]
    arguments = train_arguments("ARModule", languages, tmp_path / "none", 1, *german, *options)
    failed = command("valle-train", *arguments, check=False)
    assert failed.returncode == 2
    assert "the model has language IDs; give" in failed.stderr
    train("ARModule", languages, tmp_path / "more", 1, IDS, *german, *options)
    before, after = (read_weights(path / "last.ckpt") for path in (run / "ar", tmp_path / "more"))
    for name in before:
        torch.testing.assert_close(after[name], before[name], atol=2e-3, rtol=2e-3)

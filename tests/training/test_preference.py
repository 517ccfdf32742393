"""Preference tuning: loss, reference policy, pairs, and the chain of commands."""

from __future__ import annotations

import gzip
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, TINY, command, sharpen
from tests.training.runs import assert_same_weights, read_weights, train_and_kill
from valle.checkpoint import BUNDLED, read_checkpoint
from valle.data.preferences import PreferenceBatch, PreferenceDataModule
from valle.errors import UserError
from valle.extensions.preference import dpo_loss, reference_log_probs, sequence_log_probs
from valle.models.ar import AR
from valle.models.lora import LowRank, add_adapters, merged, without_adapters
from valle.models.sequence import Padded
from valle.synthesis.voices import find_voice
from valle.text import PADDING
from valle.training import PreferenceModule
from valle.training.config import DataConfig, TrainingConfig

PREFIX = [4, 9, 50, 50]  # two codes of the prompt, and a group of EOS tokens
CHOSEN = [3, 8, 21, 5, 5, 30]
REJECTED = [3, 8, 7, 7]


@pytest.fixture
def model() -> AR:
    """A tiny model with adapters that change what it computes."""
    torch.manual_seed(0)
    model = AR(12, TINY, codebook_size=50, group_size=2)
    sharpen(model)
    add_adapters(model, 2)
    for module in model.modules():
        if isinstance(module, LowRank):
            torch.nn.init.normal_(module.up, std=0.05)
    return model


def sequences(*candidates: list[int]) -> tuple[Padded, Padded, torch.Tensor]:
    """Text, codes and prefix lengths of candidates for the same text."""
    text = torch.tensor([[1, 2, 3]]).repeat(len(candidates), 1)
    rows = [torch.tensor(PREFIX + candidate) for candidate in candidates]
    codes = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return Padded(text, torch.tensor([3] * len(rows))), Padded(codes, lengths), torch.tensor([len(PREFIX)] * len(rows))


def log_prob(model: AR, candidate: list[int], truncated: bool) -> float:
    """Sum the log-probabilities of a candidate's codes, one after the other."""
    ended = candidate if truncated else [*candidate, model.eos, model.eos]
    total = 0.0
    for start in range(0, len(ended), 2):
        before = torch.tensor([PREFIX + ended[:start]])
        logits = model(torch.tensor([[1, 2, 3]]), torch.tensor([3]), before, torch.tensor([before.shape[1]]))[0, -1]
        for position, code in enumerate(ended[start : start + 2]):
            total += float(logits[position].log_softmax(-1)[code])
    return total


def test_log_probabilities_are_those_of_all_codes_and_eos_after_the_prompt(model: AR) -> None:
    text, codes, prefixes = sequences(CHOSEN, REJECTED)
    sums, counts = sequence_log_probs(model, text, codes, prefixes, torch.tensor([False, True]))
    expected = [log_prob(model, CHOSEN, truncated=False), log_prob(model, REJECTED, truncated=True)]
    torch.testing.assert_close(sums, torch.tensor(expected))
    assert counts.tolist() == [len(CHOSEN) + 2, len(REJECTED)]


def test_loss_is_equation_7_of_the_paper(model: AR) -> None:
    beta = 0.3
    arguments = (*sequences(CHOSEN, REJECTED), torch.tensor([False, False]))
    ratios = sequence_log_probs(model, *arguments).sums - reference_log_probs(model, *arguments)
    policy = [log_prob(model, candidate, truncated=False) for candidate in (CHOSEN, REJECTED)]
    with without_adapters(model):
        reference = [log_prob(model, candidate, truncated=False) for candidate in (CHOSEN, REJECTED)]
    margin = beta * ((policy[0] - reference[0]) - (policy[1] - reference[1]))
    assert abs(margin) > 0.01
    torch.testing.assert_close(dpo_loss(ratios, beta), torch.tensor(math.log1p(math.exp(-margin))))


def test_steps_on_a_pair_make_the_chosen_one_likelier_and_leave_the_reference_unchanged(model: AR) -> None:
    arguments = (*sequences(CHOSEN, REJECTED), torch.tensor([False, False]))
    model.phoneme_embedding.requires_grad_(False)
    reference = reference_log_probs(model, *arguments)
    before = sequence_log_probs(model, *arguments).sums.detach()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(5):
        ratios = sequence_log_probs(model, *arguments).sums - reference_log_probs(model, *arguments)
        optimizer.zero_grad()
        dpo_loss(ratios, 0.1).backward()
        optimizer.step()
    after = sequence_log_probs(model, *arguments).sums.detach()
    margins = [float(sums[0] - sums[1]) for sums in (before, after)]
    assert margins[1] > margins[0] + 1
    assert torch.equal(reference_log_probs(model, *arguments), reference)
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert trained
    assert all(name.endswith((".up", ".down")) for name in trained)


def batch() -> PreferenceBatch:
    """One pair."""
    text, codes, prefixes = sequences(CHOSEN, REJECTED)
    return PreferenceBatch(
        phonemes=text.values,
        phoneme_lengths=text.lengths,
        codes=codes.values,
        code_lengths=codes.lengths,
        prefix_lengths=prefixes,
        truncated=torch.tensor([False, False]),
        ids=["pair"],
    )


def modules(**options: object) -> PreferenceModule:
    """A tiny module; dropout is off."""
    torch.manual_seed(0)
    data = DataConfig(vocabulary=[PADDING, *map(str, range(11))], codebook_size=50)
    training = TrainingConfig(lora_rank=2)
    return PreferenceModule(data, transformer=TINY, training=training, group_size=2, **options)


def test_module_trains_the_adapters_alone() -> None:
    module = modules(nll_weight=1.0)
    module.training_step(batch(), 0).backward()
    names = {name for name, p in module.named_parameters() if p.requires_grad}
    assert names
    assert all(".parametrizations.weight.0." in name for name in names)


def test_sft_is_the_cross_entropy_of_the_chosen_candidate() -> None:
    module = modules(objective="sft")
    loss = module.training_step(batch(), 0)
    expected = -log_prob(module.model, CHOSEN, truncated=False) / (len(CHOSEN) + 2)
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_training_without_adapters_is_refused() -> None:
    with pytest.raises(UserError, match="lora_rank"):
        PreferenceModule(DataConfig(vocabulary=[PADDING, "a"]), training=TrainingConfig(lora_rank=0))


TEXTS = ("Sit down.", "A cup of tea.", "Good night, Tom.", "Where is it?")


@pytest.fixture(scope="module")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two candidates of the bundled model for each of `TEXTS`: list.tsv, wav/, and their scores in report/."""
    folder = tmp_path_factory.mktemp("candidates")
    prompt = find_voice("clara").recording
    lines = ["id\tprompt\ttext", *(f"{key}\t{prompt}\t{text}" for key, text in enumerate(TEXTS))]
    (folder / "list.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = ("--num-candidates", "2", "--attempts", "1", "--save-samples", "--nar-stages", "1", "--no-watermark")
    command("valle-synth", "--data", folder / "list.tsv", "--output-dir", folder / "wav", "--voice-alone", *options)
    # Of the last text, both candidates have the same transcript.
    transcripts = [f"{key}-1 nothing\n{key}-2 {'nothing' if key == 3 else text}" for key, text in enumerate(TEXTS)]
    (folder / "transcripts").write_text("\n".join(transcripts) + "\n", encoding="utf-8")
    scoring = ("--transcripts", folder / "transcripts", "--select", "sort", "--listen", "0")
    command("valle-eval", folder / "list.tsv", folder / "wav", folder / "report", *scoring)
    return folder


@pytest.fixture(scope="module")
def pairs(candidates: Path) -> Path:
    """The folder of pairs of `candidates`."""
    command("valle-prepare", "preferences", candidates / "wav", candidates / "report", candidates / "pairs")
    return candidates / "pairs"


def recipe_options(pairs: Path, root: Path) -> list[str]:
    """Options of `valle-train` for a run of five steps."""
    return [
        f"--config={ROOT / 'recipes' / 'bundled' / 'ar_preference.yaml'}",
        "--init_from=small",
        f"--data.init_args.train=[{pairs / 'train'}]",
        f"--data.init_args.valid=[{pairs / 'valid'}]",
        f"--trainer.default_root_dir={root}",
        "--trainer.max_steps=5",
        "--trainer.enable_progress_bar=false",
        "--save_every=1",
    ]


def test_pairs_are_the_candidates_as_they_were_sampled(candidates: Path, pairs: Path) -> None:
    samples = [json.loads(line) for line in (candidates / "wav" / "samples.jsonl").read_text().splitlines()]
    by_file = {sample["file"]: sample for sample in samples}
    data = PreferenceDataModule([str(pairs / "train")], [str(pairs / "valid")], num_workers=0)
    batches = [batch for loader in (data.train_dataloader(), data.val_dataloader()) for batch in loader]
    assert {key for batch in batches for key in batch.ids} == {"0", "1", "2"}
    for pair in batches:
        for row, key in enumerate(2 * pair.ids):
            sample = by_file[f"{key}-{2 if row < len(pair.ids) else 1}.wav"]
            assert pair.codes[row, : pair.code_lengths[row]].tolist() == sample["prefix"] + sample["codes"]
            assert pair.prefix_lengths[row] == len(sample["prefix"])
            phonemes = data.vocabulary.encode(sample["phonemes"])
            assert pair.phonemes[row, : pair.phoneme_lengths[row]].tolist() == phonemes


def test_tuned_model_synthesizes_and_a_killed_run_ends_with_the_same_weights(pairs: Path, tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight" / "ar", tmp_path / "killed" / "ar"
    command("valle-train", "preference", *recipe_options(pairs, straight))
    options = recipe_options(pairs, killed)
    train_and_kill(4, "ARModule", pairs, killed, 5, *options)
    command("valle-train", "preference", *options)
    assert_same_weights(straight / "last.ckpt", killed / "last.ckpt")

    for suffix in (".safetensors", ".json"):
        shutil.copy((BUNDLED / "small" / "nar").with_suffix(suffix), straight.parent)
    speech = tmp_path / "speech.wav"
    command("valle-synth", "--model", straight.parent, "--text", "Some words.", "-o", speech)
    assert speech.is_file()
    source = read_checkpoint(BUNDLED / "small" / "ar.safetensors")["state_dict"]
    tuned = merged(read_weights(straight / "last.ckpt"))
    changed = {name for name, weight in source.items() if not torch.equal(weight, tuned[name])}
    layers = ("qkv.weight", "out.weight", "ffn_in.weight", "ffn_out.weight")
    assert changed == {name for name in source if name.endswith(layers)}


def test_bad_input_is_one_line(pairs: Path, tmp_path: Path) -> None:
    shutil.copytree(pairs / "train", tmp_path / "tokens")
    with gzip.open(tmp_path / "tokens" / "cuts.000000.jsonl.gz", "wt") as file:
        file.write('{"custom": {}}\n')
    shutil.copytree(BUNDLED / "small", tmp_path / "other")
    path = tmp_path / "other" / "ar.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"codec": "small"', '"codec": "mini"'), encoding="utf-8")
    for option, message in (
        ("--init_from=", "--init_from: preference tuning starts from a trained AR model"),
        (f"--init_from={tmp_path / 'other'}", "of codec mini, the pairs are of small"),
        (f"--data.init_args.train=[{tmp_path / 'tokens'}]", "tokens: holds no preference pairs"),
    ):
        options = [*recipe_options(pairs, tmp_path / "run"), option]
        done = command("valle-train", "preference", *options, check=False)
        assert done.returncode == 2
        assert message in done.stderr.splitlines()[-1]
        assert not (tmp_path / "run").exists()


def test_candidates_without_samples_or_scores_are_one_line(candidates: Path, tmp_path: Path) -> None:
    for synthesized, report, message in (
        (tmp_path, candidates / "report", "samples.jsonl: does not exist"),
        (candidates / "wav", tmp_path, "candidates.jsonl: does not exist"),
    ):
        done = command("valle-prepare", "preferences", synthesized, report, tmp_path / "out", check=False)
        assert done.returncode == 2
        assert message in done.stderr.splitlines()[-1]
        assert not (tmp_path / "out").exists()

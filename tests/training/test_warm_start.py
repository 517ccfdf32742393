"""Training that starts from the weights of another model, and LoRA adapters."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

import valle
from tests.conftest import command, nar_inputs, random_ids, train, train_arguments
from tests.training.runs import read_weights
from valle import codec
from valle.models.ar import AR
from valle.models.config import TransformerConfig
from valle.models.lora import add_adapters, merged
from valle.training import ARModule, NARModule
from valle.training.config import nest
from valle.training.warm_start import start_from


def test_init_from_copies_weights_of_another_run(run_directory: Path, tokens: Path, tmp_path: Path) -> None:
    source = run_directory / "ar" / "last.ckpt"
    options = [f"--init_from={source}", "--model.init_args.optimizer.learning_rate=1e-12"]
    train("ARModule", tokens, tmp_path / "ar", 1, *options)
    before = read_weights(source)
    after = read_weights(tmp_path / "ar" / "last.ckpt")
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_code_embeddings_are_initialized_with_the_codecs_vectors(tokens: Path, tmp_path: Path) -> None:
    options = ["--model.init_args.optimizer.learning_rate=1e-12", "--model.init_args.transformer.dim=64"]
    train("NARModule", tokens, tmp_path / "nar", 1, "--init_codebooks=true", *options)
    state = read_weights(tmp_path / "nar" / "last.ckpt")
    vectors = codec.load("mini").codebooks
    embedded = torch.stack([state[f"model.code_embeddings.{book}.weight"] for book in range(8)])
    vectors = vectors - vectors.mean(1, keepdim=True)
    codes = torch.randint(1024, (8, 200), generator=torch.Generator().manual_seed(0))[..., None]
    latents, sums = (x.gather(1, codes.expand(-1, -1, 64)).sum(0) for x in (vectors, embedded))
    expected = F.cosine_similarity(*latents.reshape(2, 100, -1))
    torch.testing.assert_close(F.cosine_similarity(*sums.reshape(2, 100, -1)), expected, atol=1e-3, rtol=0)


def test_deeper_model_starts_with_the_same_outputs(run_directory: Path, tokens: Path, tmp_path: Path) -> None:
    shallow = NARModule.load_from_checkpoint(run_directory / "nar" / "last.ckpt")
    layers = shallow.hparams["layers"]
    options = ["--model.init_args.optimizer.learning_rate=1e-30", f"--model.init_args.transformer.layers={layers + 2}"]
    train("NARModule", tokens, tmp_path / "nar", 1, f"--init_from={run_directory}", *options)
    deep = NARModule.load_from_checkpoint(tmp_path / "nar" / "last.ckpt")
    assert len(deep.model.transformer.blocks) == layers + 2
    codes = random_ids(1, 12, 8, high=1024)
    inputs = nar_inputs(random_ids(1, 12), codes, codes)
    stage = torch.tensor([3])
    torch.testing.assert_close(deep.eval().model(inputs, stage), shallow.eval().model(inputs, stage))


def test_grouped_model_starts_from_an_ungrouped_one(tokens: Path, run_directory: Path, tmp_path: Path) -> None:
    options = [f"--init_from={run_directory}", "--model.init_args.optimizer.learning_rate=1e-30"]
    train("ARModule", tokens, tmp_path / "ar", 1, "--model.init_args.group_size=2", *options)
    grouped = ARModule.load_from_checkpoint(tmp_path / "ar" / "last.ckpt").model
    single = ARModule.load_from_checkpoint(run_directory / "ar" / "last.ckpt").model
    assert torch.equal(grouped.head.weight, single.head.weight)
    torch.testing.assert_close(grouped.group_prediction.weight, torch.eye(32).repeat(2, 1))


def test_init_from_a_model_of_other_sizes_is_one_line(tokens: Path, run_directory: Path, tmp_path: Path) -> None:
    arguments = train_arguments(
        "ARModule",
        tokens,
        tmp_path / "other",
        1,
        f"--init_from={run_directory}",
        "--model.init_args.transformer.dim=64",
    )
    done = command("valle-train", *arguments, check=False)
    assert done.returncode == 2
    assert "--init_from" in done.stderr.splitlines()[-1]


def test_larger_vocabulary_copies_embeddings_by_symbol(run_directory: Path) -> None:
    source = run_directory / "ar" / "last.ckpt"
    before = ARModule.load_from_checkpoint(source)
    symbols = [*before.vocabulary.symbols[:5], "ʀ", *before.vocabulary.symbols[5:], "œ̃"]
    module = ARModule(**nest(before.hparams | {"vocabulary": symbols}))
    fresh = module.model.phoneme_embedding.weight.detach().clone()
    start_from(module, str(source))
    old = before.model.phoneme_embedding.weight
    new = module.model.phoneme_embedding.weight
    ids = {symbol: index for index, symbol in enumerate(before.vocabulary.symbols)}
    for index, symbol in enumerate(symbols):
        expected = old[ids[symbol]] if symbol in ids else fresh[index]
        assert torch.equal(new[index], expected), symbol
    # The EOS token of the text.
    assert torch.equal(new[len(symbols) :], old[len(before.vocabulary.symbols) :])
    assert torch.equal(module.model.head.weight, before.model.head.weight)


def test_adapters_start_at_zero_and_merge_into_the_weights() -> None:
    torch.manual_seed(0)
    model = AR(12, TransformerConfig(2, 2, 32, 64, 0.0), codebook_size=50).eval()
    arguments = (torch.tensor([[1, 2, 3]]), torch.tensor([3]), torch.randint(0, 50, (1, 9)), torch.tensor([9]))
    before = model(*arguments)
    plain = dict(model.state_dict())
    add_adapters(model, 4)
    torch.testing.assert_close(model(*arguments), before)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".up"):
                parameter.normal_()
    adapted = model(*arguments)
    assert (adapted - before).abs().max() > 0.01
    merged_model = AR(12, TransformerConfig(2, 2, 32, 64, 0.0), codebook_size=50).eval()
    merged_model.load_state_dict(merged(model.state_dict()))
    torch.testing.assert_close(merged_model(*arguments), adapted)
    assert merged(plain).keys() == plain.keys()


def test_lora_trains_adapters_only(run_directory: Path, tokens: Path, speech: Path, tmp_path: Path) -> None:
    for kind in ("AR", "NAR"):
        source = run_directory / kind.lower() / "last.ckpt"
        options = [f"--init_from={source}", "--model.init_args.training.lora_rank=2"]
        train(f"{kind}Module", tokens, tmp_path / kind.lower(), 2, *options)
        before = read_weights(source)
        after = read_weights(tmp_path / kind.lower() / "last.ckpt")
        for name, value in before.items():
            adapted = f"{name.removesuffix('.weight')}.parametrizations.weight.original"
            if "phoneme_embedding" not in name:
                assert torch.equal(after[adapted if adapted in after else name], value), name
        assert any(name.endswith(".up") and value.abs().max() > 0 for name, value in after.items())
    # The AR run is resumed.
    train("ARModule", tokens, tmp_path / "ar", 3, "--model.init_args.training.lora_rank=2")
    assert valle.load(tmp_path).synthesize("Good morning.", speech).duration > 0
    assert ARModule.load_from_checkpoint(tmp_path / "ar" / "last.ckpt").hparams["lora_rank"] == 2
    command("python", "-m", "valle.training.export_model", tmp_path, tmp_path / "exported")
    assert valle.load(tmp_path / "exported").synthesize("Good morning.", speech).duration > 0

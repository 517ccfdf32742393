"""Measure the training speed of the AR and the NAR model.

    python benchmarks/training.py [--steps N] [--max-duration SECONDS] [--json FILE]

Trains both models at the size of the paper for a few steps with the modules, data and trainer of `valle-train`, on
utterances with the durations of LibriTTS and random codes, which do not affect speed. Prints one JSON object per model:

- tokens_per_second: phonemes and frames per second, without padding.
- data_wait_share: share of the time that steps waited for data.
- utilisation: floating-point operations per second of the model, divided by those of the machine's matrix products.
- padding_share: share of padding in batches of 160 s by duration bucket; padding_share_any_order: in random order.
- baseline_tokens_per_second: of a plain loop in float32 on utterances in random order, padded to the longest, with
  masked attention.

Dropout is 0: with dropout, torch's attention on a CPU stores all scores.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from bounds import describe_machine, linear_weights
from lightning.pytorch.callbacks import Callback

from valle.cli.common import keep_memory
from valle.data.datamodule import TokensDataModule
from valle.data.loader import Batch
from valle.data.tokens import TokensConfig
from valle.models.config import TransformerConfig
from valle.models.nar import NARInputs
from valle.models.sequence import Padded, length_mask
from valle.training import ARModule, NARModule
from valle.training.cli import has_bfloat16
from valle.training.config import DataConfig, OptimizerConfig

# Per second of speech.
FRAME_RATE = 75.0
PHONEME_RATE = 12.0
MEAN_DURATION = 5.8
SYMBOLS = [chr(97 + i) for i in range(26)]


def write_tokens(folder: Path, utterances: int, seed: int) -> None:
    """Write a folder of tokens with durations distributed as in LibriTTS: 0.5 to 16 s, mean 5.8 s.

    Args:
        folder: is made.
        utterances: their number.
        seed: of durations, phonemes and codes.
    """
    from lhotse import MonoCut, SupervisionSegment
    from lhotse.shar import SharWriter

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    # Number of utterances and their seconds, by duration rounded up to whole seconds (valle.data.tokens.read_markers).
    by_second: dict[int, tuple[int, float]] = {}
    with SharWriter(folder, {"codes": "numpy"}, shard_size=None, shard_suffix=".000000") as writer:
        for index in range(utterances):
            frames = round(FRAME_RATE * float(np.clip(rng.lognormal(1.5, 0.75), 0.5, 16.0)))
            duration = frames / FRAME_RATE
            number, seconds = by_second.get(math.ceil(duration), (0, 0.0))
            by_second[math.ceil(duration)] = (number + 1, seconds + duration)
            phonemes = [SYMBOLS[i] for i in rng.integers(0, 26, max(3, round(PHONEME_RATE * duration)))]
            segment = SupervisionSegment(f"u{index}", f"u{index}", 0.0, duration, text="", speaker="s")
            cut = MonoCut(f"u{index}", 0.0, duration, 0, supervisions=[segment], custom={"phonemes": phonemes})
            writer.write(cut.attach_tensor("codes", rng.integers(0, 1024, (frames, 8)).astype(np.int16)))
    total = sum(seconds for _, seconds in by_second.values())
    marker = {"utterances": utterances, "seconds": total, "symbols": SYMBOLS, "by_second": by_second}
    (folder / "shard.000000.json").write_text(json.dumps(marker), encoding="utf-8")
    config = TokensConfig("encodec_24khz", FRAME_RATE, 8, 1024, "en-us", utterances, utterances, "random")
    (folder / "config.json").write_text(json.dumps(vars(config)), encoding="utf-8")


class StepTimer(Callback):
    """Measure the time of training steps and the time between them, when the trainer waits for data.

    Args:
        warmup: number of first steps that are not measured.

    Attributes:
        batches: of the measured steps.
        step_seconds: total time of the measured steps.
        wait_seconds: total time between them.
    """

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.batches: list[Batch] = []
        self.step_seconds = 0.0
        self.wait_seconds = 0.0
        self._last = time.perf_counter()

    def _elapsed(self) -> float:
        """Return the seconds since the last call."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        seconds = now - self._last
        self._last = now
        return seconds

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, index: int) -> None:
        """Add the seconds since the last step to those spent waiting for a batch."""
        seconds = self._elapsed()
        if index >= self.warmup:
            self.wait_seconds += seconds

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, _: Any, batch: Batch, index: int
    ) -> None:
        """Add the seconds of the step, and count its batch."""
        seconds = self._elapsed()
        if index >= self.warmup:
            self.step_seconds += seconds
            self.batches.append(batch)


def count_tokens(batches: list[Batch]) -> int:
    """Count phonemes and frames, without padding."""
    return sum(int(b.phoneme_lengths.sum() + b.code_lengths.sum()) for b in batches)


def padding_share(batches: list[Batch]) -> float:
    """Compute the share of padding among the positions of batches that are padded to their longest row."""
    lengths = [b.phoneme_lengths + b.code_lengths for b in batches]
    return 1 - sum(int(rows.sum()) for rows in lengths) / sum(len(rows) * int(rows.max()) for rows in lengths)


def count_operations(module: ARModule | NARModule, batches: list[Batch]) -> float:
    """Count the floating-point operations of forward and backward passes over these batches, without padding."""
    config = module.model.config
    weights = linear_weights(module.model)
    causal = 2 if isinstance(module, ARModule) else 1
    squares = sum(float(((b.phoneme_lengths + b.code_lengths).double() ** 2).sum()) for b in batches)
    return 3 * (2 * weights * count_tokens(batches) + 4 * config.layers * config.dim * squares / causal)


def measure_trainer(module: ARModule | NARModule, data: TokensDataModule, steps: int, warmup: int) -> dict[str, float]:
    """Measure Lightning's trainer with the settings of `valle-train`."""
    timer = StepTimer(warmup)
    with tempfile.TemporaryDirectory() as root:
        trainer = L.Trainer(
            max_steps=steps + warmup, precision="bf16-mixed" if has_bfloat16() else "32-true", callbacks=[timer],
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            limit_val_batches=0, use_distributed_sampler=False, gradient_clip_val=1.0, default_root_dir=root,
        )  # fmt: skip
        trainer.fit(module, data)
    seconds = timer.step_seconds + timer.wait_seconds
    return {
        "tokens_per_second": count_tokens(timer.batches) / seconds,
        "data_wait_share": timer.wait_seconds / seconds,
        "flops": count_operations(module, timer.batches) / seconds,
    }


def measure_baseline(module: ARModule | NARModule, batches: Iterator[Batch], steps: int, warmup: int) -> float:
    """Measure a plain training loop: float32, padded batches, masked attention, an optimizer that is not fused.

    Returns:
        Tokens per second.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = module.to(device).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, foreach=False)
    measured: list[Batch] = []
    begin = 0.0
    for step in range(steps + warmup):
        if step == warmup:
            if device.type == "cuda":
                torch.cuda.synchronize()
            measured = []
            begin = time.perf_counter()
        batch = next(batches)
        measured.append(batch)
        text = (batch.phonemes.to(device), batch.phoneme_lengths.to(device))
        codes = batch.codes.to(device)
        lengths = batch.code_lengths.to(device)
        if isinstance(module, ARModule):
            loss = masked_ar_loss(module, *text, codes[..., 0], lengths)
        else:
            prompt = (lengths // 2).clamp(max=225)
            stages = torch.randint(1, 8, (len(lengths),), device=device)
            inputs = NARInputs(
                text=Padded(*text),
                prompt=Padded(codes[:, : int(prompt.max())], prompt),
                codes=Padded(codes, lengths),
            )
            losses, _, _ = module.model.loss(inputs, stages)
            loss = losses["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0, foreach=False)
        optimizer.step()
        float(loss)
    return count_tokens(measured) / (time.perf_counter() - begin)


def masked_ar_loss(
    module: ARModule, phonemes: torch.Tensor, phoneme_lengths: torch.Tensor, codes: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Compute the AR loss on padded text followed by padded codes, with a mask of the padding and the future."""
    model = module.model
    text, text_lengths = model.embed_phonemes(phonemes, phoneme_lengths)
    x = torch.cat((text, model.embed_groups(codes)), dim=1)
    present = torch.cat((length_mask(text_lengths, text.shape[1]), length_mask(lengths, codes.shape[1])), dim=1)
    past = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
    hidden = model.transformer(x, mask=present[:, None, None] & past)
    logits = model.predict_group(hidden[:, text.shape[1] - 1 :])[:, :, 0]
    targets = model.targets(codes, lengths)[..., 0]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def random_batches(data: TokensDataModule, count: int) -> Iterator[Batch]:
    """Yield batches of `count` utterances in random order."""
    cuts = [cut for batch in data.cut_batches(data.train, shuffle=False) for cut in batch]
    random.Random(0).shuffle(cuts)
    make_batch = data.train_dataloader().dataset._batch  # type: ignore[attr-defined]
    return (make_batch(cuts[start : start + count]) for start in range(0, len(cuts) - count, count))


def make_module(kind: type[ARModule] | type[NARModule], layers: int) -> Any:
    """Make a module with random weights."""
    return kind(
        DataConfig(["<pad>", *SYMBOLS]),
        transformer=TransformerConfig(layers=layers, dropout=0.0),
        optimizer=OptimizerConfig(warmup_steps=100),
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--max-duration", type=float, default=30.0, help="seconds of speech per step")
    parser.add_argument(
        "--layers", type=int, default=12, help="of the transformer; fewer than the paper's 12 for a quick run"
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    keep_memory()
    torch.manual_seed(0)
    results: dict[str, Any] = {"machine": describe_machine(), "runs": []}
    peak = results["machine"]["gemm"]["bfloat16" if has_bfloat16() else "float32"]
    with tempfile.TemporaryDirectory() as folder:
        write_tokens(Path(folder) / "train", 4000, 0)
        sets = ([f"{folder}/train"], [f"{folder}/train"])
        bucketed = padding_share(list(TokensDataModule(*sets, max_duration=160).train_dataloader()))
        for kind in (ARModule, NARModule):
            data = TokensDataModule(*sets, max_duration=args.max_duration)
            trainer = measure_trainer(make_module(kind, args.layers), data, args.steps, 1)
            in_random_order = padding_share(list(random_batches(data, math.ceil(160 / MEAN_DURATION))))
            batches = random_batches(data, math.ceil(args.max_duration / MEAN_DURATION))
            baseline = measure_baseline(make_module(kind, args.layers), batches, args.steps, 1)
            run = {
                "model": kind.__name__,
                "padding_share": round(bucketed, 4),
                "tokens_per_second": round(trainer["tokens_per_second"], 4),
                "data_wait_share": round(trainer["data_wait_share"], 4),
                "utilisation": round(trainer["flops"] / 1e9 / peak, 4),
                "padding_share_any_order": round(in_random_order, 4),
                "baseline_tokens_per_second": round(baseline, 4),
                "times_the_baseline": round(trainer["tokens_per_second"] / baseline, 4),
            }
            results["runs"].append(run)
            print(json.dumps(run, indent=1), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

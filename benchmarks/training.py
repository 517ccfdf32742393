"""How fast the models are trained, and what is lost on the way.

    python benchmarks/training.py [--steps N] [--max-duration SECONDS] [--json FILE]

Trains the AR and the NAR model of the paper's size for some steps with `valle-train`'s own modules, data and trainer,
on utterances as long as LibriTTS's (random codes: speed does not depend on them), and prints tokens a second (phonemes
and frames, no padding counted), the share of padding, the share of the time that a step waited for its data, and the
share of the machine's rate of matrix products that the model's arithmetic reached. Beside it the straightforward loop:
float32, utterances in any order padded to the longest, attention with a mask. Without dropout, with which torch's
attention keeps all scores on a CPU.
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
from lightning.pytorch.callbacks import Callback
from synthesis import linear_weights, machine

from valle.cli.common import keep_memory
from valle.data.datamodule import TokensDataModule
from valle.data.loader import Batch
from valle.data.tokens import TokensConfig
from valle.models.nar import NARInputs
from valle.models.sequence import Padded, length_mask
from valle.training import ARModule, NARModule
from valle.training.cli import has_bfloat16

FRAME_RATE, PHONEME_RATE = 75.0, 12.0
SYMBOLS = [chr(97 + i) for i in range(26)]


def write_tokens(folder: Path, utterances: int, seed: int) -> None:
    """A folder of tokens whose durations are distributed as LibriTTS's: 0.5 to 16 s, 5.8 s in the mean."""
    from lhotse import MonoCut, SupervisionSegment
    from lhotse.shar import SharWriter

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    with SharWriter(folder, {"codes": "numpy"}, shard_size=None, shard_suffix=".000000") as writer:
        for index in range(utterances):
            frames = round(FRAME_RATE * float(np.clip(rng.lognormal(1.5, 0.75), 0.5, 16.0)))
            duration = frames / FRAME_RATE
            phonemes = [SYMBOLS[i] for i in rng.integers(0, 26, max(3, round(PHONEME_RATE * duration)))]
            line = SupervisionSegment(f"u{index}", f"u{index}", 0.0, duration, text="", speaker="s")
            cut = MonoCut(f"u{index}", 0.0, duration, 0, supervisions=[line], custom={"phonemes": phonemes})
            writer.write(cut.attach_tensor("codes", rng.integers(0, 1024, (frames, 8)).astype(np.int16)))
    marker = {"utterances": utterances, "seconds": 0.0, "symbols": SYMBOLS}
    (folder / "shard.000000.json").write_text(json.dumps(marker), encoding="utf-8")
    config = TokensConfig("encodec_24khz", FRAME_RATE, 8, 1024, "en-us", utterances, utterances, "random")
    (folder / "config.json").write_text(json.dumps(vars(config)), encoding="utf-8")


class Clock(Callback):
    """Seconds of steps, of the waits between them, and what the steps took in; the first `warm` steps do not count."""

    def __init__(self, warm: int) -> None:
        self.warm, self.batches, self.worked, self.waited = warm, [], 0.0, 0.0  # type: ignore[var-annotated]
        self.at = time.perf_counter()

    def _lap(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        seconds, self.at = now - self.at, now
        return seconds

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, index: int) -> None:
        waited = self._lap()
        if index >= self.warm:
            self.waited += waited

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, _: Any, batch: Batch, index: int
    ) -> None:
        worked = self._lap()
        if index >= self.warm:
            self.worked += worked
            self.batches.append(batch)


def tokens(batches: list[Batch]) -> int:
    return sum(int(b.phoneme_lengths.sum() + b.code_lengths.sum()) for b in batches)


def padding(batches: list[Batch]) -> float:
    """Share of the positions of batches, padded to their longest row as the models see them, that hold nothing."""
    rows = [b.phoneme_lengths + b.code_lengths for b in batches]
    return 1 - sum(int(r.sum()) for r in rows) / sum(len(r) * int(r.max()) for r in rows)


def arithmetic(module: ARModule | NARModule, batches: list[Batch]) -> float:
    """Operations that the models need for these batches, forward and backward, without padding."""
    config, weights = module.model.config, linear_weights(module.model)
    causal = 2 if isinstance(module, ARModule) else 1
    squares = sum(float(((b.phoneme_lengths + b.code_lengths).double() ** 2).sum()) for b in batches)
    return 3 * (2 * weights * tokens(batches) + 4 * config.layers * config.dim * squares / causal)


def trained(module: ARModule | NARModule, data: TokensDataModule, steps: int, warm: int) -> dict[str, float]:
    """As valle-train does it."""
    clock = Clock(warm)
    with tempfile.TemporaryDirectory() as root:
        trainer = L.Trainer(
            max_steps=steps + warm, precision="bf16-mixed" if has_bfloat16() else "32-true", callbacks=[clock],
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            limit_val_batches=0, use_distributed_sampler=False, gradient_clip_val=1.0, default_root_dir=root,
        )  # fmt: skip
        trainer.fit(module, data)
    seconds = clock.worked + clock.waited
    return {
        "tokens_per_second": tokens(clock.batches) / seconds,
        "data_wait_share": clock.waited / seconds,
        "flops": arithmetic(module, clock.batches) / seconds,
    }


def straightforward(module: ARModule | NARModule, batches: Iterator[Batch], steps: int, warm: int) -> dict[str, float]:
    """A loop as one writes it first: float32, utterances in any order, attention with a mask, a plain optimiser."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = module.to(device).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, foreach=False)
    done: list[Batch] = []
    begin = 0.0
    for step in range(steps + warm):
        if step == warm:
            if device.type == "cuda":
                torch.cuda.synchronize()
            begin, done = time.perf_counter(), []
        batch = next(batches)
        done.append(batch)
        text = batch.phonemes.to(device), batch.phoneme_lengths.to(device)
        codes, lengths = batch.codes.to(device), batch.code_lengths.to(device)
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
    seconds = time.perf_counter() - begin
    return {"tokens_per_second": tokens(done) / seconds, "flops": arithmetic(module, done) / seconds}


def masked_ar_loss(
    module: ARModule, phonemes: torch.Tensor, phoneme_lengths: torch.Tensor, codes: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Text padded, then codes padded, one after the other, and a mask that hides the padding and the future."""
    model = module.model
    text, text_lengths = model.embed_phonemes(phonemes, phoneme_lengths)
    x = torch.cat((text, model.embed_groups(codes)), dim=1)
    there = torch.cat((length_mask(text_lengths, text.shape[1]), length_mask(lengths, codes.shape[1])), dim=1)
    past = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
    hidden = model.transformer(x, mask=there[:, None, None] & past)
    logits = model.predict_group(hidden[:, text.shape[1] - 1 :])[:, :, 0]
    targets = model.targets(codes, lengths)[..., 0]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def shuffled(data: TokensDataModule, count: int) -> Iterator[Batch]:
    """Batches of `count` utterances in any order, from the same folder."""
    cuts = [cut for batch in data.cut_batches(data.train, shuffle=False) for cut in batch]
    random.Random(0).shuffle(cuts)
    make = data.train_dataloader().dataset._batch  # type: ignore[attr-defined]
    return (make(cuts[start : start + count]) for start in range(0, len(cuts) - count, count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--max-duration", type=float, default=30.0, help="seconds of speech a step")
    parser.add_argument("--layers", type=int, default=12, help="fewer for a look at it")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    keep_memory()
    torch.manual_seed(0)
    measured = machine()
    found: dict[str, Any] = {"machine": measured, "runs": []}
    with tempfile.TemporaryDirectory() as folder:
        write_tokens(Path(folder) / "train", 4000, 0)
        sets = [f"{folder}/train"], [f"{folder}/train"]
        for kind in (ARModule, NARModule):

            def make(kind: type = kind) -> Any:
                return kind(["<pad>", *SYMBOLS], layers=args.layers, dropout=0.0, warmup_steps=100)

            data = TokensDataModule(*sets, max_duration=args.max_duration)
            whole = padding(list(TokensDataModule(*sets, max_duration=160).train_dataloader()))
            run: dict[str, Any] = {
                "model": kind.__name__,
                "padding_share": whole,
                **trained(make(), data, args.steps, 1),
            }
            run["utilisation"] = run.pop("flops") / 1e9 / measured["gemm"]["bfloat16" if has_bfloat16() else "float32"]
            count = math.ceil(args.max_duration / 5.8)
            run["padding_share_any_order"] = padding(list(shuffled(data, math.ceil(160 / 5.8))))
            base = straightforward(make(), shuffled(data, count), args.steps, 1)
            run["baseline_tokens_per_second"] = base["tokens_per_second"]
            run["times_the_baseline"] = run["tokens_per_second"] / base["tokens_per_second"]
            found["runs"].append({k: round(v, 4) if isinstance(v, float) else v for k, v in run.items()})
            print(json.dumps(found["runs"][-1], indent=1), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Training the models of the papers: ARModule and NARModule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from valle.aliases import HYPER_PARAMETERS
from valle.checkpoint import read_checkpoint
from valle.data.loader import Batch
from valle.errors import UserError
from valle.extensions.guided_attention import GuidedAttention, spoken_phonemes
from valle.models.ar import AR
from valle.models.lora import add_adapters
from valle.models.nar import NAR
from valle.models.transformer import Layout, TransformerConfig
from valle.text import Vocabulary

EXPECTATION_LOSS = 10.0  # weight of the share of the rest that a NAR model does not expect, beside its cross entropy


def accuracy(logits: Tensor, targets: Tensor, top: int) -> Tensor:
    """Share of targets (...) among the `top` likeliest entries of logits (..., entries); -100 is left out."""
    kept = targets != -100
    hits = (logits[kept].topk(top, dim=-1).indices == targets[kept][:, None]).any(-1)
    return hits.float().mean()


def whole_groups(codes: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cut each utterance's first frames, silent as a rule, so that groups of `size` fit (VALL-E 2, section 3.1).

    codes (batch, time, codebook) and lengths (batch,), which come back as they are for a size of 1
    """
    cut = lengths % size
    frames = torch.arange(int((lengths - cut).max()), device=codes.device)
    return _take(codes, cut[:, None] + frames), lengths - cut


COUNTS = ("codebook_size", "num_codebooks", "layers", "heads", "dim", "ffn_dim", "prompt_frames", "latent_dim")
ABOVE_ZERO = ("learning_rate", "frame_rate", "prompt_seconds")
FROM_ZERO = ("weight_decay", "guided_attention", "stage_power", "max_prompt_seconds")
FROM_ZERO_COUNTS = ("warmup_steps", "lora_rank", "latent_regression_layers")
SHARES = ("untranscribed_prompt_prob", "prefix_prompt_prob")


def check_ranges(values: Mapping[str, Any]) -> None:
    """Raise UserError for the first hyper-parameter that no model can be trained with."""
    for name, value in values.items():
        wanted = None
        if name in COUNTS and value < 1:
            wanted = "at least 1"
        elif name in ABOVE_ZERO and not 0 < value < math.inf:
            wanted = "more than 0"
        elif name in FROM_ZERO + FROM_ZERO_COUNTS and not 0 <= value < math.inf:
            wanted = "0 or more"
        elif name in SHARES and not 0 <= value <= 1:
            wanted = "0 to 1"
        elif name == "dropout" and not 0 <= value < 1:
            wanted = "0 to less than 1"
        elif name == "group_size" and value not in (1, 2, 4, 8):
            wanted = "1, 2, 4 or 8"
        if wanted:
            raise UserError(f"--model.init_args.{name} {value}: give {wanted}")


class _Module(L.LightningModule):
    """What both have in common: AdamW with linear warm-up and decay, seeded steps, the vocabulary, how blocks run."""

    model: AR | NAR

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not 0 <= self.hparams["seed"] < 2**64:
            raise UserError(f"--model.init_args.seed {self.hparams['seed']}: give a number from 0 to 2^64 - 1")
        check_ranges(self.hparams)
        self.vocabulary = Vocabulary(list(self.hparams["vocabulary"]))
        self._utterances: list[str] = []  # of the step being taken
        self.sharded = False

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a module as Lightning does, also from a checkpoint with former names of hyper-parameters."""
        if isinstance(checkpoint_path, str | Path):
            renamed = read_checkpoint(Path(checkpoint_path))["hyper_parameters"]
            kwargs = {name: renamed[name] for name in HYPER_PARAMETERS.values() if name in renamed} | kwargs
        return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)

    def _prepare(self) -> None:
        """Set the model up as the switches say."""
        self.model.transformer.checkpointing = self.hparams["activation_checkpointing"]
        if self.hparams["lora_rank"]:
            add_adapters(self.model, self.hparams["lora_rank"])
        if self.hparams["compiled"]:
            for block in self.model.transformer.blocks:
                block.compile(dynamic=True)

    def configure_model(self) -> None:
        """With the strategy `Sharded`, part the weights among the ranks, block by block."""
        if self.device_mesh is not None and not self.sharded:
            mesh = self.device_mesh["data_parallel"]
            for block in self.model.transformer.blocks:
                fully_shard(block, mesh=mesh)
            fully_shard(self.model, mesh=mesh)
            self.sharded = True

    def _config(self) -> TransformerConfig:
        h = self.hparams
        try:
            return TransformerConfig(h["layers"], h["heads"], h["dim"], h["ffn_dim"], h["dropout"])
        except ValueError as error:
            raise UserError(f"--model.init_args.dim {h['dim']}: {error}") from error

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Dropout, stage and prompt depend on the step alone, so a run that was stopped goes on as if it had not been.
        torch.manual_seed((self.hparams["seed"] * 1_000_003 + self.global_step * 1009 + self.global_rank) % 2**64)
        self._utterances += batch.ids

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer says. A loss or a gradient that is no number stops the run before it reaches the weights:
        raises UserError with the step and the utterances it came from."""
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if not torch.isfinite(norm):
            raise UserError(
                f"step {self.global_step}: the loss or its gradient is {float(norm)}, from utterances "
                f"{' '.join(self._utterances)}; the last checkpoint is from before. Lower the learning rate, or leave "
                "them out"
            )
        self._utterances.clear()
        self.log("grad_norm", norm)
        # Not `self.clip_gradients`: Lightning takes every fused optimiser for one that scales its gradients.
        if gradient_clip_algorithm == "value" and gradient_clip_val:
            nn.utils.clip_grad_value_(self.parameters(), gradient_clip_val)
        elif gradient_clip_val:
            nn.utils.clip_grads_with_norm_(self.parameters(), gradient_clip_val, norm)

    def _log(self, split: str, values: dict[str, Tensor], batch: Batch) -> None:
        named = {f"{split}/{name}": value for name, value in values.items()}
        self.log_dict(named, batch_size=len(batch.ids), sync_dist=split == "valid")
        if split == "train":
            self.log("loss", values["loss"].detach(), prog_bar=True, logger=False, batch_size=len(batch.ids))

    def _guidance(self) -> float:
        """Weight of the guide for attention at this step."""
        return self.hparams["guided_attention"] * max(0.0, 1 - self.global_step / max(1, self.trainer.max_steps))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        h = self.hparams
        trained = [p for p in self.parameters() if p.requires_grad]
        decayed, others = [p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": h["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=h["learning_rate"], betas=(0.9, 0.95), fused=True)
        total, warmup = self.trainer.max_steps, h["warmup_steps"]
        if total < 0:
            raise UserError("--trainer.max_steps must be given: the learning rate falls to zero there")

        def factor(step: int) -> float:  # VALL-E, section 5.1: linear warm-up, then linear decay
            return min((step + 1) / warmup, max(0.0, (total - step) / max(1, total - warmup)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class ARModule(_Module):
    """Trains the autoregressive model.

    Args:
        vocabulary: phoneme symbols (from the data).
        language: espeak tag of the data's language (from the data).
        bpe: tokenizer of the text; None: phonemes (from the data).
        codec: name of the codec that made the codes (from the data).
        codebook_size: entries a codebook (from the data).
        group_size: codes predicted by one step: 1 is VALL-E, 2, 4 and 8 are VALL-E 2.
        layout: of the sequence, "valle" or "valle2".
        tie_embeddings: codes are predicted with the weights of their embedding, as in the papers.
        layers: transformer blocks.
        heads: attention heads.
        dim: width.
        ffn_dim: width of the feed-forward networks.
        dropout: probability.
        untranscribed_prompt_prob: probability of a step with untranscribed prompts: the prompt that the data has for
            an utterance (`valle-prepare prompts` and `excerpts`), else a segment of the utterance. In the other steps
            any prefix is a prompt whose text is part of the text, as in the paper.
        prompt_frames: maximum length of an untranscribed prompt; a segment is at most half of its utterance.
        guided_attention: weight of the loss that draws some heads to the phoneme being spoken, where the data says
            when each is, falling to zero with the learning rate; 0 is the paper.
        learning_rate: its peak.
        warmup_steps: steps of linear warm-up; afterwards linear decay to zero at trainer.max_steps.
        weight_decay: of the matrices.
        seed: of prompts and dropout.
        activation_checkpointing: keep each block's input alone and compute the rest again: less memory, more work.
        compiled: blocks run through `torch.compile`.
        lora_rank: of the adapters that alone are trained, with the phonemes' embeddings; 0 trains everything.
    """

    def __init__(
        self,
        vocabulary: list[str],
        language: str = "en-us",
        bpe: str | None = None,
        codec: str = "encodec_24khz",
        codebook_size: int = 1024,
        group_size: int = 1,
        layout: Layout = "valle",
        tie_embeddings: bool = True,
        layers: int = 12,
        heads: int = 16,
        dim: int = 1024,
        ffn_dim: int = 4096,
        dropout: float = 0.1,
        untranscribed_prompt_prob: float = 0.3,
        prompt_frames: int = 225,
        guided_attention: float = 0.0,
        learning_rate: float = 5e-4,
        warmup_steps: int = 32_000,
        weight_decay: float = 0.01,
        seed: int = 0,
        activation_checkpointing: bool = False,
        compiled: bool = False,
        lora_rank: int = 0,
    ) -> None:
        super().__init__()
        self.model: AR = AR(len(vocabulary), self._config(), codebook_size, group_size, layout, tie_embeddings)
        self._prepare()

    def _step(self, batch: Batch, split: str, untranscribed_prompt_prob: bool) -> Tensor:
        size = self.hparams["group_size"]
        codes, lengths = whole_groups(batch.codes, batch.code_lengths, size)
        codes = codes[..., 0]
        before = torch.zeros_like(lengths)  # frames of the untranscribed prompt and its EOS tokens
        given = None  # frames that the loss leaves out
        if untranscribed_prompt_prob:
            codes, given, before = self._with_untranscribed_prompt(codes, lengths, batch)
        guidance = self._guidance() if split == "train" else 0.0
        with GuidedAttention(self.model, guidance > 0) as guide:
            loss, logits, targets = self.model.loss(
                batch.phonemes, batch.phoneme_lengths, codes, lengths + before, given
            )
        values = {"loss": loss, **{f"top{k}": accuracy(logits.detach(), targets, k) for k in (1, 10)}}
        guided = loss
        if guidance:
            spoken = spoken_phonemes(batch.starts - (batch.code_lengths - lengths)[:, None], lengths, size)
            if bool((spoken >= 0).any()):
                first = batch.phoneme_lengths + self.model.marks - 1 + before // size  # the last mark predicts group 0
                values["guide"] = guide.loss(spoken, batch.phoneme_lengths, first)
                guided = loss + guidance * values["guide"]
        self._log(split, values, batch)
        return guided

    def _with_untranscribed_prompt(self, codes: Tensor, lengths: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Put an untranscribed prompt and a group of EOS tokens before each utterance.

        A row with a prompt in `batch.prompts` (other speech of its speaker) gets the last frames of it: the prompt may
        be far longer than the utterance, as it is in synthesis of short texts. Any other row gets a random segment of
        the utterance itself, of at most half its length.

        Args:
            codes: (batch, frames) first codebook.
            lengths: (batch,) multiples of the group size.
            batch: where prompts of other speech are.

        Returns:
            codes with the prompts (batch, frames + longest prompt); which of these frames the loss leaves out (bool,
            same shape): the prompts, and a segment's frames in the utterance, so that copying them is not rewarded;
            and frames before each utterance (batch,).
        """
        size = self.hparams["group_size"]
        prompts, prompt_lengths = batch.prompts, batch.prompt_lengths
        if prompts is None or prompt_lengths is None:
            prompts, prompt_lengths = codes[:, :1], torch.zeros_like(lengths)
        foreign = prompt_lengths > 0
        sizes = torch.where(foreign, prompt_lengths, lengths // 2)
        sizes = sizes.clamp(max=self.hparams["prompt_frames"]) // size * size
        starts = (torch.rand(lengths.shape, device=lengths.device) * (lengths - sizes + 1)).long()
        starts = torch.where(foreign, prompt_lengths - sizes, starts)
        width = max(codes.shape[1], prompts.shape[1])
        source = torch.where(foreign[:, None], _padded(prompts, width), _padded(codes, width))
        before = sizes + size
        time = torch.arange(codes.shape[1] + int(before.max()), device=codes.device)
        prompt = source.gather(1, (starts[:, None] + time).clamp(max=source.shape[1] - 1))
        target = codes.gather(1, (time - before[:, None]).clamp(0, codes.shape[1] - 1))
        whole = torch.where(time < sizes[:, None], prompt, self.model.end).where(time < before[:, None], target)
        place = time - before[:, None] - starts[:, None]
        again = (place >= 0) & (place < sizes[:, None]) & ~foreign[:, None]
        return whole, (time < before[:, None]) | again, before

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "train", bool(torch.rand(()) < self.hparams["untranscribed_prompt_prob"]))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._step(batch, "valid", untranscribed_prompt_prob=False)


class NARModule(_Module):
    """Trains the non-autoregressive model, one random stage a step.

    Args:
        vocabulary: phoneme symbols (from the data).
        language: espeak tag of the data's language (from the data).
        bpe: tokenizer of the text; None: phonemes (from the data).
        codec: name of the codec that made the codes (from the data).
        codebook_size: entries a codebook (from the data).
        num_codebooks: codebooks (from the data).
        frame_rate: frames a second (from the data).
        prompt_seconds: longest acoustic prompt; it takes at most half of an utterance.
        max_prompt_seconds: where above prompt_seconds, the longest is drawn between both for each utterance, as in
            VALL-E 2 (3 to 30).
        prefix_prompt_prob: probability of a step whose prompts are prefixes of the utterances (VALL-E 2: 1), not
            segments from anywhere in them (VALL-E: 0).
        latent_regression_layers: blocks of the network that predicts the sum of the other codebooks' vectors, for small
            models (`valle.extensions.latent_regression`); 0 is the papers. It begins with the codec's vectors:
            --init_codebooks true, or --init_from a model that has one.
        latent_dim: width of the codec's vectors.
        stage_power: stage j is drawn with a probability like 1 / j ** stage_power; 0 is the papers.
        guided_attention: weight of the loss that draws some heads to the phoneme being spoken, where the data says
            when each is, falling to zero with the learning rate; 0 is the papers.
        layout: of the sequence, "valle" or "valle2".
        layers: transformer blocks.
        heads: attention heads.
        dim: width.
        ffn_dim: width of the feed-forward networks.
        dropout: probability.
        learning_rate: its peak.
        warmup_steps: steps of linear warm-up; afterwards linear decay to zero at trainer.max_steps.
        weight_decay: of the matrices.
        seed: of stages, prompts and dropout.
        activation_checkpointing: keep each block's input alone and compute the rest again: less memory, more work.
        compiled: blocks run through `torch.compile`.
        lora_rank: of the adapters that alone are trained, with the phonemes' embeddings; 0 trains everything.
    """

    def __init__(
        self,
        vocabulary: list[str],
        language: str = "en-us",
        bpe: str | None = None,
        codec: str = "encodec_24khz",
        codebook_size: int = 1024,
        num_codebooks: int = 8,
        frame_rate: float = 75.0,
        prompt_seconds: float = 3.0,
        max_prompt_seconds: float = 0.0,
        prefix_prompt_prob: float = 0.5,
        latent_regression_layers: int = 0,
        latent_dim: int = 128,
        stage_power: float = 0.0,
        guided_attention: float = 0.0,
        layout: Layout = "valle",
        layers: int = 12,
        heads: int = 16,
        dim: int = 1024,
        ffn_dim: int = 4096,
        dropout: float = 0.1,
        learning_rate: float = 5e-4,
        warmup_steps: int = 32_000,
        weight_decay: float = 0.01,
        seed: int = 0,
        activation_checkpointing: bool = False,
        compiled: bool = False,
        lora_rank: int = 0,
    ) -> None:
        super().__init__()
        sizes = codebook_size, num_codebooks, latent_regression_layers, latent_dim
        self.model: NAR = NAR(len(vocabulary), self._config(), *sizes, layout)
        self._prepare()

    def split(self, batch: Batch, prefix: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Part each utterance into prompt and target: prompt, its lengths, target, its lengths, given frames.

        A prefix is cut off the target. A segment is copied from anywhere in the utterance, which stays whole; its
        frames are given (batch, frames), not to be predicted, so that nothing is won by copying them.
        The prompt lasts `prompt_seconds` or more, see there, and at most half of the utterance.
        """
        shortest, most = self.hparams["prompt_seconds"], self.hparams["max_prompt_seconds"]
        longest = torch.full(batch.code_lengths.shape, shortest, device=batch.code_lengths.device)
        if self.training and most > shortest:
            longest = longest + (most - shortest) * torch.rand_like(longest)
        longest = (longest * self.hparams["frame_rate"]).round().long()
        prompt_lengths = (batch.code_lengths // 2).minimum(longest)
        room = batch.code_lengths - prompt_lengths
        starts = torch.zeros_like(room) if prefix else (torch.rand(room.shape, device=room.device) * (room + 1)).long()
        time = torch.arange(batch.codes.shape[1], device=room.device)
        prompt = _take(batch.codes, starts[:, None] + time[: int(prompt_lengths.max())])
        if not prefix:
            given = (time >= starts[:, None]) & (time < (starts + prompt_lengths)[:, None])
            return prompt, prompt_lengths, batch.codes, batch.code_lengths, given
        target = _take(batch.codes, prompt_lengths[:, None] + time[: int(room.max())])
        return prompt, prompt_lengths, target, room, torch.zeros(target.shape[:2], dtype=torch.bool, device=room.device)

    def _step(self, batch: Batch, stages: Tensor, prefix: bool) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """The losses by name, with logits and targets."""
        prompt, prompt_lengths, target, lengths, given = self.split(batch, prefix)
        text = batch.phonemes, batch.phoneme_lengths
        wanted = self.training and self._guidance() > 0
        with GuidedAttention(self.model, wanted) as guide:
            losses, logits, targets = self.model.loss(*text, prompt, prompt_lengths, target, lengths, stages, given)
        if wanted:
            spoken = spoken_phonemes(batch.starts - prefix * prompt_lengths[:, None], lengths, 1)
            if bool((spoken >= 0).any()):
                second = self.hparams["layout"] == "valle2"  # an end mark after the text, and another with the stage
                first = batch.phoneme_lengths + second + prompt_lengths
                losses["guide"] = guide.loss(spoken, batch.phoneme_lengths, first, first + lengths + 2 * second)
        return losses, logits, targets

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        # Each utterance draws its own stage: the paper's draw of one a step, with less noise in the gradient.
        every = torch.arange(1.0, self.hparams["num_codebooks"], device=self.device)
        stages = 1 + torch.multinomial(every ** -self.hparams["stage_power"], len(batch.ids), replacement=True)
        losses, logits, targets = self._step(batch, stages, bool(torch.rand(()) < self.hparams["prefix_prompt_prob"]))
        tops = {
            f"top{k}_stage{stage}": accuracy(logits[stages == stage].detach(), targets[stages == stage], k)
            for k in (1, 10)
            for stage in sorted(set(stages.tolist()))
        }
        self._log("train", losses | tops, batch)
        weights = {"guide": self._guidance(), "unexplained": EXPECTATION_LOSS}
        return losses["loss"] + sum(weight * losses[name] for name, weight in weights.items() if name in losses)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        losses: list[Tensor] = []
        values: dict[str, Tensor] = {}
        for stage in range(self.hparams["num_codebooks"] - 1, 0, -1):  # the last one tells what is kept of `found`
            found, logits, targets = self._step(batch, torch.full_like(batch.code_lengths, stage), prefix=True)
            losses.append(found.pop("loss"))
            values |= {f"top{k}_stage{stage}": accuracy(logits, targets, k) for k in (1, 10)}
        self._log("valid", {"loss": torch.stack(losses).mean(), **found, **values}, batch)


def _padded(codes: Tensor, frames: int) -> Tensor:
    """(batch, time) -> (batch, frames), zeros on the right."""
    return F.pad(codes, (0, frames - codes.shape[1]))


def _take(codes: Tensor, index: Tensor) -> Tensor:
    """Frames of codes (batch, time, codebook) at (batch, n) places; places past the end repeat the last frame."""
    index = index.clamp(max=codes.shape[1] - 1)
    return codes.gather(1, index[..., None].expand(-1, -1, codes.shape[2]))

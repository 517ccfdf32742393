"""Training the non-autoregressive model (VALL-E, section 4.2.2; VALL-E 2, section 3.3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from valle.data.datamodule import Batch
from valle.extensions.guided_attention import GuidedAttention, spoken_phonemes
from valle.extensions.latent_regression import LatentRegressionNAR
from valle.models.config import Layout
from valle.models.nar import NAR, NARInputs
from valle.models.sequence import Padded
from valle.training.base import BaseModule, top_k_accuracy
from valle.training.prompts import PromptSplit, split_prompt

# Weight of the latent regression loss (the share of the latent's energy that is not predicted), relative to the cross
# entropy.
LATENT_REGRESSION_WEIGHT = 10.0


class NARModule(BaseModule):
    """LightningModule of the non-autoregressive model: cross entropy of one random stage for each utterance.

    Args:
        vocabulary: symbols of the text, phonemes or BPE units (from the data).
        language: espeak language tag of the data, e.g. "en-us" (from the data).
        bpe: BPE tokenizer of the text as JSON; None: the text is phonemes (from the data).
        codec: name of the codec of the data's codes (from the data).
        codebook_size: entries of a codebook (from the data).
        num_codebooks: codebooks (from the data).
        frame_rate: frames per second (from the data).
        prompt_seconds: maximum length of an acoustic prompt, which is at most half of its utterance.
        max_prompt_seconds: if above `prompt_seconds`, the maximum length is sampled between both for each utterance, as
            in VALL-E 2 (3 to 30).
        prefix_prompt_prob: probability of a step whose prompts are the first frames of the utterances (VALL-E 2: 1),
            instead of segments of them (VALL-E: 0).
        latent_regression_layers: blocks of a network that predicts the sum of the vectors of all codebooks after the
            first, for small models (`valle.extensions.latent_regression`); 0 is the papers. It is initialized with the
            codec's vectors: --init_codebooks true, or --init_from a model that has such a network.
        latent_dim: width of the codec's vectors.
        stage_power: stage j is sampled with a probability proportional to 1 / j ** stage_power; 0 (uniform) is the
            papers.
        guided_attention: weight of the guided attention loss, for data with phoneme times; it decays to zero with the
            learning rate. 0 (off) is the papers.
        layout: layout of the sequence, "valle" or "valle2".
        layers: transformer blocks.
        heads: attention heads.
        dim: width.
        ffn_dim: width of the feed-forward networks.
        dropout: dropout probability.
        learning_rate: peak learning rate.
        warmup_steps: steps of linear warm-up, before linear decay to zero at `trainer.max_steps`.
        weight_decay: AdamW's weight decay of matrices.
        seed: seed of stages, prompts and dropout.
        activation_checkpointing: store only the inputs of blocks and recompute the rest in the backward pass, which
            takes less memory and more time.
        compiled: run the blocks through `torch.compile`.
        lora_rank: rank of LoRA adapters; only they and the phoneme embeddings are trained. 0 trains all weights.
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
        sizes: dict[str, Any] = {
            "vocabulary_size": len(vocabulary),
            "config": self._transformer_config(),
            "codebook_size": codebook_size,
            "num_codebooks": num_codebooks,
            "layout": layout,
        }
        self.model: NAR
        if latent_regression_layers:
            self.model = LatentRegressionNAR(**sizes, layers=latent_regression_layers, latent_dim=latent_dim)
        else:
            self.model = NAR(**sizes)
        self._set_up_model()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss of a batch, with a random stage for each utterance."""
        # The paper samples one stage per step; one per utterance has the same mean and less noise in the gradient.
        numbers = torch.arange(1.0, self.hparams["num_codebooks"], device=self.device)
        weights = numbers ** -self.hparams["stage_power"]
        stages = 1 + torch.multinomial(weights, len(batch.ids), replacement=True)
        prefix = bool(torch.rand(()) < self.hparams["prefix_prompt_prob"])
        losses, logits, targets = self._losses(batch, stages, prefix)
        accuracies = {}
        for k in (1, 10):
            for stage in sorted(set(stages.tolist())):
                rows = stages == stage
                accuracies[f"top{k}_stage{stage}"] = top_k_accuracy(logits[rows].detach(), targets[rows], k)
        self._log_values("train", losses | accuracies, batch)
        loss_weights = {"guide": self._guidance_weight(), "unexplained": LATENT_REGRESSION_WEIGHT}
        extra = sum(weight * losses[name] for name, weight in loss_weights.items() if name in losses)
        return losses["loss"] + extra

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the mean loss of all stages, with prefixes as prompts, so that it does not depend on random segments."""
        stage_losses: list[Tensor] = []
        values: dict[str, Tensor] = {}
        # Stage 1 comes last: the latent regression loss that is logged is the one of stage 1.
        for stage in range(self.hparams["num_codebooks"] - 1, 0, -1):
            losses, logits, targets = self._losses(batch, torch.full_like(batch.code_lengths, stage), prefix=True)
            stage_losses.append(losses.pop("loss"))
            for k in (1, 10):
                values[f"top{k}_stage{stage}"] = top_k_accuracy(logits, targets, k)
        self._log_values("valid", {"loss": torch.stack(stage_losses).mean(), **losses, **values}, batch)

    def split_prompt(self, batch: Batch, prefix: bool) -> PromptSplit:
        """Split utterances into acoustic prompt and target, see `valle.training.prompts.split_prompt`.

        A prompt is at most `prompt_seconds` long, and in training up to `max_prompt_seconds`.
        """
        seconds = self.hparams["prompt_seconds"]
        max_seconds = self.hparams["max_prompt_seconds"]
        longest = torch.full(batch.code_lengths.shape, seconds, device=batch.code_lengths.device)
        if self.training and max_seconds > seconds:
            longest = longest + (max_seconds - seconds) * torch.rand_like(longest)
        max_lengths = (longest * self.hparams["frame_rate"]).round().long()
        return split_prompt(batch.codes, batch.code_lengths, max_lengths, prefix)

    def _losses(self, batch: Batch, stages: Tensor, prefix: bool) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Compute the losses by name, logits and targets of a batch, stages (batch,)."""
        split = self.split_prompt(batch, prefix)
        inputs = NARInputs(
            text=Padded(batch.phonemes, batch.phoneme_lengths),
            prompt=Padded(split.prompt, split.prompt_lengths),
            codes=Padded(split.target, split.target_lengths),
        )
        guided = self.training and self._guidance_weight() > 0
        with GuidedAttention(self.model, guided) as guide:
            losses, logits, targets = self.model.loss(inputs, stages, split.ignored)
        if guided:
            # A prefix is removed from the target, and phoneme times move by as many frames.
            starts = batch.starts - prefix * split.prompt_lengths[:, None]
            spoken = spoken_phonemes(starts, split.target_lengths, 1)
            if bool((spoken >= 0).any()):
                losses["guide"] = guide.loss(spoken, self.model.sequence_layout(inputs))
        return losses, logits, targets

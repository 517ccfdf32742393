"""Training the non-autoregressive model (VALL-E, section 4.2.2; VALL-E 2, section 3.3.2)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from valle.data.datamodule import Batch
from valle.errors import UserError
from valle.extensions.guidance import drop_text
from valle.extensions.guided_attention import GuidedAttention, spoken_phonemes
from valle.extensions.latent_regression import LatentRegressionNAR
from valle.models.config import Layout, TransformerConfig
from valle.models.nar import NAR, NARInputs
from valle.models.sequence import Padded
from valle.training.base import BaseModule, top_k_accuracy
from valle.training.config import DataConfig, LatentRegressionConfig, OptimizerConfig, TrainingConfig
from valle.training.hyper_parameters import option
from valle.training.prompts import PromptSplit, split_prompt

# Weight of the latent regression loss (the share of the latent's energy that is not predicted), relative to the cross
# entropy.
LATENT_REGRESSION_WEIGHT = 10.0


class NARModule(BaseModule):
    """LightningModule of the non-autoregressive model: cross entropy of one random stage for each utterance.

    Args:
        data: What the model has to know of its data (from the data).
        transformer: Sizes of the transformer.
        optimizer: Optimizer and schedule.
        training: How training is computed, and which weights are trained.
        latent_regression: A network that predicts the sum of the later codebooks' vectors; not in the papers.
        layout: Layout of the sequence, "valle" or "valle2".
        text_condition: Whether the model is conditioned on the text, as in the papers; False is an ablation.
        prompt_seconds: Maximum length of an acoustic prompt, which is at most half of its utterance. 0, with
            `max_prompt_seconds` 0, is an ablation: no acoustic prompt, and the target is the whole utterance.
        max_prompt_seconds: If above `prompt_seconds`, the maximum length is sampled between both for each utterance, as
            in VALL-E 2 (3 to 30).
        prefix_prompt_prob: Probability of a step whose prompts are the first frames of the utterances (VALL-E 2: 1),
            instead of segments of them (VALL-E: 0).
        stage_power: Stage j is sampled with a probability proportional to 1 / j ** stage_power; 0 (uniform) is the
            papers.
        guided_attention: Weight of the guided attention loss, for data with phoneme times; it decays to zero with the
            learning rate. 0 (off) is the paper.
        text_dropout: Probability that an utterance has no text, for classifier-free guidance
            (`valle.extensions.guidance`); 0 (off) is the papers.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        transformer: TransformerConfig = TransformerConfig(),
        optimizer: OptimizerConfig = OptimizerConfig(),
        training: TrainingConfig = TrainingConfig(),
        latent_regression: LatentRegressionConfig = LatentRegressionConfig(),
        layout: Layout = "valle",
        text_condition: bool = True,
        prompt_seconds: float = 3.0,
        max_prompt_seconds: float = 0.0,
        prefix_prompt_prob: float = 0.5,
        stage_power: float = 0.0,
        guided_attention: float = 0.0,
        text_dropout: float = 0.0,
    ) -> None:
        super().__init__(
            data=data,
            transformer=transformer,
            optimizer=optimizer,
            training=training,
            latent_regression=latent_regression,
            layout=layout,
            text_condition=text_condition,
            prompt_seconds=prompt_seconds,
            max_prompt_seconds=max_prompt_seconds,
            prefix_prompt_prob=prefix_prompt_prob,
            stage_power=stage_power,
            guided_attention=guided_attention,
            text_dropout=text_dropout,
        )
        if guided_attention and not text_condition:
            raise UserError(f"{option('guided_attention')} {guided_attention}: needs the text; give 0 without it")
        if text_dropout and not text_condition:
            raise UserError(f"{option('text_dropout')} {text_dropout}: the model has no text; give 0")
        kind: Callable[..., NAR] = NAR
        if latent_regression.layers:
            kind = partial(LatentRegressionNAR, layers=latent_regression.layers, latent_dim=latent_regression.dim)
        build = partial(
            kind,
            vocabulary_size=len(data.vocabulary),
            config=transformer,
            codebook_size=data.codebook_size,
            num_codebooks=data.num_codebooks,
            layout=layout,
            text_condition=text_condition,
        )
        self.model: NAR = self._set_up_model(build, training)

    @property
    def max_utterance_frames(self) -> int | None:
        """Frames of the longest utterance that the model has positions for; None: any number."""
        frames = self.model.max_frames
        if frames is None or self.hparams["prefix_prompt_prob"] == 1:
            return frames
        # A segment as prompt, at most half of the utterance, stands before the whole utterance.
        seconds = max(self.hparams["prompt_seconds"], self.hparams["max_prompt_seconds"])
        return frames - min(round(seconds * self.hparams["frame_rate"]), frames // 3)

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
        phoneme_lengths = batch.phoneme_lengths
        if self.training:
            phoneme_lengths = drop_text(phoneme_lengths, self.hparams["text_dropout"])
        inputs = NARInputs(
            text=Padded(batch.phonemes, phoneme_lengths),
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
            spoken = spoken.masked_fill(phoneme_lengths[:, None] == 0, -1)
            if bool((spoken >= 0).any()):
                losses["guide"] = guide.loss(spoken, self.model.sequence_layout(inputs))
        return losses, logits, targets

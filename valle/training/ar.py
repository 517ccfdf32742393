"""Training the autoregressive model (VALL-E, section 4.2.1; VALL-E 2, section 3.3.1)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from valle.data.datamodule import Batch
from valle.extensions.guided_attention import GuidedAttention, spoken_phonemes
from valle.models.ar import AR
from valle.models.config import Layout, TransformerConfig
from valle.training.base import BaseModule, top_k_accuracy
from valle.training.config import DataConfig, OptimizerConfig, TrainingConfig
from valle.training.prompts import prepend_untranscribed_prompts, trim_to_whole_groups


class ARModule(BaseModule):
    """LightningModule of the autoregressive model: cross entropy of the first codebook, with teacher forcing.

    Defaults are those of the papers, but for untranscribed prompts, which the papers do not have.

    Args:
        data: What the model has to know of its data (from the data).
        transformer: Sizes of the transformer.
        optimizer: Optimizer and schedule.
        training: How training is computed, and which weights are trained.
        group_size: Codes predicted per step: 1 is VALL-E; 2, 4 and 8 are VALL-E 2.
        layout: Layout of the sequence, "valle" or "valle2".
        tie_embeddings: Tie the output projection to the embedding of the codes, as in the papers.
        untranscribed_prompt_prob: Probability of a step with untranscribed prompts: the prompt of an utterance in the
            data (`valle-prepare prompts` and `excerpts`), or else a segment of the utterance itself. In the other steps
            any prefix of an utterance is a transcribed prompt, as in the paper.
        prompt_frames: Maximum length of an untranscribed prompt; a segment is at most half of its utterance.
        guided_attention: Weight of the guided attention loss, for data with phoneme times; it decays to zero with the
            learning rate. 0 (off) is the paper.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        transformer: TransformerConfig = TransformerConfig(),
        optimizer: OptimizerConfig = OptimizerConfig(),
        training: TrainingConfig = TrainingConfig(),
        group_size: int = 1,
        layout: Layout = "valle",
        tie_embeddings: bool = True,
        untranscribed_prompt_prob: float = 0.3,
        prompt_frames: int = 225,
        guided_attention: float = 0.0,
    ) -> None:
        super().__init__(
            data=data,
            transformer=transformer,
            optimizer=optimizer,
            training=training,
            group_size=group_size,
            layout=layout,
            tie_embeddings=tie_embeddings,
            untranscribed_prompt_prob=untranscribed_prompt_prob,
            prompt_frames=prompt_frames,
            guided_attention=guided_attention,
        )
        build = partial(
            AR,
            vocabulary_size=len(data.vocabulary),
            config=transformer,
            codebook_size=data.codebook_size,
            group_size=group_size,
            layout=layout,
            tie_embeddings=tie_embeddings,
        )
        self.model: AR = self._set_up_model(build, training)

    @property
    def max_utterance_frames(self) -> int | None:
        """Frames of the longest utterance that the model has positions for; None: any number."""
        frames = self.model.max_frames
        if frames is None or not self.hparams["untranscribed_prompt_prob"]:
            return frames
        return frames - self.hparams["prompt_frames"] - self.hparams["group_size"]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss of a batch, with untranscribed prompts in some steps."""
        untranscribed = bool(torch.rand(()) < self.hparams["untranscribed_prompt_prob"])
        return self._loss(batch, "train", untranscribed)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss without untranscribed prompts, so that it does not depend on random segments."""
        self._loss(batch, "valid", untranscribed=False)

    def _loss(self, batch: Batch, split: str, untranscribed: bool) -> Tensor:
        """Compute and log the loss of a batch; the result includes the guided attention loss."""
        group_size = self.hparams["group_size"]
        trimmed, lengths = trim_to_whole_groups(batch.codes, batch.code_lengths, group_size)
        codes = trimmed[..., 0]
        offsets = torch.zeros_like(lengths)
        ignored = None
        if untranscribed:
            codes, ignored, offsets = prepend_untranscribed_prompts(
                codes,
                lengths,
                batch.prompts,
                batch.prompt_lengths,
                group_size=group_size,
                max_frames=self.hparams["prompt_frames"],
                eos=self.model.eos,
            )
        weight = self._guidance_weight() if split == "train" else 0.0
        with GuidedAttention(self.model, weight > 0) as guide:
            loss, logits, targets = self.model.loss(
                batch.phonemes, batch.phoneme_lengths, codes, lengths + offsets, ignored
            )
        values = {"loss": loss}
        for k in (1, 10):
            values[f"top{k}"] = top_k_accuracy(logits.detach(), targets, k)
        total = loss
        if weight:
            # Trimming removed frames from the start, and phoneme times move by as many.
            starts = batch.starts - (batch.code_lengths - lengths)[:, None]
            spoken = spoken_phonemes(starts, lengths, group_size)
            if bool((spoken >= 0).any()):
                layout = self.model.sequence_layout(batch.phoneme_lengths, lengths + offsets, offsets)
                values["guide"] = guide.loss(spoken, layout)
                total = loss + weight * values["guide"]
        self._log_values(split, values, batch)
        return total

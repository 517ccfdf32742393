"""Training the autoregressive model (VALL-E, section 4.2.1; VALL-E 2, section 3.3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from valle.data.datamodule import Batch
from valle.extensions.guided_attention import GuidedAttention, spoken_phonemes
from valle.models.ar import AR
from valle.models.config import Layout
from valle.training.base import BaseModule, top_k_accuracy
from valle.training.prompts import prepend_untranscribed_prompts, trim_to_whole_groups


class ARModule(BaseModule):
    """LightningModule of the autoregressive model: cross entropy of the first codebook, with teacher forcing.

    Defaults are those of the papers, but for untranscribed prompts, which the papers do not have.

    Args:
        vocabulary: symbols of the text, phonemes or BPE units (from the data).
        language: espeak language tag of the data, e.g. "en-us" (from the data).
        bpe: BPE tokenizer of the text as JSON; None: the text is phonemes (from the data).
        codec: name of the codec of the data's codes (from the data).
        codebook_size: entries of a codebook (from the data).
        group_size: codes predicted per step: 1 is VALL-E; 2, 4 and 8 are VALL-E 2.
        layout: layout of the sequence, "valle" or "valle2".
        tie_embeddings: tie the output projection to the embedding of the codes, as in the papers.
        layers: transformer blocks.
        heads: attention heads.
        dim: width.
        ffn_dim: width of the feed-forward networks.
        dropout: dropout probability.
        untranscribed_prompt_prob: probability of a step with untranscribed prompts: the prompt of an utterance in the
            data (`valle-prepare prompts` and `excerpts`), or else a segment of the utterance itself. In the other steps
            any prefix of an utterance is a transcribed prompt, as in the paper.
        prompt_frames: maximum length of an untranscribed prompt; a segment is at most half of its utterance.
        guided_attention: weight of the guided attention loss, for data with phoneme times; it decays to zero with the
            learning rate. 0 (off) is the paper.
        learning_rate: peak learning rate.
        warmup_steps: steps of linear warm-up, before linear decay to zero at `trainer.max_steps`.
        weight_decay: AdamW's weight decay of matrices.
        seed: seed of prompts and dropout.
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
        self.model: AR = AR(
            vocabulary_size=len(vocabulary),
            config=self._transformer_config(),
            codebook_size=codebook_size,
            group_size=group_size,
            layout=layout,
            tie_embeddings=tie_embeddings,
        )
        self._set_up_model()

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

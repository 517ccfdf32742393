"""Preference tuning of the autoregressive model, and fine-tuning on the best of several candidates."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from valle.data.preferences import PreferenceBatch
from valle.errors import UserError
from valle.extensions.preference import dpo_loss, reference_log_probs, sequence_log_probs
from valle.models.config import Layout, TransformerConfig
from valle.models.sequence import Padded
from valle.training.ar import ARModule
from valle.training.config import DataConfig, OptimizerConfig, TrainingConfig
from valle.training.hyper_parameters import check_ranges, option


class PreferenceModule(ARModule):
    """LightningModule that tunes an AR model on preference pairs; see `valle.extensions.preference`.

    Only LoRA adapters are trained: the model without them is the reference policy.

    Args:
        data: What the model has to know of its data (from the model that training starts from).
        transformer: Sizes of the transformer.
        optimizer: Optimizer and schedule.
        training: How training is computed; `lora_rank` is at least 1.
        group_size: See `ARModule`.
        layout: See `ARModule`.
        tie_embeddings: See `ARModule`.
        untranscribed_prompt_prob: See `ARModule`; stored in the checkpoint for synthesis.
        prompt_frames: See `ARModule`.
        guided_attention: See `ARModule`; stored in the checkpoint for synthesis, the loss is not used here.
        text_dropout: See `ARModule`; stored in the checkpoint for synthesis, no text is dropped here.
        objective: "dpo", or "sft": cross entropy of the chosen candidates alone (rejection sampling fine-tuning).
        beta: Of DPO, how strongly the policy is held to the reference.
        nll_weight: Of DPO, weight of the cross entropy of the chosen candidates, which is added to the loss (RPO,
            arXiv 2404.19733). 0 is DPO.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        transformer: TransformerConfig = TransformerConfig(),
        optimizer: OptimizerConfig = OptimizerConfig(),
        training: TrainingConfig = TrainingConfig(lora_rank=16),
        group_size: int = 1,
        layout: Layout = "valle",
        tie_embeddings: bool = True,
        untranscribed_prompt_prob: float = 0.3,
        prompt_frames: int = 225,
        guided_attention: float = 0.0,
        text_dropout: float = 0.0,
        objective: Literal["dpo", "sft"] = "dpo",
        beta: float = 0.1,
        nll_weight: float = 0.0,
    ) -> None:
        if training.lora_rank < 1:
            raise UserError(f"{option('lora_rank')} {training.lora_rank}: preference tuning trains adapters; give 16")
        super().__init__(
            data,
            transformer=transformer,
            optimizer=optimizer,
            training=training,
            group_size=group_size,
            layout=layout,
            tie_embeddings=tie_embeddings,
            untranscribed_prompt_prob=untranscribed_prompt_prob,
            prompt_frames=prompt_frames,
            guided_attention=guided_attention,
            text_dropout=text_dropout,
        )
        own = {"objective": objective, "beta": beta, "nll_weight": nll_weight}
        check_ranges(own)
        self.save_hyperparameters(own)
        # With other phoneme embeddings, the model without adapters would not be the reference.
        self.model.phoneme_embedding.requires_grad_(False)

    def training_step(self, batch: PreferenceBatch, batch_idx: int) -> Tensor:  # type: ignore[override]
        """Compute the loss of a batch of pairs."""
        return self._preference_loss(batch, "train")

    def validation_step(self, batch: PreferenceBatch, batch_idx: int) -> None:  # type: ignore[override]
        """Log the loss of a batch of pairs."""
        self._preference_loss(batch, "valid")

    def _preference_loss(self, batch: PreferenceBatch, split: str) -> Tensor:
        """Compute and log the loss of a batch, and the implicit rewards of DPO."""
        h = self.hparams
        if bool((batch.code_lengths % h["group_size"] != 0).any()):
            raise UserError(
                f"pair {batch.ids[0]}: sampled by a model of another group size; "
                f"give the --init_from of valle-prepare preferences --model"
            )
        if h["objective"] == "sft":
            batch = _chosen(batch)
        arguments: dict[str, Any] = {
            "text": Padded(batch.phonemes, batch.phoneme_lengths),
            "codes": Padded(batch.codes, batch.code_lengths),
            "prefix_lengths": batch.prefix_lengths,
            "truncated": batch.truncated,
        }
        policy = sequence_log_probs(self.model, **arguments)
        pairs = len(batch.ids)
        nll = -policy.sums[:pairs].sum() / policy.counts[:pairs].sum()
        if h["objective"] == "sft":
            values = {"loss": nll}
        else:
            log_ratios = policy.sums - reference_log_probs(self.model, **arguments)
            chosen, rejected = log_ratios.detach().chunk(2)
            loss = dpo_loss(log_ratios, h["beta"])
            if h["nll_weight"]:
                loss = loss + h["nll_weight"] * nll
            values = {
                "loss": loss,
                "nll": nll.detach(),
                "margin": h["beta"] * (chosen - rejected).mean(),
                "accuracy": (chosen > rejected).float().mean(),
                "chosen_log_ratio": chosen.mean(),
                "rejected_log_ratio": rejected.mean(),
            }
        self._log_values(split, values, batch)  # type: ignore[arg-type]
        return values["loss"]


def _chosen(batch: PreferenceBatch) -> PreferenceBatch:
    """Return the chosen half of a batch."""
    pairs = len(batch.ids)
    halves = {name: value[:pairs] for name, value in vars(batch).items() if isinstance(value, Tensor)}
    return PreferenceBatch(**halves, ids=batch.ids)

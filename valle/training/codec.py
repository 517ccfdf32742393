"""Training a codec: one LightningModule for the SEANet network and for the frame-rate network."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from valle.codec.encodec_package import MultiScaleSTFTDiscriminator
from valle.codec.networks import CodecNetwork, build_network
from valle.training.codec_losses import Balancer, SpectralLoss, adversarial_losses, discriminator_loss

LOSS_WEIGHTS = {"time": 0.1, "complex": 2.0, "mel": 1.0, "adversarial": 1.5, "features": 1.5}


class CodecModule(L.LightningModule):
    """Trains encoder, quantizer and decoder on waveforms with spectral and adversarial losses.

    Args:
        network: kind of network and its sizes, e.g. `{"kind": "frame_rate", "sample_rate": 16000}`.
        learning_rate: peak of the schedule.
        warmup_steps: steps of linear warm-up.
        decay_steps: the last steps, in which the rate falls linearly to zero.
        quantize_start: steps trained without the quantizer first, so that k-means finds a settled space.
        commitment: weight of the quantizer's commitment loss, outside the balancer as in EnCodec.
        discriminator_start: step at which the adversarial losses join; None: never.
        discriminator_filters: channels of the multi-scale STFT discriminators.
        train_encoder: False keeps encoder and codebooks as they are, so that codes stay what they were
            while the decoder goes on learning.
        quantizer_dropout: share of steps that decode from the first 1, 2 or 4 codebooks only, so that early codebooks
            hold what matters most (EnCodec, section 3.2, trains for several bandwidths likewise).
        loss_weights: share of each loss in the gradient at the waveform.
    """

    def __init__(
        self,
        network: dict[str, Any],
        learning_rate: float = 1e-3,
        warmup_steps: int = 500,
        decay_steps: int = 2000,
        quantize_start: int = 400,
        commitment: float = 0.25,
        discriminator_start: int | None = None,
        discriminator_filters: int = 12,
        train_encoder: bool = True,
        quantizer_dropout: float = 0.0,
        loss_weights: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.network: CodecNetwork = build_network(network)
        self.spectral_loss = SpectralLoss(self.network.sample_rate)
        self.discriminator = None
        if discriminator_start is not None:
            self.discriminator = MultiScaleSTFTDiscriminator(discriminator_filters)
        self.balancer = Balancer(LOSS_WEIGHTS | (loss_weights or {}))

    def _reconstruct(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """audio (batch, time) -> reconstruction (batch, time) and the commitment loss."""
        with torch.set_grad_enabled(self.training and self.hparams["train_encoder"]):
            latent = self.network.encode_latent(audio)
        if self.training and self.global_step < self.hparams["quantize_start"]:
            return self.network.decode_latent(latent), latent.new_zeros(())
        quantizer = self.network.quantizer.train(self.training and self.hparams["train_encoder"])
        with torch.autocast(audio.device.type, enabled=False):
            quantized, _, commitment = quantizer.vq(latent.transpose(1, 2), self._codebooks_used())
        return self.network.decode_latent(quantized.transpose(1, 2)), commitment.mean()

    def _codebooks_used(self) -> int:
        if self.training and torch.rand(()) < self.hparams["quantizer_dropout"]:
            return int(2 ** torch.randint(3, ()))
        return self.network.num_codebooks

    def training_step(self, batch: Tensor, batch_index: int) -> None:
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        assert isinstance(optimizer, LightningOptimizer)
        assert isinstance(schedule, torch.optim.lr_scheduler.LRScheduler)
        output, commitment = self._reconstruct(batch)
        with torch.autocast(batch.device.type, enabled=False):
            waveform = output.detach().requires_grad_()
            losses = {"time": F.l1_loss(waveform, batch), **self.spectral_loss(waveform, batch)}
            critic = None
            if self.discriminator is not None and self.global_step >= self.hparams["discriminator_start"]:
                critic, adversarial = self._adversarial(waveform, batch)
                losses |= adversarial
            gradient = self.balancer.gradient(losses, waveform)
        optimizer.zero_grad()
        if commitment.requires_grad:
            self.manual_backward(self.hparams["commitment"] * commitment, retain_graph=True)
        output.backward(gradient)
        if critic is not None:
            self.manual_backward(critic)
            losses["discriminator"] = critic
        self.clip_gradients(optimizer.optimizer, gradient_clip_val=1.0, gradient_clip_algorithm="norm")
        optimizer.step()
        schedule.step()
        losses["commitment"] = commitment
        self.log_dict({f"train/{name}": float(loss.detach()) for name, loss in losses.items()}, prog_bar=True)

    def _adversarial(self, output: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminators' loss and the generator's two; only the former's gradients reach their weights."""
        assert self.discriminator is not None
        real, real_features = self.discriminator(target[:, None])
        fake, _ = self.discriminator(output.detach()[:, None])
        critic = discriminator_loss(real, fake)
        seen, seen_features = self.discriminator(output[:, None])
        return critic, adversarial_losses(seen, seen_features, real_features)

    def validation_step(self, batch: Tensor, batch_index: int) -> None:
        output, _ = self._reconstruct(batch)
        losses = self.spectral_loss(output, batch)
        losses["loss"] = losses["mel"] + losses["complex"]
        self.log_dict({f"valid/{name}": loss for name, loss in losses.items()}, batch_size=len(batch))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        frozen = [] if self.hparams["train_encoder"] else [self.network.encoder, self.network.quantizer]
        for part in frozen:
            part.requires_grad_(False)
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, self.hparams["learning_rate"], betas=(0.8, 0.99), weight_decay=0.01)
        total, warmup, decay = self.trainer.max_steps, self.hparams["warmup_steps"], self.hparams["decay_steps"]

        def factor(step: int) -> float:
            return max(0.0, min(1.0, (step + 1) / warmup, (total - step) / decay))

        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, factor)}

"""Training of codec networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from valle.codec import Codec
from valle.codec.encodec_package import MultiScaleSTFTDiscriminator
from valle.codec.network import CodecNetwork
from valle.codec.networks import build_network
from valle.codec.quantizer import codebook_vectors
from valle.codec.trained import TrainedCodec
from valle.errors import UserError
from valle.text.phones import PHONE_CLASSES, UNKNOWN
from valle.training.codec_losses import Balancer, adversarial_losses, discriminator_loss

LOSS_WEIGHTS = {
    "time": 0.1,
    "complex": 2.0,
    "mel": 1.0,
    "magnitude": 1.0,
    "envelope": 0.0,
    "adversarial": 1.5,
    "features": 1.5,
}


@dataclass(frozen=True)
class Reconstruction:
    """A reconstruction with the losses of what is between encoder and decoder.

    Attributes:
        output: What `CodecNetwork.reconstruct` gives.
        latent_loss: Weighted sum of the losses of latent vectors and codes, a scalar.
        metrics: These losses, and accuracies, by name.
    """

    output: Tensor
    latent_loss: Tensor
    metrics: dict[str, Tensor]


class CodecModule(L.LightningModule):
    """Train encoder, quantizer and decoder on waveforms with spectral and adversarial losses.

    Args:
        network: Kind of network and its sizes, e.g. `{"kind": "frame_rate", "sample_rate": 16000}`.
        learning_rate: Maximum of the schedule.
        warmup_steps: Steps of linear warm-up.
        decay_steps: The last steps, in which the rate falls linearly to zero.
        quantize_start: First step with the quantizer. Before it latent vectors are decoded directly, so that k-means
            initializes the codebooks in a space that no longer changes much.
        commitment: Weight of the quantizer's commitment loss, outside of the balancer as in EnCodec.
        discriminator_start: First step with the adversarial losses; None: none.
        discriminator_filters: Channels of the multi-scale STFT discriminators.
        quantizer_dropout: Probability of a step that decodes from the first 1, 2 or 4 codebooks only, so that early
            codebooks hold what matters most (similar to EnCodec's training for several bandwidths, section 3.2).
        loss_weights: Share of each loss in the gradient at the output, in place of LOSS_WEIGHTS. "envelope" applies to
            networks without phases, in steps that decode from the first codebook alone: that codebook then determines
            the formants, and not the pitch.
        phone_loss: Weight of a loss that makes the first codebook alone determine which phone is spoken, where the data
            is aligned. The AR model then predicts little but what the text determines (as SpeechTokenizer, arXiv
            2308.16692, whose teacher is HuBERT). 0: none.
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
        quantizer_dropout: float = 0.0,
        loss_weights: dict[str, float] | None = None,
        phone_loss: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        # The balancer needs the gradient of each loss at the output.
        self.automatic_optimization = False
        self.network: CodecNetwork = build_network(network)
        self.balancer = Balancer(LOSS_WEIGHTS | (loss_weights or {}))
        has_envelope = self.balancer.weights["envelope"] > 0
        if self.network.phases and self.balancer.weights["envelope"]:
            raise UserError("loss_weights: envelope needs a network without phases; leave it out, or set phases: false")
        self.reconstruction_loss = self.network.build_loss(has_envelope)
        self.discriminator = None
        if discriminator_start is not None:
            if not self.network.phases:
                raise UserError("network.phases false: a discriminator needs waveforms; leave discriminator_start out")
            self.discriminator = MultiScaleSTFTDiscriminator(discriminator_filters)
        self.phone_head = None
        if phone_loss:
            width = codebook_vectors(self.network.quantizer).shape[2]
            self.phone_head = nn.Linear(width, len(PHONE_CLASSES))

    def start_from(self, codec: Codec) -> None:
        """Copy the weights of a codec that was trained by this project.

        A network without phases takes the weights for magnitudes of a network with phases.

        Args:
            codec: The codec.

        Raises:
            UserError: It is another kind of codec, or has other sizes.
        """
        if not isinstance(codec, TrainedCodec):
            raise UserError(f"codec {codec.name!r} was not trained by valle-train; start from a codec folder")
        try:
            self.network.load_state_dict(self.network.convert_weights(codec.network))
        except RuntimeError as error:
            raise UserError(f"codec {codec.name!r} has other sizes ({str(error).splitlines()[-1].strip()})") from error
        # Codec folders hold no moving averages: begin as if each entry had been used once per step.
        layers: Any = self.network.quantizer.vq.layers
        for layer in layers:
            layer._codebook.embed_avg.copy_(layer._codebook.embed)
            layer._codebook.cluster_size.fill_(1.0)

    @torch.no_grad()
    def label_codes(self) -> None:
        """Label each entry of the first codebook with the phone that the head of the phone loss predicts for it."""
        if self.phone_head is not None:
            quantizer = self.network.quantizer
            quantizer.get_buffer("phones").copy_(self.phone_head(codebook_vectors(quantizer)[0]).argmax(-1))

    def reconstruct(self, audio: Tensor, phones: Tensor, num_codebooks: int) -> Reconstruction:
        """Encode and decode audio.

        Args:
            audio: (batch, samples) in [-1, 1].
            phones: Class of the phone in each frame, (batch, frames) int64; UNKNOWN where it is not known.
            num_codebooks: Number of codebooks to decode from.
        """
        latent = self.network.encode_latent(audio)
        if self.training and self.global_step < self.hparams["quantize_start"]:
            return Reconstruction(self.network.reconstruct(latent), latent.new_zeros(()), {})
        quantizer = self.network.quantizer
        with torch.autocast(audio.device.type, enabled=False):
            quantized, codes, commitment = quantizer.vq(latent.transpose(1, 2), num_codebooks)
            metrics = {"commitment": commitment.mean()}
            loss = self.hparams["commitment"] * metrics["commitment"]
            if self.phone_head is not None and bool((phones != UNKNOWN).any()):
                first = F.embedding(codes[0], codebook_vectors(quantizer)[0])
                # Straight-through gradient, as for the quantizer's own output.
                first = latent + (first - latent).detach()
                logits = self.phone_head(first).transpose(1, 2)
                metrics["phone"] = F.cross_entropy(logits, phones, ignore_index=UNKNOWN)
                metrics["phone_accuracy"] = (logits.argmax(1) == phones)[phones != UNKNOWN].float().mean()
                loss = loss + self.hparams["phone_loss"] * metrics["phone"]
        return Reconstruction(self.network.reconstruct(quantized.transpose(1, 2)), loss, metrics)

    def losses(self, output: Tensor, audio: Tensor, num_codebooks: int) -> dict[str, Tensor]:
        """Compute the losses of a reconstruction `output` of `audio` (batch, samples), by name."""
        return self.reconstruction_loss(output, self.network.reconstruction_target(audio), num_codebooks)

    def sample_num_codebooks(self) -> int:
        """Sample the number of codebooks that a training step decodes from, see `quantizer_dropout`."""
        if torch.rand(()) < self.hparams["quantizer_dropout"]:
            return int(2 ** torch.randint(3, ()))
        return self.network.num_codebooks

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Update the weights with one batch of audio (batch, samples) and phone classes (batch, frames)."""
        audio, phones = batch
        optimizer = self.optimizers()
        schedule = self.lr_schedulers()
        assert isinstance(optimizer, LightningOptimizer)
        assert isinstance(schedule, torch.optim.lr_scheduler.LRScheduler)
        num_codebooks = self.sample_num_codebooks()
        reconstruction = self.reconstruct(audio, phones, num_codebooks)
        with torch.autocast(audio.device.type, enabled=False):
            output = reconstruction.output.detach().requires_grad_()
            losses = self.losses(output, audio, num_codebooks)
            critic_loss = None
            if self.discriminator is not None and self.global_step >= self.hparams["discriminator_start"]:
                critic_loss, adversarial = self._adversarial(output, audio)
                losses |= adversarial
            gradient = self.balancer.gradient(losses, output)
        optimizer.zero_grad()
        # Both backward passes go through the encoder's graph; the second one may free it.
        if reconstruction.latent_loss.requires_grad:
            self.manual_backward(reconstruction.latent_loss, retain_graph=True)
        reconstruction.output.backward(gradient)
        if critic_loss is not None:
            self.manual_backward(critic_loss)
            losses["discriminator"] = critic_loss
        self.clip_gradients(optimizer.optimizer, gradient_clip_val=1.0, gradient_clip_algorithm="norm")
        optimizer.step()
        schedule.step()
        logged = {f"train/{name}": float(value.detach()) for name, value in (losses | reconstruction.metrics).items()}
        self.log_dict(logged, prog_bar=True)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Log the losses of one batch, decoded from all codebooks; `valid/loss` selects the best checkpoint."""
        audio, phones = batch
        reconstruction = self.reconstruct(audio, phones, self.network.num_codebooks)
        losses = self.losses(reconstruction.output, audio, self.network.num_codebooks)
        metrics = reconstruction.metrics
        mel, finer = (losses[name] for name in self.reconstruction_loss.summary)
        losses["loss"] = mel + finer + self.hparams["phone_loss"] * metrics.get("phone", 0.0)
        self.log_dict({f"valid/{name}": value for name, value in (losses | metrics).items()}, batch_size=len(audio))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and its schedule: linear warm-up, constant rate, linear decay to zero."""
        optimizer = torch.optim.AdamW(
            self.parameters(), self.hparams["learning_rate"], betas=(0.8, 0.99), weight_decay=0.01
        )
        total = self.trainer.max_steps
        warmup = self.hparams["warmup_steps"]
        decay = self.hparams["decay_steps"]

        def factor(step: int) -> float:
            return max(0.0, min(1.0, (step + 1) / warmup, (total - step) / decay))

        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, factor)}

    def _adversarial(self, output: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminators' loss and the generator's two; only the former's gradients reach their weights."""
        assert self.discriminator is not None
        real, real_features = self.discriminator(target[:, None])
        fake, _ = self.discriminator(output.detach()[:, None])
        critic_loss = discriminator_loss(real, fake)
        scores, features = self.discriminator(output[:, None])
        return critic_loss, adversarial_losses(scores, features, real_features)

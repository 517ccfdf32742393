"""Training a codec: one LightningModule for the SEANet network and for the frame-rate network."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from einops import rearrange
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from valle.codec import Codec
from valle.codec.encodec_package import MultiScaleSTFTDiscriminator
from valle.codec.frame_rate import FrameRateCodec
from valle.codec.networks import CodecNetwork, build_network
from valle.codec.quantizer import codebook_vectors
from valle.codec.trained import TrainedCodec
from valle.errors import UserError
from valle.text.phones import PHONE_CLASSES, UNKNOWN
from valle.training.codec_losses import Balancer, MagnitudeLoss, SpectralLoss, adversarial_losses, discriminator_loss

LOSS_WEIGHTS = {
    "time": 0.1,
    "complex": 2.0,
    "mel": 1.0,
    "magnitude": 1.0,
    "envelope": 0.0,
    "adversarial": 1.5,
    "features": 1.5,
}


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
        quantizer_dropout: share of steps that decode from the first 1, 2 or 4 codebooks only, so that early codebooks
            hold what matters most (EnCodec, section 3.2, trains for several bandwidths likewise).
        loss_weights: share of each loss in the gradient at the output. "envelope" is of steps that decode from the
            first codebook alone, without phases: it is to tell the formants then, and not the pitch.
        phone_loss: weight of the loss that makes the first codebook alone tell which phone is spoken, where the data
            says so; the AR model then predicts little but what the text says (as SpeechTokenizer, arXiv 2308.16692,
            whose teacher is a network of its own). 0: none.
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
        self.automatic_optimization = False
        self.network: CodecNetwork = build_network(network)
        self.spectral_loss: SpectralLoss | MagnitudeLoss = SpectralLoss(self.network.sample_rate)
        if isinstance(self.network, FrameRateCodec) and not self.network.phases:
            self.spectral_loss = MagnitudeLoss(self.network.sample_rate, self.network.n_fft)
        self.discriminator = None
        if discriminator_start is not None:
            if isinstance(self.spectral_loss, MagnitudeLoss):
                raise UserError("network.phases false: a discriminator hears waveforms; leave discriminator_start out")
            self.discriminator = MultiScaleSTFTDiscriminator(discriminator_filters)
        self.phone_head = None
        if phone_loss:
            width = codebook_vectors(self.network.quantizer).shape[2]
            self.phone_head = nn.Linear(width, len(PHONE_CLASSES))
        self.balancer = Balancer(LOSS_WEIGHTS | (loss_weights or {}))
        if self.balancer.weights["envelope"] and isinstance(self.spectral_loss, SpectralLoss):
            raise UserError("loss_weights: an envelope is judged without phases only; leave it out, or phases: false")

    def start_from(self, codec: Codec) -> None:
        """Copy the weights of a codec that was trained here. A network without phases takes what one with them has for
        magnitudes. Raises UserError for another codec, or other sizes."""
        if not isinstance(codec, TrainedCodec):
            raise UserError(f"codec {codec.name!r} was not trained here; training can start from one that was")
        layers: Any = self.network.quantizer.vq.layers
        own, other = self.network, codec.network
        state = other.state_dict()
        if isinstance(own, FrameRateCodec) and isinstance(other, FrameRateCodec) and other.parts > own.parts:
            layout = {"part": other.parts, "sub": other.subframes}
            for name in ("encoder.embed.weight", "decoder.head.weight", "decoder.head.bias"):
                side = (
                    "d (sub part bin) -> part d (sub bin)"
                    if name.startswith("enc")
                    else "(sub part bin) ... -> part (sub bin) ..."
                )
                state[name] = rearrange(state[name], side, **layout)[0]
        try:
            own.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"codec {codec.name!r} has other sizes ({str(error).splitlines()[-1].strip()})") from error
        for layer in layers:  # moving averages are not kept: as if each code had been used once a step
            layer._codebook.embed_avg.copy_(layer._codebook.embed)
            layer._codebook.cluster_size.fill_(1.0)

    @torch.no_grad()
    def name_codes(self) -> None:
        """Let each first code stand for the phone that the phone loss's head takes it for."""
        if self.phone_head is not None:
            quantizer = self.network.quantizer
            quantizer.get_buffer("phones").copy_(self.phone_head(codebook_vectors(quantizer)[0]).argmax(-1))

    def _reconstruct(self, audio: Tensor, phones: Tensor, used: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """audio (batch, time) -> reconstruction, see `_losses`, the loss of what is between, and that loss's parts.

        phones: (batch, frames) classes; used: codebooks that it is decoded from
        """
        latent = self.network.encode_latent(audio)
        if self.training and self.global_step < self.hparams["quantize_start"]:
            return self._decode(latent), latent.new_zeros(()), {}
        quantizer = self.network.quantizer
        with torch.autocast(audio.device.type, enabled=False):
            quantized, codes, commitment = quantizer.vq(latent.transpose(1, 2), used)
            parts = {"commitment": commitment.mean()}
            inner = self.hparams["commitment"] * parts["commitment"]
            if self.phone_head is not None and bool((phones != UNKNOWN).any()):
                first = F.embedding(codes[0], codebook_vectors(quantizer)[0])
                first = latent + (first - latent).detach()  # straight through, as the quantizer's own output
                logits = self.phone_head(first).transpose(1, 2)
                parts["phone"] = F.cross_entropy(logits, phones, ignore_index=UNKNOWN)
                parts["phone_accuracy"] = (logits.argmax(1) == phones)[phones != UNKNOWN].float().mean()
                inner = inner + self.hparams["phone_loss"] * parts["phone"]
        return self._decode(quantized.transpose(1, 2)), inner, parts

    def _decode(self, latent: Tensor) -> Tensor:
        if isinstance(self.network, FrameRateCodec) and not self.network.phases:
            return self.network.decode_magnitudes(latent)
        return self.network.decode_latent(latent)

    def _losses(self, output: Tensor, audio: Tensor, used: int) -> dict[str, Tensor]:
        """Of a reconstruction, by name; without phases it has nothing to be compared with but magnitudes."""
        if isinstance(self.network, FrameRateCodec) and not self.network.phases:
            envelope = used == 1 and self.balancer.weights["envelope"] > 0
            return self.spectral_loss(output, self.network.magnitudes(audio), envelope)
        return {"time": F.l1_loss(output, audio), **self.spectral_loss(output, audio)}

    def _codebooks_used(self) -> int:
        """Of a step in training."""
        if torch.rand(()) < self.hparams["quantizer_dropout"]:
            return int(2 ** torch.randint(3, ()))
        return self.network.num_codebooks

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        audio, phones = batch
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        assert isinstance(optimizer, LightningOptimizer)
        assert isinstance(schedule, torch.optim.lr_scheduler.LRScheduler)
        used = self._codebooks_used()
        output, inner, parts = self._reconstruct(audio, phones, used)
        with torch.autocast(audio.device.type, enabled=False):
            waveform = output.detach().requires_grad_()
            losses = self._losses(waveform, audio, used)
            critic = None
            if self.discriminator is not None and self.global_step >= self.hparams["discriminator_start"]:
                critic, adversarial = self._adversarial(waveform, audio)
                losses |= adversarial
            gradient = self.balancer.gradient(losses, waveform)
        optimizer.zero_grad()
        if inner.requires_grad:
            self.manual_backward(inner, retain_graph=True)
        output.backward(gradient)
        if critic is not None:
            self.manual_backward(critic)
            losses["discriminator"] = critic
        self.clip_gradients(optimizer.optimizer, gradient_clip_val=1.0, gradient_clip_algorithm="norm")
        optimizer.step()
        schedule.step()
        logged = {f"train/{name}": float(loss.detach()) for name, loss in (losses | parts).items()}
        self.log_dict(logged, prog_bar=True)

    def _adversarial(self, output: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminators' loss and the generator's two; only the former's gradients reach their weights."""
        assert self.discriminator is not None
        real, real_features = self.discriminator(target[:, None])
        fake, _ = self.discriminator(output.detach()[:, None])
        critic = discriminator_loss(real, fake)
        seen, seen_features = self.discriminator(output[:, None])
        return critic, adversarial_losses(seen, seen_features, real_features)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        audio, phones = batch
        output, _, parts = self._reconstruct(audio, phones, self.network.num_codebooks)
        losses = self._losses(output, audio, self.network.num_codebooks)
        finer = losses["complex"] if "complex" in losses else losses["magnitude"]
        losses["loss"] = losses["mel"] + finer + self.hparams["phone_loss"] * parts.get("phone", 0.0)
        self.log_dict({f"valid/{name}": loss for name, loss in (losses | parts).items()}, batch_size=len(audio))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(
            self.parameters(), self.hparams["learning_rate"], betas=(0.8, 0.99), weight_decay=0.01
        )
        total, warmup, decay = self.trainer.max_steps, self.hparams["warmup_steps"], self.hparams["decay_steps"]

        def factor(step: int) -> float:
            return max(0.0, min(1.0, (step + 1) / warmup, (total - step) / decay))

        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, factor)}

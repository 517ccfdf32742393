"""A callback that logs one synthesized utterance to TensorBoard at every validation, as audio and images."""

from __future__ import annotations

import lightning as L
import numpy as np
import torch
from torch import Tensor

from valle import codec
from valle.codec import Codec
from valle.codec.merging import first_codes, repeat_codes
from valle.data.loader import Batch
from valle.extensions.language_ids import LanguageIdAR
from valle.generation.engine import generate
from valle.generation.request import GenerationRequest
from valle.models.nar import NARInputs
from valle.models.sampling import SPEECH_TOP_P, Sampling
from valle.models.sequence import Padded
from valle.training.ar import ARModule
from valle.training.nar import NARModule


class SampleCallback(L.Callback):
    """Synthesizes the first validation utterance: the AR model its first codebook, the NAR model the other seven."""

    def __init__(self) -> None:
        self.codec: Codec | None = None
        self.reference_logged = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the synthesized utterance, and once its resynthesis by the codec, to TensorBoard."""
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.logger is None:
            return
        assert isinstance(pl_module, ARModule | NARModule)
        # With sharded weights, no rank has the whole model.
        if pl_module.sharded:
            return
        self.codec = self.codec or codec.load(pl_module.hparams["codec"])
        batch: Batch = next(iter(trainer.datamodule.val_dataloader()))  # type: ignore[attr-defined]
        phonemes = batch.phonemes[:1, : int(batch.phoneme_lengths[0])].to(pl_module.device)
        codes = batch.codes[:1, : int(batch.code_lengths[0])].to(pl_module.device)
        prompt = min(round(3 * self.codec.frame_rate), codes.shape[1] // 3)
        was_training = pl_module.training
        pl_module.eval()
        board = trainer.logger.experiment  # type: ignore[attr-defined]
        step = trainer.global_step
        with torch.inference_mode():
            if isinstance(pl_module, ARModule):
                language = None if batch.languages is None else batch.languages[:1].to(pl_module.device)
                sampled = self._continue(pl_module, phonemes, codes, prompt, language)
                attention = self._attention(pl_module, phonemes, codes, language)
                board.add_image("sample/attention", attention, step, dataformats="HW")
            else:
                longest = round(pl_module.hparams["prompt_seconds"] * self.codec.frame_rate)
                sampled = self._fill_in(pl_module, phonemes, codes, min(prompt, longest))
        pl_module.train(was_training)
        image = sampled.T.float().cpu().repeat_interleave(8, dim=0) / pl_module.hparams["codebook_size"]
        board.add_image("sample/codes", image, step, dataformats="HW")
        samples = self.codec.decode(sampled.cpu())
        board.add_audio("sample/audio", samples[None], step, sample_rate=self.codec.sample_rate)
        if not self.reference_logged:
            self.reference_logged = True
            reference = self.codec.decode(codes[0].cpu())
            board.add_audio("sample/reference", reference[None], step, sample_rate=self.codec.sample_rate)

    def _continue(
        self, module: ARModule, phonemes: Tensor, codes: Tensor, prompt: int, language: Tensor | None
    ) -> Tensor:
        """Continue the prompt, and return both, (time, 1): the first codebook only."""
        size = module.hparams["group_size"]
        first = first_codes(codes[0, :, 0], module.merge)
        prefix = first[: prompt // module.merge // size * size]
        bound = 2 * len(first) // size * size
        request = GenerationRequest(phonemes[0], prefix, max_frames=bound, seeds=[0])
        if isinstance(module.model, LanguageIdAR) and language is not None:
            embedded = module.model.embed_languages(language)
            request.prompt_condition = embedded.expand(len(prefix) // size, -1)
            request.condition = embedded[0]
        ((sampled,),) = generate(module.model, [request], Sampling(top_p=SPEECH_TOP_P))
        return repeat_codes(torch.cat((prefix.cpu(), sampled.codes)), module.merge)[:, None]

    def _fill_in(self, module: NARModule, phonemes: Tensor, codes: Tensor, prompt: int) -> Tensor:
        """Fill in the codebooks after the first, which is the recording's: (time, codebook)."""

        def one_row(x: Tensor) -> Padded:
            return Padded(x, torch.tensor([x.shape[1]], device=x.device))

        inputs = NARInputs(
            text=one_row(phonemes), prompt=one_row(codes[:, :prompt]), codes=one_row(codes[:, prompt:, :1])
        )
        return module.model.generate(inputs)[0]

    def _attention(self, module: ARModule, phonemes: Tensor, codes: Tensor, language: Tensor | None) -> np.ndarray:
        """Compute the attention of each step to the text, (groups, phonemes): mean over heads, maximum over layers."""
        model = module.model
        size = module.hparams["group_size"]
        length = torch.tensor([phonemes.shape[1]], device=phonemes.device)
        text = model.embed_phonemes(phonemes, length).values
        first = first_codes(codes[..., 0], module.merge)
        frames = first.shape[1] // size * size
        condition = None
        if isinstance(model, LanguageIdAR) and language is not None:
            condition = model.embed_languages(language[:, None])
        sequence = torch.cat((text, model.embed_groups(first[:, :frames], condition=condition)), dim=1)
        start = text.shape[1]
        maps = [
            model.transformer.attention_map(sequence, layer, causal=True)[0, start:, :start]
            for layer in range(model.config.layers)
        ]
        image = torch.stack(maps).amax(0)
        return (image / image.amax()).float().cpu().numpy()

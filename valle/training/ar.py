"""Training the autoregressive model (VALL-E, section 4.2.1; VALL-E 2, section 3.3.1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from valle.codec.merging import first_codes, split_name
from valle.data.datamodule import Batch
from valle.errors import UserError
from valle.extensions.guidance import drop_text
from valle.extensions.guided_attention import GuidedAttention, spoken_phonemes
from valle.extensions.language_ids import LanguageIdAR
from valle.extensions.phoneme_path import NO_PHONEME, phonemes_of_groups
from valle.extensions.phoneme_stream import PhonemeStream, PhonemeStreamAR
from valle.models.ar import AR
from valle.models.config import Layout, TransformerConfig
from valle.models.sequence import Padded
from valle.training.base import BaseModule, top_k_accuracy
from valle.training.config import DataConfig, OptimizerConfig, TrainingConfig
from valle.training.hyper_parameters import option
from valle.training.prompts import prepend_untranscribed_prompts, trim_to_whole_groups

# Share of the utterances whose phonemes are not embedded, so that a model with a phoneme stream can align a prompt with
# its text.
WITHHELD_PHONEMES = 0.1


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
        phoneme_stream: Whether the model predicts the phoneme of each group beside its codes, as VALL-E R. Utterances
            without phoneme times are left out.
        language_ids: Whether an embedding of its language is added to each code, as VALL-E X, for folders of several
            languages.
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
        group_size: int = 1,
        layout: Layout = "valle",
        tie_embeddings: bool = True,
        untranscribed_prompt_prob: float = 0.3,
        prompt_frames: int = 225,
        guided_attention: float = 0.0,
        phoneme_stream: bool = False,
        language_ids: bool = False,
        text_dropout: float = 0.0,
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
            phoneme_stream=phoneme_stream,
            language_ids=language_ids,
            text_dropout=text_dropout,
        )
        if phoneme_stream and text_dropout:
            raise UserError(f"{option('text_dropout')} {text_dropout}: the phoneme stream follows the text; give 0")
        if phoneme_stream and data.bpe is not None:
            raise UserError(f"{option('phoneme_stream')} true: needs phonemes; leave --data.init_args.bpe out")
        if language_ids and phoneme_stream:
            raise UserError(
                f"{option('language_ids')} true: not with {option('phoneme_stream')}; leave one of them out"
            )
        if language_ids and len(data.languages) < 2:
            raise UserError(
                f"{option('language_ids')} true: all tokens are in one language ({data.language}); leave it out, or "
                "give folders of several languages"
            )
        _, self.merge = split_name(data.codec)
        kind: Callable[..., AR] = AR
        if phoneme_stream:
            kind = partial(PhonemeStreamAR, vocabulary=data.vocabulary, code_rate=data.frame_rate / self.merge)
        if language_ids:
            kind = partial(LanguageIdAR, languages=data.languages)
        build = partial(
            kind,
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
        if frames is None:
            return None
        frames *= self.merge
        if not self.hparams["untranscribed_prompt_prob"]:
            return frames
        return frames - self.hparams["prompt_frames"] - self.hparams["group_size"] * self.merge

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
        trimmed, lengths = trim_to_whole_groups(batch.codes, batch.code_lengths, group_size * self.merge)
        # Trimming removed frames from the start, and phoneme times move by as many.
        starts = (batch.starts - (batch.code_lengths - lengths)[:, None]) // self.merge
        codes = first_codes(trimmed[..., 0], self.merge)
        lengths = lengths // self.merge
        offsets = torch.zeros_like(lengths)
        ignored = None
        if untranscribed:
            codes, ignored, offsets = prepend_untranscribed_prompts(
                codes,
                lengths,
                None if batch.prompts is None else first_codes(batch.prompts, self.merge),
                None if batch.prompt_lengths is None else batch.prompt_lengths // self.merge,
                group_size=group_size,
                max_frames=self.hparams["prompt_frames"] // self.merge,
                eos=self.model.eos,
            )
        weight = self._guidance_weight() if split == "train" else 0.0
        phoneme_lengths = batch.phoneme_lengths
        if self.training:
            phoneme_lengths = drop_text(phoneme_lengths, self.hparams["text_dropout"])
        text = Padded(batch.phonemes, phoneme_lengths)
        with GuidedAttention(self.model, weight > 0) as guide:
            if isinstance(self.model, PhonemeStreamAR):
                stream = self._phoneme_stream(text, starts, lengths, offsets, codes.shape[1])
                prompted = Padded(codes, lengths + offsets)
                values, logits, targets = self.model.stream_loss(text, prompted, ignored, stream)
            else:
                condition = None
                if isinstance(self.model, LanguageIdAR) and batch.languages is not None:
                    condition = self.model.embed_languages(batch.languages[:, None])
                loss, logits, targets = self.model.loss(*text, codes, lengths + offsets, ignored, condition)
                values = {"loss": loss}
        total = values["loss"]
        for k in (1, 10):
            values[f"top{k}"] = top_k_accuracy(logits.detach(), targets, k)
        if weight:
            spoken = spoken_phonemes(starts, lengths, group_size)
            spoken = spoken.masked_fill(text.lengths[:, None] == 0, -1)
            if bool((spoken >= 0).any()):
                layout = self.model.sequence_layout(text.lengths, lengths + offsets, offsets)
                values["guide"] = guide.loss(spoken, layout)
                total = total + weight * values["guide"]
        self._log_values(split, values, batch)
        return total

    def _phoneme_stream(
        self, text: Padded, starts: Tensor, lengths: Tensor, offsets: Tensor, frames: int
    ) -> PhonemeStream:
        """Return the phonemes of each group of a batch.

        Args:
            text: (batch, time) text ids.
            starts: (batch, time) first frame of each symbol.
            lengths: (batch,) frames of each utterance.
            offsets: (batch,) frames in front of each utterance, whose phonemes are not known.
            frames: Frames of the longest row.
        """
        assert isinstance(self.model, PhonemeStreamAR)
        group_size = self.model.group_size
        spoken = phonemes_of_groups(text.values, starts, lengths, group_size, self.model.roles)
        position = torch.arange(frames // group_size + 1, device=lengths.device) - offsets[:, None] // group_size
        spoken = spoken.gather(1, position.clamp(0, spoken.shape[1] - 1))
        known = (spoken != -100) & (position >= 0)
        spoken = spoken.masked_fill(~known, NO_PHONEME)
        targets = spoken.masked_fill(~known | (position > lengths[:, None] // group_size - 1), -100)
        withheld = torch.rand(len(lengths), device=lengths.device) < (WITHHELD_PHONEMES if self.training else 0.0)
        return PhonemeStream(spoken, spoken[:, :-1].masked_fill(withheld[:, None], NO_PHONEME), targets)

"""Decode the parts of texts: the AR model's candidates, the selection among them, the NAR model, the codec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from valle.codec import Codec
from valle.codec.merging import first_codes, repeat_codes
from valle.errors import UserError
from valle.extensions.attention_constraint import AttentionConstraint
from valle.extensions.guidance import Guidance
from valle.extensions.language_ids import LanguageIdAR
from valle.extensions.phoneme_path import rounded_frames, scaled_durations
from valle.extensions.phoneme_stream import PhonemeStreamAR
from valle.generation.engine import Engine
from valle.generation.guide import MakeGuide
from valle.generation.request import GenerationOutput, GenerationRequest
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.synthesis.acoustic import AcousticInput, acoustic_input, fill_in_codebooks
from valle.synthesis.lengths import max_frames, min_frames
from valle.synthesis.options import SynthesisOptions
from valle.synthesis.parts import PartJob
from valle.synthesis.prompt import Prompt
from valle.synthesis.selection import CandidateSelector, FirstCandidate, Selected, SelectionTask, generate_and_select
from valle.synthesis.speech import warn_of_shortfall
from valle.synthesis.streaming import LOOKAHEAD, stream_codes
from valle.text import TextUnits


@dataclass(frozen=True)
class DecodedPart:
    """A part of a text that was synthesized.

    Attributes:
        selected: Its first codebook, and how well it matches the text.
        codes: (time, codebook).
        samples: (time,) float32, without watermark.
    """

    selected: Selected
    codes: Tensor
    samples: np.ndarray


def make_guide(options: SynthesisOptions) -> MakeGuide | None:
    """Return what makes the guide of a batch of the AR model; None: the model's own, if any."""
    if options.guidance != 1:
        return partial(_guidance, options=options)
    return AttentionConstraint if options.attention_constraint else None


def _guidance(model: AR, slots: int, options: SynthesisOptions) -> Guidance:
    constraint = AttentionConstraint(model, slots) if options.attention_constraint else None
    return Guidance(model, slots, scale=options.guidance, constraint=constraint)


@dataclass(frozen=True)
class PartDecoder:
    """The models and the codec, at work on parts of texts.

    Attributes:
        ar: Autoregressive model.
        nar: Non-autoregressive model.
        nar_prompt_frames: Longest acoustic prompt that the NAR model was trained with.
        codec: Codec whose codes the models predict.
        units: Tells how long a text is.
        selector: Selects among candidates of the first codebook.
        engine: Decodes the first codebook.
    """

    ar: AR
    nar: NAR
    nar_prompt_frames: int
    codec: Codec
    units: TextUnits
    selector: CandidateSelector
    engine: Engine

    @torch.inference_mode()
    def decode(self, jobs: Sequence[PartJob], options: SynthesisOptions, attempts: int) -> list[list[DecodedPart]]:
        """Decode parts together.

        Args:
            jobs: The parts.
            options: How they are synthesized.
            attempts: Candidates of the first codebook for each result.

        Returns:
            `options.candidates` results of each job.
        """
        given = [[Selected(job.first, truncated=False)] * options.candidates for job in jobs if job.first is not None]
        results = given or self._predict_first(jobs, options, attempts)
        inputs = []
        seeds = []
        for job, row in zip(jobs, results, strict=True):
            for candidate, selected in enumerate(row):
                inputs.append(self._acoustic_input(job, job.prompt, selected.codes, options))
                seeds.append(job.seed + candidate)
        with self.engine.exclusive():
            codes = fill_in_codebooks(self.nar, inputs, seeds, options.nar_sampling, guidance=options.nar_guidance)
            samples = self.codec.decode_batch(codes)
        decoded = iter(zip(codes, samples, strict=True))
        return [[DecodedPart(selected, *next(decoded)) for selected in row] for row in results]

    def _predict_first(self, jobs: Sequence[PartJob], options: SynthesisOptions, attempts: int) -> list[list[Selected]]:
        """Predict the first codebook with the AR model, see `decode`."""

        def run(requests: list[GenerationRequest]) -> list[list[GenerationOutput]]:
            outputs = self.engine.generate(requests, options.sampling, options.max_batch_tokens, make_guide(options))
            return [[self._frames(output) for output in candidates] for candidates in outputs]

        tasks = [SelectionTask(self._request(job, options), job.symbols, job.continued_codes, job.seed) for job in jobs]
        # A selection would change given durations.
        selector = FirstCandidate() if any(job.durations is not None for job in jobs) else self.selector
        results = generate_and_select(tasks, run, selector, candidates=options.candidates, attempts=attempts)
        if options.speed == 1 or not isinstance(self.ar, PhonemeStreamAR):
            return results
        return self._at_speed(jobs, results, run, options)

    def _at_speed(
        self,
        jobs: Sequence[PartJob],
        results: list[list[Selected]],
        run: Callable[[list[GenerationRequest]], list[list[GenerationOutput]]],
        options: SynthesisOptions,
    ) -> list[list[Selected]]:
        """Decode all results again, with their durations divided by the speed."""
        ar = self.ar
        assert isinstance(ar, PhonemeStreamAR)
        group_size = ar.group_size * self.codec.merge
        requests = []
        for job, row in zip(jobs, results, strict=True):
            for number, selected in enumerate(row):
                assert selected.spoken is not None
                durations = scaled_durations(selected.spoken, job.target, ar.roles, 1 / options.speed, group_size)
                request = self._request(replace(job, durations=durations), options)
                requests.append(replace(request, seeds=[job.seed + number]))
        outputs = iter(run(requests))
        again = []
        for row in results:
            decoded = [next(outputs)[0] for _ in row]
            again.append([Selected(output.codes, output.truncated, spoken=output.spoken) for output in decoded])
        return again

    @torch.inference_mode()
    def stream(
        self, text: str, job: PartJob, options: SynthesisOptions, chunk_seconds: float
    ) -> Iterator[tuple[Tensor, bool]]:
        """Decode one part, chunk by chunk, from one candidate.

        Args:
            text: The whole text, for warnings.
            job: The part.
            options: How it is synthesized.
            chunk_seconds: Length of a chunk.

        Yields:
            New codes (time, codebook), and whether they are the last.
        """
        rate = self.codec.frame_rate

        def fill_in(done: Tensor, first: Tensor) -> Tensor:
            voice = replace(job.prompt, codes=torch.cat((job.prompt.codes, done)))
            item = self._acoustic_input(job, voice, first, options)
            guidance = options.nar_guidance
            with self.engine.exclusive():
                (codes,) = fill_in_codebooks(
                    self.nar, [item], [job.seed], options.nar_sampling, guidance=guidance, skip=len(done)
                )
            return codes

        def outputs() -> Iterator[GenerationOutput]:
            request = replace(self._request(job, options), seeds=[job.seed])
            chunk = max(1, round(chunk_seconds * rate / self.codec.merge))
            for merged in self.engine.stream(request, options.sampling, chunk, make_guide(options)):
                output = self._frames(merged)
                if output.ended:
                    warn_of_shortfall(text, Selected(output.codes, output.truncated), rate)
                yield output

        yield from stream_codes(outputs(), fill_in, empty=job.prompt.codes[:0], lookahead=round(LOOKAHEAD * rate))

    def _frames(self, output: GenerationOutput) -> GenerationOutput:
        """Repeat the codes of an output, where frames are merged, for each frame."""
        merge = self.codec.merge
        spoken = None if output.spoken is None else repeat_codes(output.spoken, merge)
        return replace(output, codes=repeat_codes(output.codes, merge), spoken=spoken)

    def _request(self, job: PartJob, options: SynthesisOptions) -> GenerationRequest:
        """What the engine decodes for a job; its seeds are still to be given."""
        if not options.ar_prompt and job.prompt.mode == "continuation":
            raise UserError("without the AR model's prompt (ar_prompt) no speech can be continued; give another prompt")
        merge = self.codec.merge
        prefix = self._prefix(job.prompt) if options.ar_prompt else job.prompt.codes[:0, 0]
        text = job.joint if options.ar_prompt else job.target
        lower, upper = self._length_bounds(job, len(prefix) * merge)
        # Where durations are given, their ends are rounded to groups of merged frames.
        durations = None if job.durations is None else [frames / merge for frames in job.durations]
        condition = prompt_condition = None
        if isinstance(self.ar, LanguageIdAR):
            prompt_language = job.prompt.language or job.language
            untranscribed = job.prompt.mode == "untranscribed"
            prompt_condition, condition = self.ar.conditions(
                len(prefix), prompt_language, job.language, untranscribed=untranscribed
            )
        return GenerationRequest(
            phonemes=text,
            prompt=prefix,
            max_frames=max(1, upper // merge),
            seeds=[],
            min_frames=max(1, lower // merge),
            text_start=len(text) - len(job.target),
            durations=durations,
            prompt_condition=prompt_condition,
            condition=condition,
        )

    def _prefix(self, prompt: Prompt) -> Tensor:
        """Return the AR model's prefix (frames,): the prompt's first codebook.

        The oldest frames are cut so that the group size divides the length. EOS tokens after an untranscribed prompt
        tell the model that the text is the target's alone.
        """
        first = first_codes(prompt.codes[:, 0], self.codec.merge)
        first = first[len(first) % self.ar.group_size :]
        return self.ar.untranscribed_prefix(first[None])[0] if prompt.mode == "untranscribed" else first

    def _length_bounds(self, job: PartJob, prefix_frames: int) -> tuple[int, int]:
        """Return the fewest and the most new frames: a fast and a slow speaker's, within the models' positions."""
        if job.durations is not None:
            frames = rounded_frames(job.durations, self.ar.group_size * self.codec.merge)
            return frames, frames
        rate = self.codec.frame_rate
        ar_limit = self.ar.max_frames
        limits = (None if ar_limit is None else ar_limit * self.codec.merge, self.nar.max_frames)
        room = [limit - prefix_frames for limit in limits if limit is not None]
        if min(room, default=1) < 1:
            raise UserError("the prompt is longer than the model has positions for; give about 3 seconds")
        upper = min([max_frames(self.units.length(job.symbols), rate), *room])
        # The words of a continuation prompt are part of the text, and are not spoken again.
        lower = min_frames(self.units.phones(job.symbols), rate) - len(job.continued_codes)
        return min(max(1, lower), upper), upper

    def _acoustic_input(self, job: PartJob, prompt: Prompt, first: Tensor, options: SynthesisOptions) -> AcousticInput:
        seconds = options.nar_sampling.prompt_seconds
        frames = self.nar_prompt_frames if seconds is None else max(1, round(seconds * self.codec.frame_rate))
        if options.nar_sampling.prompt_prefix:
            if self.nar.layout != "valle2" or type(self.nar) is not NAR:
                raise UserError("the prompt is a prefix of the codes (prompt_prefix) in NAR models of VALL-E 2 only")
            frames = len(prompt.codes)
        item = acoustic_input(prompt, joint=job.joint, target=job.target, first=first, max_prompt=frames)
        limit = self.nar.max_frames
        # Without given codes the AR model predicts no more frames than the NAR model has positions for.
        if job.first is not None and limit is not None and len(item.prompt) + len(first) > limit:
            raise UserError(f"the given first codes and the prompt have more frames than the NAR model ({limit})")
        return item

"""Select among several candidates of the AR model.

The papers select by metrics of the waveform (VALL-E 2, section 4.1.3; `valle-eval --select`). Where the first codes
of a codec stand for phones, candidates are compared before anything is decoded to a waveform.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from valle.extensions.phone_alignment import (
    Quality,
    frames_with_short_pauses,
    join_candidates,
    measure_quality,
    phones_of,
)
from valle.generation.request import GenerationOutput, GenerationRequest

RETRIES = 2  # times that more candidates are sampled while the best one is incomplete or truncated
# Distance between the seeds of the candidates of one result. Generators use 32 bits of a seed.
ATTEMPT_SEED = 1_000_003


@dataclass(frozen=True)
class SampledSequence:
    """What the AR model was conditioned on, and what it sampled.

    Attributes:
        phonemes: (time,) text ids, of a transcribed prompt too.
        prefix: (time,) first codebook of the prompt; EOS tokens follow that of an untranscribed one.
        codes: (time,) sampled codes, without EOS.
    """

    phonemes: Tensor
    prefix: Tensor
    codes: Tensor


@dataclass(frozen=True)
class Selected:
    """The first codebook of one utterance.

    Attributes:
        codes: (time,) first codebook.
        truncated: Whether the length bound was reached before EOS.
        quality: Alignment with the text; None where codes do not stand for phones.
        spoken: (time,) see `GenerationOutput`.
        sampled: The one candidate; None where there were several.
    """

    codes: Tensor
    truncated: bool
    quality: Quality | None = None
    spoken: Tensor | None = None
    sampled: SampledSequence | None = None

    @property
    def failed(self) -> bool:
        """Whether more candidates should be sampled."""
        return self.truncated or (self.quality is not None and self.quality.verdict != "complete")


class CandidateSelector(Protocol):
    """Makes one utterance of several candidates."""

    def select(self, candidates: Sequence[GenerationOutput], symbols: Sequence[str], prefix: Tensor) -> Selected:
        """Select the best candidate, or combine the best parts of several.

        Args:
            candidates: Outputs of the AR model for one text, each from another seed.
            symbols: Text units of the target.
            prefix: (time,) first codes of a continuation prompt, whose words the target begins with; else empty.
        """


class FirstCandidate:
    """Selects the first candidate: codes alone do not tell which one is better."""

    def select(self, candidates: Sequence[GenerationOutput], symbols: Sequence[str], prefix: Tensor) -> Selected:
        """Return the first candidate."""
        return Selected(candidates[0].codes, candidates[0].truncated, spoken=candidates[0].spoken)


@dataclass(frozen=True)
class PhoneAlignmentSelector:
    """Joins the parts of the candidates that encode the text best, and shortens long pauses.

    For codecs whose first codes stand for phones, and phonemes as text units. Not in the papers; docs/experiments.md
    describes its effect.

    Attributes:
        phones: (codebook_size,) class of the phone that each first code stands for.
        frame_rate: Hertz.
    """

    phones: Tensor
    frame_rate: float

    def select(self, candidates: Sequence[GenerationOutput], symbols: Sequence[str], prefix: Tensor) -> Selected:
        """Join the best parts of the candidates where they pause at the same place of the text."""
        text = phones_of(list(symbols))
        codes = [torch.cat((prefix, candidate.codes)) for candidate in candidates]
        pieces = join_candidates([self._phones(row) for row in codes], text, self.frame_rate, len(prefix))
        joined = torch.cat([codes[index][start:end] for index, start, end in pieces])[len(prefix) :]
        spoken = _join_spoken(candidates, pieces, len(prefix))
        if len(joined):
            frames = frames_with_short_pauses(self._phones(joined), self.frame_rate)
            joined = joined[frames]
            spoken = None if spoken is None else spoken[frames]
        description = measure_quality(self._phones(torch.cat((prefix, joined))), text, self.frame_rate)
        last = pieces[-1][0]
        return Selected(joined, candidates[last].truncated, description, spoken)

    def _phones(self, codes: Tensor) -> np.ndarray:
        return self.phones[codes].numpy()


def _join_spoken(
    candidates: Sequence[GenerationOutput], pieces: Sequence[tuple[int, int, int]], prefix: int
) -> Tensor | None:
    """Return the symbols spoken in the frames of joined pieces, (candidate, start, end) after a prefix."""
    joined = []
    for index, start, end in pieces:
        spoken = candidates[index].spoken
        if spoken is None:
            return None
        joined.append(spoken[max(0, start - prefix) : max(0, end - prefix)])
    return torch.cat(joined)


@dataclass(frozen=True)
class SelectionTask:
    """A text whose first codebook is to be generated and selected.

    Attributes:
        request: What the AR model decodes; its seeds are set here.
        symbols: Text units of the target.
        prefix: (time,) first codes of a continuation prompt; empty for other prompts.
        seed: Of the first candidate.
    """

    request: GenerationRequest
    symbols: Sequence[str]
    prefix: Tensor
    seed: int


def generate_and_select(
    tasks: Sequence[SelectionTask],
    generate: Callable[[list[GenerationRequest]], list[list[GenerationOutput]]],
    selector: CandidateSelector,
    *,
    candidates: int,
    attempts: int,
) -> list[list[Selected]]:
    """Generate candidates of the first codebook and select one for each result.

    Results that are truncated or incomplete get `attempts` candidates more, up to `RETRIES` times; with one attempt,
    nothing is sampled again.

    Args:
        tasks: Texts, decoded together.
        generate: The engine: outputs of each request, one for each of its seeds.
        selector: Selects among the candidates of a result.
        candidates: Results for each text.
        attempts: Candidates for each result.

    Returns:
        The results of each task.
    """
    pools: list[list[list[GenerationOutput]]] = [[[] for _ in range(candidates)] for _ in tasks]
    results: list[list[Selected]] = [[Selected(task.prefix[:0], False)] * candidates for task in tasks]
    pending = {number: list(range(candidates)) for number in range(len(tasks))}
    for retry in range(1 + RETRIES if attempts > 1 else 1):
        tries = range(retry * attempts, (retry + 1) * attempts)
        requests = []
        for number, failed in pending.items():
            seeds = [tasks[number].seed + index + ATTEMPT_SEED * attempt for index in failed for attempt in tries]
            requests.append(replace(tasks[number].request, seeds=seeds))
        outputs = generate(requests)
        for (number, failed), generated in zip(pending.items(), outputs, strict=True):
            task = tasks[number]
            for position, index in enumerate(failed):
                pool = pools[number][index]
                pool += generated[position * attempts : (position + 1) * attempts]
                selected = selector.select(pool, task.symbols, task.prefix)
                if len(pool) == 1:
                    sampled = SampledSequence(task.request.phonemes, task.request.prompt, pool[0].codes)
                    selected = replace(selected, sampled=sampled)
                results[number][index] = selected
        pending = {}
        for number, row in enumerate(results):
            failed = [index for index, selected in enumerate(row) if selected.failed]
            if failed:
                pending[number] = failed
        if not pending:
            break
    return results

"""The decoding engine of the AR model: continuous batching.

Requests are prefilled one by one, then decoded together, one group of codes per step. A row that has ended leaves its
slot to a waiting request. The codes of a row depend on its text, prompt and seed only, not on what is decoded with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from valle.generation.batch import DecodeBatch
from valle.generation.guide import MakeGuide
from valle.generation.request import GenerationOutput, GenerationRequest
from valle.models.ar import AR
from valle.models.sampling import Sampling

CHECK_EVERY = 16  # steps on a GPU between two checks for ended rows, since each check waits for the device


@torch.inference_mode()
def generate(
    model: AR,
    requests: list[GenerationRequest],
    sampling: Sampling,
    max_batch_tokens: int | None = None,
    make_guide: MakeGuide | None = None,
) -> list[list[GenerationOutput]]:
    """Decode requests.

    Args:
        model: The AR model.
        requests: What to decode.
        sampling: How codes are sampled.
        max_batch_tokens: Upper bound on slots times their positions in the cache, and so on memory; the candidates of
            one request are decoded together in any case. None: all requests at once.
        make_guide: See `DecodeBatch`.

    Returns:
        The candidates of each request, one for each of its seeds.
    """
    max_steps = max(request.max_steps(model.group_size) for request in requests)
    max_length = max(request.max_length(model) for request in requests)
    slots = sum(len(request.seeds) for request in requests)
    if max_batch_tokens is not None:
        most_candidates = max(len(request.seeds) for request in requests)
        slots = min(slots, max(max_batch_tokens // max_length, most_candidates, 1))
    check_every = 1 if model.code_embedding.weight.device.type == "cpu" else CHECK_EVERY
    # A row that has ended is decoded until the next check.
    batch = DecodeBatch(model, slots, max_length + check_every, max_steps, sampling, make_guide)
    waiting = deque(enumerate(requests))
    outputs: list[dict[int, GenerationOutput]] = [{} for _ in requests]
    steps = 0
    while waiting or batch.num_active:
        while waiting and batch.num_free >= len(waiting[0][1].seeds):
            batch.add(*waiting.popleft())
        if not waiting and batch.num_free > len(batch.rows) // 4:
            batch.compact()
        batch.step()
        steps += 1
        if steps % check_every == 0 or all(row is None or row.steps >= row.max_steps for row in batch.rows):
            for row, output in batch.pop_finished():
                outputs[row.request][row.candidate] = output
    return [[candidates[index] for index in sorted(candidates)] for candidates in outputs]


@torch.inference_mode()
def stream(
    model: AR, request: GenerationRequest, sampling: Sampling, every: int, make_guide: MakeGuide | None = None
) -> Iterator[GenerationOutput]:
    """Decode the first candidate of a request, and yield its codes so far.

    Args:
        model: The AR model.
        request: What to decode.
        sampling: How codes are sampled.
        every: Frames between two outputs.
        make_guide: See `DecodeBatch`.

    Yields:
        All codes so far; the last output has `ended`.
    """
    max_steps = request.max_steps(model.group_size)
    batch = DecodeBatch(model, 1, request.max_length(model), max_steps, sampling, make_guide)
    batch.add(0, replace(request, seeds=request.seeds[:1]))
    groups = max(1, every // model.group_size)
    for step in range(1, max_steps + 1):
        batch.step()
        if step % groups == 0 or step == max_steps:
            finished = batch.pop_finished()
            if finished:
                yield finished[0][1]
                return
            yield GenerationOutput(batch.codes[0, :step].flatten().cpu().clone(), truncated=False, ended=False)


class Engine(Protocol):
    """Decodes requests of the AR model."""

    def generate(
        self,
        requests: list[GenerationRequest],
        sampling: Sampling,
        max_batch_tokens: int | None = None,
        make_guide: MakeGuide | None = None,
    ) -> list[list[GenerationOutput]]:
        """Decode requests, see `generate`."""
        ...

    def stream(
        self, request: GenerationRequest, sampling: Sampling, every: int, make_guide: MakeGuide | None = None
    ) -> Iterator[GenerationOutput]:
        """Decode the first candidate of a request, see `stream`."""
        ...

    def exclusive(self) -> AbstractContextManager[object]:
        """Return a context in which no other thread computes with the NAR model and the codec."""
        ...


@dataclass(frozen=True)
class LocalEngine:
    """Decodes the requests of one thread.

    Attributes:
        model: The AR model.
    """

    model: AR

    def generate(
        self,
        requests: list[GenerationRequest],
        sampling: Sampling,
        max_batch_tokens: int | None = None,
        make_guide: MakeGuide | None = None,
    ) -> list[list[GenerationOutput]]:
        """Decode requests, see `generate`."""
        return generate(self.model, requests, sampling, max_batch_tokens, make_guide)

    def stream(
        self, request: GenerationRequest, sampling: Sampling, every: int, make_guide: MakeGuide | None = None
    ) -> Iterator[GenerationOutput]:
        """Decode the first candidate of a request, see `stream`."""
        return stream(self.model, request, sampling, every, make_guide)

    def exclusive(self) -> AbstractContextManager[object]:
        """Return a context without effect: one thread computes."""
        return nullcontext()

"""One continuous batch over the requests of many threads."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

import torch

from valle.generation.batch import DecodeBatch
from valle.generation.engine import LocalEngine
from valle.generation.guide import MakeGuide
from valle.generation.request import GenerationOutput, GenerationRequest
from valle.models.ar import AR
from valle.models.sampling import Sampling


class CancelledError(Exception):
    """A request was cancelled, or the engine was closed."""


@dataclass
class _Job:
    """A request that waits or is decoded.

    Attributes:
        request: The request.
        every: Steps between two outputs of its only candidate; None: outputs at the end of each candidate.
        cancelled: Says that nobody waits for the outputs any more.
        outputs: Candidate and output, or the exception that ended it.
    """

    request: GenerationRequest
    every: int | None
    cancelled: threading.Event
    outputs: queue.SimpleQueue[tuple[int, GenerationOutput] | Exception] = field(default_factory=queue.SimpleQueue)
    steps: int = 0


class ContinuousEngine:
    """An `Engine` whose requests, from any thread, are decoded in one batch by a thread of its own.

    A request begins as soon as there are slots for its candidates, whatever else is being decoded, and has the same
    codes as alone. Requests with a guide, and those that are longer than a slot, are decoded by themselves.

    Args:
        model: The AR model.
        max_rows: Upper bound on the rows that are decoded together.
        max_length: Positions in the cache of each slot.
        max_steps: Upper bound on the steps of a row.
        ras_window: K of repetition aware sampling, for all requests.
    """

    def __init__(
        self, model: AR, max_rows: int = 16, max_length: int = 1024, max_steps: int = 1024, ras_window: int = 10
    ) -> None:
        self.model = model
        self.max_rows = max_rows
        self.max_length = max_length
        self.max_steps = max_steps
        self._default = Sampling(ras_window=ras_window)
        self._local = LocalEngine(model)
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._model_lock = threading.Lock()
        self._compute_lock = threading.RLock()
        self._thread_state = threading.local()
        self.num_active = 0
        self._thread = threading.Thread(target=self._run, name="valle-engine", daemon=True)
        self._thread.start()

    @property
    def num_waiting(self) -> int:
        """Requests that wait for slots."""
        return len(self._waiting)

    @contextmanager
    def cancellable(self, cancelled: threading.Event) -> Iterator[None]:
        """Let requests of this thread, inside of the block, end with `CancelledError` soon after an event is set."""
        self._thread_state.cancelled = cancelled
        try:
            yield
        finally:
            del self._thread_state.cancelled

    def exclusive(self) -> AbstractContextManager[object]:
        """Return a context in which no other thread computes with the NAR model and the codec."""
        return self._compute_lock

    def generate(
        self,
        requests: list[GenerationRequest],
        sampling: Sampling,
        max_batch_tokens: int | None = None,
        make_guide: MakeGuide | None = None,
    ) -> list[list[GenerationOutput]]:
        """Decode requests, see `valle.generation.engine.generate`."""
        if not all(self._fits(request, sampling, make_guide) for request in requests):
            with self._model_lock:
                return self._local.generate(requests, sampling, max_batch_tokens, make_guide)
        jobs = [self._submit(replace(request, sampling=sampling), None) for request in requests]
        results = []
        try:
            for job in jobs:
                candidates: dict[int, GenerationOutput] = {}
                while len(candidates) < len(job.request.seeds):
                    number, output = self._next_output(job)
                    candidates[number] = output
                results.append([candidates[number] for number in sorted(candidates)])
        except BaseException:
            for job in jobs:
                self._abandon(job)
            raise
        return results

    def stream(
        self, request: GenerationRequest, sampling: Sampling, every: int, make_guide: MakeGuide | None = None
    ) -> Iterator[GenerationOutput]:
        """Decode the first candidate of a request, see `valle.generation.engine.stream`."""
        if not self._fits(request, sampling, make_guide):
            yield from self._stream_alone(request, sampling, every, make_guide)
            return
        request = replace(request, seeds=request.seeds[:1], sampling=sampling)
        job = self._submit(request, max(1, every // self.model.group_size))
        try:
            while True:
                _, output = self._next_output(job)
                yield output
                if output.ended:
                    return
        finally:
            self._abandon(job)

    def _stream_alone(
        self, request: GenerationRequest, sampling: Sampling, every: int, make_guide: MakeGuide | None
    ) -> Iterator[GenerationOutput]:
        """Decode a request that does not fit into the batch, and let the batch go on while its outputs are read."""
        cancelled = self._cancelled()
        outputs = self._local.stream(request, sampling, every, make_guide)
        while True:
            if cancelled.is_set() or self._closed:
                raise CancelledError("the request was cancelled, or the engine was closed")
            with self._model_lock:
                output = next(outputs)
            yield output
            if output.ended:
                return

    def close(self) -> None:
        """Cancel all requests and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _fits(self, request: GenerationRequest, sampling: Sampling, make_guide: MakeGuide | None) -> bool:
        own_guide = self.model.make_guide(1, sampling) is not None
        short = request.max_length(self.model) < self.max_length and (
            request.max_steps(self.model.group_size) <= self.max_steps
        )
        return (
            make_guide is None
            and not own_guide
            and short
            and len(request.seeds) <= self.max_rows
            and sampling.ras_window <= self._default.ras_window
        )

    def _submit(self, request: GenerationRequest, every: int | None) -> _Job:
        job = _Job(request, every, self._cancelled())
        with self._changed:
            if self._closed:
                raise CancelledError("the engine is closed")
            self._waiting.append(job)
            self._changed.notify()
        return job

    def _cancelled(self) -> threading.Event:
        """Return the event that ends the requests of this thread."""
        event: threading.Event = getattr(self._thread_state, "cancelled", None) or threading.Event()
        return event

    def _next_output(self, job: _Job) -> tuple[int, GenerationOutput]:
        output = job.outputs.get()
        if isinstance(output, Exception):
            raise output
        return output

    def _abandon(self, job: _Job) -> None:
        """Let a job's slots be freed, where it is still being decoded."""
        # An event of its own: that of the thread may belong to other requests.
        job.cancelled = threading.Event()
        job.cancelled.set()
        with self._changed:
            self._changed.notify()

    @torch.inference_mode()
    def _run(self) -> None:
        jobs: dict[int, _Job] = {}
        batch: DecodeBatch | None = None
        count = 0
        while True:
            with self._changed:
                while not (self._waiting or jobs or self._closed):
                    self._changed.wait()
                if self._closed:
                    break
            try:
                with self._model_lock:
                    batch, count = self._admit(batch, jobs, count)
                    if batch is not None and batch.num_active:
                        batch.step()
                        self._deliver(batch, jobs)
                        if not batch.num_active:
                            batch = None
                        elif batch.num_free:
                            batch.compact()
                self.num_active = batch.num_active if batch else 0
            except Exception as error:
                # All rows share one batch: none of them can go on.
                for job in jobs.values():
                    job.outputs.put(error)
                jobs.clear()
                batch = None
                self.num_active = 0
        for job in [*jobs.values(), *self._waiting]:
            job.outputs.put(CancelledError("the engine was closed"))

    def _admit(self, batch: DecodeBatch | None, jobs: dict[int, _Job], count: int) -> tuple[DecodeBatch | None, int]:
        """Remove cancelled requests, and begin waiting ones while there is room."""
        for number, job in list(jobs.items()):
            if job.cancelled.is_set():
                if batch is not None:
                    batch.remove(number)
                del jobs[number]
                job.outputs.put(CancelledError("the request was cancelled"))
        if batch is not None and batch.num_free:
            if batch.num_active:
                batch.compact()
            else:
                batch = None
        while True:
            with self._changed:
                while self._waiting and self._waiting[0].cancelled.is_set():
                    self._waiting.popleft().outputs.put(CancelledError("the request was cancelled"))
                if not self._waiting:
                    return batch, count
                active = batch.num_active if batch is not None else 0
                seeds = len(self._waiting[0].request.seeds)
                if active + seeds > self.max_rows:
                    return batch, count
                job = self._waiting.popleft()
            jobs[count] = job
            if batch is None:
                batch = DecodeBatch(self.model, seeds, self.max_length, self.max_steps, self._default)
            else:
                batch.resize(active + seeds)
            batch.add(count, job.request)
            count += 1

    def _deliver(self, batch: DecodeBatch, jobs: dict[int, _Job]) -> None:
        """Hand out the codes of rows that have ended, and those of streams so far."""
        finished = batch.pop_finished()
        for row, output in finished:
            job = jobs.get(row.request)
            if job is not None:
                job.outputs.put((row.candidate, output))
        active = {row.request for row in batch.rows if row is not None}
        for number in [number for number in jobs if number not in active]:
            del jobs[number]
        due = False
        for number in active:
            job = jobs[number]
            job.steps += 1
            due = due or (job.every is not None and job.steps % job.every == 0)
        if not due:
            return
        codes = batch.codes_so_far()
        for number in active:
            job = jobs[number]
            if job.every is not None and job.steps % job.every == 0:
                job.outputs.put((0, GenerationOutput(codes[number, 0], truncated=False, ended=False)))

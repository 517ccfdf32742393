"""The decoding engine: texts are prefilled, then decoded together by key/value-cached steps of a group of frames each.

A row that has ended gives its place to a text that waits (continuous batching), and what a row says depends on nothing
but itself: texts, prompt, seed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from valle.models.ar import AR
from valle.models.sampling import Sampling, sample
from valle.models.transformer import KVCache, length_mask

CHECK_EVERY = 16  # steps on a GPU between two looks at which rows have ended: each look waits for the device


@dataclass
class GenerationOutput:
    """What the AR model said.

    codes:     (time,) first codebook, without the end mark
    truncated: the length bound was reached before the end mark
    ended:     nothing will follow; False for what `stream` gives in between
    """

    codes: Tensor
    truncated: bool
    ended: bool = True


@dataclass
class Request:
    """A text to be said.

    phonemes:   (time,) ids of the prompt's text and the target's
    prompt:     (frames,) first-codebook codes; frames divide by the model's group size
    max_frames: bound on new frames; T frames take at most ceil(T / G) steps
    seeds:      one a draw; a draw says the same whatever else is decoded
    min_frames: EOS is not sampled before so many new frames, rounded up to whole groups; one group at least
    """

    phonemes: Tensor
    prompt: Tensor
    max_frames: int
    seeds: list[int]
    min_frames: int = 1

    def steps(self, group_size: int) -> int:
        return -(-max(1, self.max_frames) // group_size)

    def tokens(self, model: AR) -> int:
        """Places in the cache that one draw may take."""
        return len(self.phonemes) + model.marks + len(self.prompt) // model.group_size + self.steps(model.group_size)


@dataclass
class _Row:
    """A draw being decoded: its request, which draw of it, its bounds, and the groups said."""

    request: int
    draw: int
    max_frames: int
    steps: int
    done: int = 0


class Decoding:
    """Rows that are decoded together.

    `admit` prefills a request and gives its draws a place each; `step` lets every row say a group of codes; `ended`
    takes out the rows that are through. Everything that a step reads and writes was allocated before.
    """

    def __init__(self, model: AR, places: int, tokens: int, steps: int, sampling: Sampling) -> None:
        self.model, self.sampling = model, sampling
        weight = model.code_embedding.weight
        device, size = weight.device, model.group_size
        dtype = getattr(model.transformer, "cache_dtype", weight.dtype)
        self.cache = KVCache(model.config, places, tokens, like=weight.new_empty(0, dtype=dtype))
        self.rows: list[_Row | None] = [None] * places
        self.places = torch.arange(places, device=device)
        self.logits = torch.zeros(places, size, model.codebook_size + 1, device=device)
        self.position = torch.zeros(places, dtype=torch.long, device=device)
        self.history = torch.full((places, sampling.ras_window), -1, device=device)
        self.noise = torch.zeros(places, steps, size, 2, device=device)
        self.said = torch.full((places, steps, size), model.end, device=device)
        self.done = torch.zeros(places, dtype=torch.long, device=device)  # groups said
        self.min_groups = torch.ones(places, dtype=torch.long, device=device)

    @property
    def alive(self) -> int:
        """Rows being decoded."""
        return sum(row is not None for row in self.rows)

    @property
    def free(self) -> int:
        """Places without a row."""
        return len(self.rows) - self.alive

    def admit(self, number: int, request: Request) -> None:
        """Prefill a request, once for all its draws, and give each draw a free place."""
        model, size, device = self.model, self.model.group_size, self.logits.device
        places = [place for place, row in enumerate(self.rows) if row is None][: len(request.seeds)]
        phonemes, prompt = request.phonemes[None].to(device), request.prompt[None].to(device)
        lengths = [torch.tensor([x.shape[1]], device=device) for x in (phonemes, prompt)]
        before = phonemes.shape[1] + model.marks + prompt.shape[1] // size
        cache = KVCache(model.config, 1, before, like=model.code_embedding.weight)
        self.logits[places] = model.prefill(phonemes, lengths[0], prompt, lengths[1], cache).float()
        self.cache.copy_row(places, cache)
        self.position[places] = prompt.shape[1] // size
        window = self.sampling.ras_window
        self.history[places] = F.pad(prompt[0], (window, 0), value=-1)[-window:]
        steps = request.steps(size)
        for draw, (place, seed) in enumerate(zip(places, request.seeds, strict=True)):
            noise = torch.rand(steps, size, 2, generator=torch.Generator().manual_seed(seed))
            self.noise[place, :steps] = noise.to(device)
            self.rows[place] = _Row(number, draw, request.max_frames, steps)
        self.said[places] = model.end
        self.done[places] = 0
        self.min_groups[places] = max(1, -(-min(request.min_frames, request.max_frames) // size))

    def step(self) -> None:
        """Every row says a group of codes; rows that go on are told what comes next by the model."""
        model, places = self.model, self.places
        at = self.done.clamp(max=self.noise.shape[1] - 1)  # a place without a row stays where it was
        group = []
        for index in range(model.group_size):
            entries = self.logits[:, index].clone()
            if index == 0:
                entries[:, model.end].masked_fill_(self.done < self.min_groups, -torch.inf)
            else:  # the end mark fills whole groups
                entries[:, model.end] = -torch.inf
            code = sample(entries, self.history, self.noise[places, at, index], self.sampling)
            self.history = torch.cat((self.history[:, 1:], code[:, None]), dim=1)
            group.append(code)
        codes = torch.stack(group, dim=1)
        through = (self.done >= self.said.shape[1])[:, None]  # at its bound and not taken out yet
        self.said[places, at] = torch.where(through, self.said[places, at], codes)
        self.done += 1
        going = False
        for row in self.rows:
            if row is not None:
                row.done += 1
                going = going or row.done < row.steps
        if not going:
            return
        cache = self.cache
        mask = length_mask(cache.lengths + 1, cache.max_position + 1)[:, None, None] if cache.ragged else None
        self.logits = model.step(codes, self.position, cache, mask).float()
        self.position += 1

    def ended(self) -> list[tuple[_Row, GenerationOutput]]:
        """Take out the rows that have said the end mark or reached their bound. Waits for the device."""
        size = self.model.group_size
        longest = max((row.done for row in self.rows if row is not None), default=0)
        if longest == 0:
            return []
        marks = (self.said[:, :longest].flatten(1) == self.model.end).cpu()
        found = []
        for place, row in enumerate(self.rows):
            if row is not None and (row.done >= row.steps or bool(marks[place, : row.done * size].any())):
                said = self.said[place, : row.done].flatten()[: max(1, row.max_frames)].cpu().clone()
                ends = (said == self.model.end).nonzero()
                found.append((row, GenerationOutput(said[: int(ends[0])] if len(ends) else said, len(ends) == 0)))
                self.rows[place] = None
        if found:
            self.cache.reset_rows([place for place, row in enumerate(self.rows) if row is None])
        return found

    def shrink(self) -> None:
        """Drop the places without a row."""
        kept = [place for place, row in enumerate(self.rows) if row is not None]
        index = torch.tensor(kept, device=self.logits.device)
        self.cache.select_rows(index)
        self.rows = [self.rows[place] for place in kept]
        self.places = self.places[: len(kept)]
        for name in ("logits", "position", "history", "noise", "said", "done", "min_groups"):
            setattr(self, name, getattr(self, name)[index])


@torch.inference_mode()
def generate(
    model: AR, requests: list[Request], sampling: Sampling, max_batch_tokens: int | None = None
) -> list[list[GenerationOutput]]:
    """Say every request: for each of them, its draws.

    max_batch_tokens: bound on rows x places of the cache a row, and so on memory; the draws of one request are
        decoded together in any case. None: all at once
    """
    steps = max(r.steps(model.group_size) for r in requests)
    tokens = max(r.tokens(model) for r in requests)
    places = sum(len(r.seeds) for r in requests)
    if max_batch_tokens is not None:
        places = min(places, max(max_batch_tokens // tokens, *(len(r.seeds) for r in requests), 1))
    check_every = 1 if model.code_embedding.weight.device.type == "cpu" else CHECK_EVERY
    decoding = Decoding(model, places, tokens + check_every, steps, sampling)  # a row may go on until it is looked at
    waiting = deque(enumerate(requests))
    spoken: list[dict[int, GenerationOutput]] = [{} for _ in requests]
    since = 0
    while waiting or decoding.alive:
        while waiting and decoding.free >= len(waiting[0][1].seeds):
            decoding.admit(*waiting.popleft())
        if not waiting and decoding.free > len(decoding.rows) // 4:
            decoding.shrink()
        decoding.step()
        since += 1
        if since % check_every == 0 or all(row is None or row.done >= row.steps for row in decoding.rows):
            for row, said in decoding.ended():
                spoken[row.request][row.draw] = said
    return [[draws[draw] for draw in sorted(draws)] for draws in spoken]


@torch.inference_mode()
def stream(model: AR, request: Request, sampling: Sampling, every: int) -> Iterator[GenerationOutput]:
    """Say a request's first draw: after every `every` frames, and at the end, what was said so far."""
    steps = request.steps(model.group_size)
    decoding = Decoding(model, 1, request.tokens(model), steps, sampling)
    decoding.admit(0, replace(request, seeds=request.seeds[:1]))
    groups = max(1, every // model.group_size)
    for step in range(1, steps + 1):
        decoding.step()
        if step % groups == 0 or step == steps:
            ended = decoding.ended()
            if ended:
                yield ended[0][1]
                return
            yield GenerationOutput(decoding.said[0, :step].flatten().cpu().clone(), truncated=False, ended=False)

"""Rows of the AR model that are decoded together over a key/value cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from valle.generation.guide import MakeGuide, StepGuide
from valle.generation.request import GenerationOutput, GenerationRequest
from valle.models.ar import AR
from valle.models.kv_cache import KVCache
from valle.models.sampling import Sampling, sample
from valle.models.sequence import length_mask


@dataclass
class _Row:
    """A candidate that is being decoded.

    Attributes:
        request: Index of its request.
        candidate: Index among the candidates of the request.
        source: The request.
        max_steps: Upper bound on steps.
        steps: Steps taken.
    """

    request: int
    candidate: int
    source: GenerationRequest
    max_steps: int
    steps: int = 0


class DecodeBatch:
    """Rows that are decoded together, each in a slot.

    `add` prefills a request and gives each of its candidates a slot; `step` decodes one group for every row;
    `pop_finished` removes the rows that have ended. All that a step reads and writes is allocated here.

    Args:
        model: The AR model.
        slots: Number of slots.
        max_length: Positions in the cache of each slot.
        max_steps: Upper bound on the steps of a row.
        sampling: How codes are sampled.
        make_guide: Makes a guide that runs the steps in place of the model's backend; None: the model's own, if any.
    """

    def __init__(
        self,
        model: AR,
        slots: int,
        max_length: int,
        max_steps: int,
        sampling: Sampling,
        make_guide: MakeGuide | None = None,
    ) -> None:
        self.model = model
        self.sampling = sampling
        weight = model.code_embedding.weight
        device = weight.device
        group_size = model.group_size
        self.guide: StepGuide | None = make_guide(model, slots) if make_guide else model.make_guide(slots, sampling)
        dtype = model.cache_dtype if self.guide is None else self.guide.cache_dtype
        like = weight.new_empty(0, dtype=dtype)
        self.cache = KVCache(model.config, slots, max_length, like=like)
        self.rows: list[_Row | None] = [None] * slots
        self.slots = torch.arange(slots, device=device)
        self.logits = torch.zeros(slots, group_size, model.codebook_size + 1, device=device)
        self.condition = weight.new_zeros(slots, 1, weight.shape[1])  # added to the embeddings of groups
        self.position = torch.zeros(slots, dtype=torch.long, device=device)
        self.history = torch.full((slots, sampling.ras_window), -1, device=device)
        self.noise = torch.zeros(slots, max_steps, group_size, 2, device=device)
        self.codes = torch.full((slots, max_steps, group_size), model.eos, device=device)
        self.num_groups = torch.zeros(slots, dtype=torch.long, device=device)
        self.min_groups = torch.ones(slots, dtype=torch.long, device=device)

    @property
    def num_active(self) -> int:
        """Slots with a row."""
        return sum(row is not None for row in self.rows)

    @property
    def num_free(self) -> int:
        """Slots without a row."""
        return len(self.rows) - self.num_active

    def add(self, index: int, request: GenerationRequest) -> None:
        """Prefill a request once, and copy it to a free slot for each of its candidates.

        Args:
            index: Index of the request.
            request: The request; there are at least as many free slots as it has seeds.
        """
        model = self.model
        group_size = model.group_size
        device = self.logits.device
        slots = [slot for slot, row in enumerate(self.rows) if row is None][: len(request.seeds)]
        prompt_groups = len(request.prompt) // group_size
        prefix = len(request.phonemes) + model.num_marks + prompt_groups
        cache = KVCache(model.config, 1, prefix, like=model.code_embedding.weight)
        logits = request.prefill(model, cache) if self.guide is None else self.guide.prefill(slots, request, cache)
        self.logits[slots] = logits.float()
        self.cache.copy_row(slots, cache)
        self.position[slots] = prompt_groups
        self.condition[slots] = 0.0 if request.condition is None else request.condition
        window = self.sampling.ras_window
        self.history[slots] = F.pad(request.prompt, (window, 0), value=-1)[-window:].to(device)
        max_steps = request.max_steps(group_size)
        for candidate, (slot, seed) in enumerate(zip(slots, request.seeds, strict=True)):
            # All noise of a row is made at once on the CPU, so that it depends on the seed only.
            noise = torch.rand(max_steps, group_size, 2, generator=torch.Generator().manual_seed(seed))
            self.noise[slot, :max_steps] = noise.to(device)
            self.rows[slot] = _Row(index, candidate, request, max_steps)
        self.codes[slots] = model.eos
        self.num_groups[slots] = 0
        self.min_groups[slots] = max(1, -(-min(request.min_frames, request.max_frames) // group_size))

    def step(self) -> None:
        """Sample one code group for every active row, then run one decode step."""
        model = self.model
        # A slot without a row, or whose row has ended and was not removed yet, repeats its last index.
        index = self.num_groups.clamp(max=self.noise.shape[1] - 1)
        codes = self._sample_group(index)
        ended = (self.num_groups >= self.codes.shape[1])[:, None]
        self.codes[self.slots, index] = torch.where(ended, self.codes[self.slots, index], codes)
        self.num_groups += 1
        for row in self.rows:
            if row is not None:
                row.steps += 1
        if not any(row is not None and row.steps < row.max_steps for row in self.rows):
            return
        cache = self.cache
        mask = length_mask(cache.lengths + 1, cache.max_position + 1)[:, None, None] if cache.ragged else None
        self.logits = model.step(codes, self.position, cache, mask, self.guide, self.condition).float()
        self.position += 1

    def _sample_group(self, index: Tensor) -> Tensor:
        """Sample a group for every slot, (slots, G); `index` (slots,) tells which of their noise is used."""
        eos = self.model.eos
        group = []
        for position in range(self.model.group_size):
            logits = self.logits[:, position].clone()
            if position == 0:
                early = self.num_groups < self.min_groups
                if self.guide is not None:
                    early = early | ~self.guide.may_end()
                logits[:, eos].masked_fill_(early, -torch.inf)
                if self.guide is not None:
                    ends = self.guide.must_end() & ~early
                    logits[:, :eos].masked_fill_(ends[:, None], -torch.inf)
            else:
                # EOS fills a whole group, so only the first code of a group can be one.
                logits[:, eos] = -torch.inf
            code = self._sample(logits, self.noise[self.slots, index, position])
            self.history = torch.cat((self.history[:, 1:], code[:, None]), dim=1)
            group.append(code)
        return torch.stack(group, dim=1)

    def _sample(self, logits: Tensor, noise: Tensor) -> Tensor:
        """Sample a code for every slot, each as its request wants."""
        wanted = [
            self.sampling if row is None or row.source.sampling is None else row.source.sampling for row in self.rows
        ]
        if len(set(wanted)) == 1:
            return sample(logits, self.history, noise, wanted[0])
        codes = torch.zeros(len(wanted), dtype=torch.long, device=logits.device)
        for sampling in set(wanted):
            slots = [slot for slot, own in enumerate(wanted) if own == sampling]
            codes[slots] = sample(logits[slots], self.history[slots], noise[slots], sampling)
        return codes

    def pop_finished(self) -> list[tuple[_Row, GenerationOutput]]:
        """Remove the rows that have sampled EOS or reached their bound, and return their codes.

        Waits for the device.
        """
        eos = self.model.eos
        group_size = self.model.group_size
        longest = max((row.steps for row in self.rows if row is not None), default=0)
        if longest == 0:
            return []
        is_eos = (self.codes[:, :longest].flatten(1) == eos).cpu()
        finished = []
        for slot, row in enumerate(self.rows):
            if row is None:
                continue
            if row.steps < row.max_steps and not bool(is_eos[slot, : row.steps * group_size].any()):
                continue
            codes = self.codes[slot, : row.steps].flatten()[: max(1, row.source.max_frames)].cpu().clone()
            ends = (codes == eos).nonzero()
            if len(ends):
                codes = codes[: int(ends[0])]
            # With given durations the last frame is the end.
            truncated = len(ends) == 0 and row.source.durations is None
            finished.append((row, GenerationOutput(codes, truncated, spoken=self._spoken(slot, row, len(codes)))))
            self.rows[slot] = None
        if finished:
            self.cache.reset_rows([slot for slot, row in enumerate(self.rows) if row is None])
        return finished

    def _spoken(self, slot: int, row: _Row, frames: int) -> Tensor | None:
        """Return which symbol of the target each frame of a row spoke, where the guide follows the text."""
        if self.guide is None:
            return None
        group_size = self.model.group_size
        spoken = self.guide.spoken(slot, -(-frames // group_size), row.source.text_start)
        return None if spoken is None else spoken.repeat_interleave(group_size)[:frames]

    def compact(self) -> None:
        """Drop the slots without a row, so that steps do not compute them."""
        self.resize(self.num_active)

    def resize(self, slots: int) -> None:
        """Change the number of slots.

        Args:
            slots: At least the number of rows, and at least 1 where there is none.
        """
        active = [slot for slot, row in enumerate(self.rows) if row is not None]
        free = slots - len(active)
        # What a free slot holds does not matter.
        index = torch.tensor(active + [0] * free, device=self.logits.device)
        self.cache.select_rows(index)
        if self.guide is not None:
            self.guide.select_rows(index)
        self.rows = [self.rows[slot] for slot in active] + [None] * free
        self.slots = torch.arange(slots, device=self.logits.device)
        for name in ("logits", "condition", "position", "history", "noise", "codes", "num_groups", "min_groups"):
            setattr(self, name, getattr(self, name)[index])
        if free:
            self.cache.reset_rows(list(range(len(active), slots)))

    def codes_so_far(self) -> dict[tuple[int, int], Tensor]:
        """Return (time,) codes of each row by the index of its request and candidate."""
        return {
            (row.request, row.candidate): self.codes[slot, : row.steps].flatten().cpu().clone()
            for slot, row in enumerate(self.rows)
            if row is not None
        }

    def remove(self, request: int) -> None:
        """Free the slots of a request."""
        slots = [slot for slot, row in enumerate(self.rows) if row is not None and row.request == request]
        for slot in slots:
            self.rows[slot] = None
        if slots:
            self.cache.reset_rows(slots)

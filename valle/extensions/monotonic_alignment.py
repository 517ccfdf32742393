"""Monotonic alignment: a decode step speaks the present phoneme of the text or moves to the next one (VALL-E R).

For models with a phoneme stream (`valle.extensions.phoneme_stream`). In VALL-E R (arXiv 2406.07855, section 3.2.2) a
step moves to the next phoneme with probability 1 / (1 + exp(e)), where e is the model's output for the present phoneme.
Here e is the logit of the present phoneme minus that of the next one, so that the two probabilities are the model's
own. A punctuation mark, which has no sound, may be left out: the step then has one choice more. No phoneme is left out
or repeated, EOS comes after the last one only, and the durations of phonemes are a result, or given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from valle.extensions.phoneme_path import NO_PHONEME, Path, states_of_durations
from valle.models.ar import AR
from valle.models.kv_cache import KVCache
from valle.models.sampling import Sampling, sample_inverse_cdf
from valle.models.sequence import Padded

if TYPE_CHECKING:
    from valle.extensions.phoneme_stream import PhonemeStreamAR

# Maximum duration of a phoneme or a pause in seconds, where the durations are not an input. In a longer pause a small
# model begins to repeat the sentence.
MAX_DURATION = 0.5
# Keeps the noise of phonemes apart from that of codes. Generators use 32 bits of a seed.
STREAM_SEED = 2**30 + 1


class Request(Protocol):
    """What a guide reads of a `valle.generation.request.GenerationRequest`."""

    phonemes: Tensor
    prompt: Tensor
    seeds: list[int]
    text_start: int
    durations: Sequence[float] | None

    def max_steps(self, group_size: int) -> int:
        """Return the decode steps that a candidate may take."""


@torch.inference_mode()
def align_prompt(model: PhonemeStreamAR, phonemes: Tensor, prompt: Tensor, path: Path, last: int | None) -> Tensor:
    """Align a prompt with its text: the most likely states under the model, which has not seen any phonemes of it.

    Args:
        model: The model, which is trained to predict phonemes without those before in some utterances.
        phonemes: (time,) text ids of prompt and target.
        prompt: (frames,) first codebook of the prompt.
        path: Path of the text.
        last: The prompt's last state; pauses before it may be left out. None: any.

    Returns:
        (groups,) states, never falling; each phoneme before the last state has at least one group, if there are enough.
    """
    device = phonemes.device
    groups = len(prompt) // model.group_size
    none = torch.full((1, groups), NO_PHONEME, device=device)
    lengths = [torch.tensor([len(x)], device=device) for x in (phonemes, prompt)]
    hidden = model.hidden(phonemes[None], lengths[0], prompt[None], lengths[1], none)[0, :groups]
    ids, place = path.ids.to(device).unique(return_inverse=True)
    scores = []
    for state, codes in zip(hidden, prompt.view(groups, -1), strict=True):
        logits = model.predict_group(model.condition(state.expand(len(ids), -1), ids)).float().log_softmax(-1)
        code_score = logits[:, torch.arange(len(codes), device=device), codes].sum(-1)
        scores.append(code_score + model.stream_head(state[None]).float().log_softmax(-1)[0, ids])
    score = torch.stack(scores)[:, place].cpu()
    states = score.shape[1]
    widest = int((path.reach - torch.arange(states)).max())
    index = torch.arange(states)
    best = torch.where(index <= path.reach[0], score[0], -torch.inf)
    moves = torch.zeros(groups, states, dtype=torch.long)
    for group in range(1, groups):
        options = []
        for move in range(widest + 1):
            source = index - move
            allowed = (source >= 0) & (path.reach[source.clamp(min=0)] >= index)
            options.append(torch.where(allowed, best[source.clamp(min=0)], -torch.inf))
        best, moves[group] = torch.stack(options).max(0)
        best = best + score[group]
    if last is not None:
        # The last phoneme of the prompt, or a pause after it.
        best = torch.where((index <= last) & (path.remaining == path.remaining[last]), best, -torch.inf)
    if bool((best == -torch.inf).all()):
        # There are fewer groups than phonemes.
        return torch.linspace(1, last or 0, groups).round().long()
    state = int(best.argmax())
    result = []
    for group in range(groups - 1, -1, -1):
        result.append(state)
        state -= int(moves[group, state])
    return torch.tensor(result[::-1])


class MonotonicAlignment:
    """Runs decode steps that follow the text phoneme by phoneme: a `valle.generation.guide.StepGuide`.

    Args:
        model: The model.
        slots: Number of rows of the batch.
        sampling: Whether moves are sampled, or the most likely one is taken.

    Attributes:
        cache_dtype: Dtype of the `KVCache` that a step reads.
        max_steps_in_state: Steps after which a row must move on, or end.
        state: (slots,) present state of each row's path.
        history: (slots, steps) state of each step.
    """

    def __init__(self, model: AR, slots: int, sampling: Sampling) -> None:
        model = cast("PhonemeStreamAR", model)
        self.model = model
        self.cache_dtype = model.cache_dtype
        device = model.code_embedding.weight.device
        self.paths: list[Path | None] = [None] * slots
        self.random = sampling.is_random
        self.max_steps_in_state = max(1, round(MAX_DURATION * model.code_rate / model.group_size))
        self.state = torch.zeros(slots, dtype=torch.long, device=device)
        self.steps = torch.zeros(slots, dtype=torch.long, device=device)
        self.max_steps = torch.zeros(slots, dtype=torch.long, device=device)
        self.steps_in_state = torch.zeros(slots, dtype=torch.long, device=device)
        self.arrived = torch.zeros(slots, dtype=torch.bool, device=device)
        self.overdue = torch.zeros(slots, dtype=torch.bool, device=device)
        self.noise = torch.zeros(slots, 0, device=device)
        # State of each step where durations are given, else -1.
        self.given = torch.zeros(slots, 0, dtype=torch.long, device=device)
        self.history = torch.zeros(slots, 0, dtype=torch.long, device=device)
        self._collect_paths()

    def _collect_paths(self) -> None:
        """Pad the paths of all rows to tensors (slots, states)."""
        none = torch.zeros(1, dtype=torch.long)
        device = self.state.device
        self.ids, self.reach, self.remaining = (
            pad_sequence([none if p is None else getattr(p, name) for p in self.paths], batch_first=True).to(device)
            for name in ("ids", "reach", "remaining")
        )

    def prefill(self, slots: list[int], request: Request, cache: KVCache) -> Tensor:
        """Fill the cache with a request's text and prompt, and choose the first phoneme of each slot.

        Args:
            slots: Slot of each candidate.
            request: The request.
            cache: An empty cache of one row.

        Returns:
            Logits of the first group, (len(slots), G, codebook_size + 1).
        """
        model = self.model
        device = self.state.device
        phonemes = request.phonemes.to(device)
        prompt = request.prompt.to(device)
        path = Path.of_text(request.phonemes.cpu(), model.roles)
        states = self._prompt_states(request, phonemes, prompt, path)
        text = model.embed_phonemes(phonemes[None], torch.tensor([len(phonemes)], device=device))
        groups = model.embed_stream(model.embed_groups(prompt[None]), path.ids[states].to(device)[None])
        hidden = model.prefill_hidden(text, Padded(groups, torch.tensor([groups.shape[1]], device=device)), cache)
        # Before its first phoneme a target is silent, or still at the end of the prompt.
        before = int((path.symbols < request.text_start).sum()) - 1
        self._begin(slots, request, path, int(states[-1]) if len(states) else before)
        rows = torch.tensor(slots, device=device)
        logits = torch.zeros(len(self.state), len(model.roles), device=device)
        logits[rows] = model.stream_head(hidden).float()
        active = torch.zeros_like(self.arrived).index_fill(0, rows, value=True)
        self._advance(logits, active)
        return model.predict_group(model.condition(hidden.expand(len(slots), -1), self._present()[rows]))

    def _prompt_states(self, request: Request, phonemes: Tensor, prompt: Tensor, path: Path) -> Tensor:
        """Return the state of each group of the prompt."""
        groups = len(prompt) // self.model.group_size
        if groups == 0 or bool(prompt[-1] == self.model.eos):
            # Without a prompt, or with an untranscribed one.
            return torch.zeros(groups, dtype=torch.long)
        last = int((path.symbols < request.text_start).sum()) - 1 if request.text_start else None
        return align_prompt(self.model, phonemes, prompt, path, last)

    def _begin(self, slots: list[int], request: Request, path: Path, state: int) -> None:
        """Begin a path at a state in some rows."""
        steps = request.max_steps(self.model.group_size)
        missing = steps - self.noise.shape[1]
        if missing > 0:
            self.noise = F.pad(self.noise, (0, missing))
            self.given = F.pad(self.given, (0, missing), value=-1)
            self.history = F.pad(self.history, (0, missing))
        for slot, seed in zip(slots, request.seeds, strict=True):
            generator = torch.Generator().manual_seed(STREAM_SEED + seed)
            self.noise[slot, :steps] = torch.rand(steps, generator=generator).to(self.noise.device)
            self.paths[slot] = path
        self.state[slots] = state
        self.steps[slots] = 0
        self.steps_in_state[slots] = 0
        self.overdue[slots] = False
        self.max_steps[slots] = steps
        self.arrived[slots] = False
        self.given[slots] = -1
        if request.durations is not None:
            given = states_of_durations(request.durations, path, request.text_start, state, self.model.group_size)
            self.given[slots, : len(given)] = given.to(self.given.device)
        self._collect_paths()

    def select_rows(self, rows: Tensor) -> None:
        """Continue with these rows, (rows,) indices."""
        self.paths = [self.paths[row] for row in rows.tolist()]
        names = ("state", "steps", "max_steps", "steps_in_state", "arrived", "overdue", "noise", "given", "history")
        for name in names:
            setattr(self, name, getattr(self, name)[rows])
        self._collect_paths()

    def may_end(self) -> Tensor:
        """Return which rows have spoken their last phoneme in an earlier step, (slots,) bool."""
        return self.arrived

    def must_end(self) -> Tensor:
        """Return which rows have been in their last state for too long, (slots,) bool."""
        return self.overdue

    def spoken(self, slot: int, steps: int, text_start: int) -> Tensor:
        """Return which symbol of the target each step of a row spoke, (steps,); -1 before the first."""
        path = self.paths[slot]
        assert path is not None
        return (path.symbols[self.history[slot, :steps].cpu()] - text_start).clamp(min=-1)

    def __call__(self, x: Tensor, *, mask: Tensor | None, cache: KVCache) -> Tensor:
        """Run one decode step, see `valle.models.transformer.StepBackend`, and choose the next phoneme of each row."""
        model = self.model
        run = model.step_backend or model.transformer
        hidden = run(model.embed_stream(x, self._present()[:, None]), mask=mask, cache=cache)
        self._advance(model.stream_head(hidden[:, 0]).float(), torch.ones_like(self.arrived))
        return model.condition(hidden[:, 0], self._present())[:, None]

    def _present(self) -> Tensor:
        """Return the id of the present phoneme of each row, (slots,)."""
        return self.ids.gather(1, self.state[:, None])[:, 0]

    def _advance(self, logits: Tensor, active: Tensor) -> None:
        """Choose the next state of the active rows (slots,) by the logits (slots, vocabulary) of the phonemes."""
        present = self.state[:, None]
        states = torch.arange(self.ids.shape[1], device=logits.device)
        reach = self.reach.gather(1, present)
        long = self.steps_in_state >= self.max_steps_in_state
        stays = (states == present) & ~(long[:, None] & (reach > present))
        allowed = stays | (states > present) & (states <= reach)
        probabilities = logits.gather(1, self.ids).masked_fill(~allowed, -torch.inf).softmax(-1)
        step = self.steps.clamp(max=max(0, self.noise.shape[1] - 1))[:, None]
        if self.random:
            following = sample_inverse_cdf(probabilities, self.noise.gather(1, step)[:, 0])
        else:
            following = probabilities.argmax(-1)
        # As many steps are left as phonemes: each gets one.
        remaining = self.remaining.gather(1, present)[:, 0]
        following = torch.where(remaining >= self.max_steps - self.steps, reach[:, 0], following)
        given = self.given.gather(1, step)[:, 0]
        following = torch.where(given >= 0, given, following)
        self.arrived = torch.where(active, remaining == 0, self.arrived)
        at_end = (remaining == 0) & (reach[:, 0] == self.state)
        self.overdue = torch.where(active, long & at_end & (given < 0), self.overdue)
        same = (following == self.state) & (self.steps > 0)
        self.steps_in_state = torch.where(active, torch.where(same, self.steps_in_state + 1, 1), self.steps_in_state)
        self.state = torch.where(active, following, self.state)
        # A row that has ended and was not removed yet has no step left.
        written = (active & (self.steps < self.noise.shape[1]))[:, None]
        self.history.scatter_(1, step, torch.where(written, self.state[:, None], self.history.gather(1, step)))
        self.steps = self.steps + active

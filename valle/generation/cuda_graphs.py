"""Decode steps of the AR model on a GPU as CUDA graphs, by `torch.compile`.

A graph repeats the same work on the same memory. A step therefore reads the first 256, 512, ... positions of the cache,
a mask tells which of them are filled, and there is one graph for each of these numbers. Enabled by `--compile`.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor

from valle.files import cache_directory
from valle.models.kv_cache import KVCache
from valle.models.sequence import length_mask
from valle.models.transformer import Transformer

POSITIONS = 256  # a graph reads a multiple of so many positions


class GraphStep:
    """A `StepBackend` of CUDA graphs.

    Args:
        transformer: The AR model's transformer.
        mode: Mode of `torch.compile`.

    Attributes:
        cache_dtype: Dtype of the `KVCache` that a step reads: the weights'.
    """

    def __init__(self, transformer: Transformer, mode: str = "reduce-overhead") -> None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_directory() / "inductor"))
        self.transformer = transformer
        self.cache_dtype = next(transformer.parameters()).dtype
        self._graph = torch.compile(self._step, fullgraph=True, dynamic=False, mode=mode)
        # Keys of the cache in use, and views of keys and values by number of positions.
        self._keys: Tensor | None = None
        self._views: dict[int, tuple[Tensor, Tensor]] = {}

    def _step(self, x: Tensor, keys: Tensor, values: Tensor, lengths: Tensor) -> Tensor:
        """Run one step.

        Args:
            x: (batch, 1, dim).
            keys: (layer, batch, head, positions, head_dim).
            values: As `keys`.
            lengths: (batch,) positions that are filled.
        """
        cache = KVCache.from_tensors(keys, values, lengths)
        return self.transformer(x, mask=length_mask(lengths + 1, keys.shape[3])[:, None, None], cache=cache)

    def __call__(self, x: Tensor, *, mask: Tensor | None, cache: KVCache) -> Tensor:
        """Run one decode step, see `StepBackend`. The cache's lengths tell what a row attends to, not the mask."""
        positions = min(cache.max_length, (cache.max_position // POSITIONS + 1) * POSITIONS)
        if cache.keys is not self._keys:
            self._keys = cache.keys
            self._views = {}
        if positions not in self._views:
            views = cache.keys[:, :, :, :positions], cache.values[:, :, :, :positions]
            for view in views:
                # A graph reads it at its address instead of copying it first.
                torch._dynamo.mark_static_address(view)
            self._views[positions] = views
        # Cloned, since the next step overwrites the memory of the graph.
        return self._graph(x, *self._views[positions], cache.lengths).clone()

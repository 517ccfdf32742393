"""The AR model's transformer on a GPU as one CUDA graph a step, by `torch.compile`.

A graph repeats the same work on the same memory, so a step looks at the first 256, 512, ... positions of the cache, a
mask tells which of them are filled, and there is one graph for each of these numbers. Asked for by `--compile`.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from valle.files import cache_directory
from valle.models.transformer import KVCache, Transformer, length_mask

POSITIONS = 256  # a graph sees so many positions, or a multiple of it


class GraphTransformer(nn.Module):
    """Does what `transformer` does: a step of every row by a graph, longer input (prefill) as ever."""

    def __init__(self, transformer: Transformer, mode: str = "reduce-overhead") -> None:
        super().__init__()
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_directory() / "inductor"))
        self.transformer = transformer
        self._graph = torch.compile(self._step, fullgraph=True, dynamic=False, mode=mode)
        self._keys: Tensor | None = None  # of the cache in use, and its views by positions
        self._views: dict[int, tuple[Tensor, Tensor]] = {}

    def _step(self, x: Tensor, keys: Tensor, values: Tensor, lengths: Tensor) -> Tensor:
        """x (batch, 1, dim), keys and values (layer, batch, head, positions, head_dim), what they hold (batch,)."""
        cache = KVCache.from_tensors(keys, values, lengths)
        return self.transformer(x, mask=length_mask(lengths + 1, keys.shape[3])[:, None, None], cache=cache)

    def forward(
        self, x: Tensor, *, causal: bool = False, mask: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        """As `Transformer.forward`; a row of a step looks at what its row of the cache holds, whatever the mask."""
        if cache is None or x.shape[1] > 1:
            return self.transformer(x, causal=causal, mask=mask, cache=cache)
        positions = min(cache.max_length, (cache.max_position // POSITIONS + 1) * POSITIONS)
        if cache.keys is not self._keys:
            self._keys, self._views = cache.keys, {}
        if positions not in self._views:
            views = cache.keys[:, :, :, :positions], cache.values[:, :, :, :positions]
            for view in views:
                torch._dynamo.mark_static_address(view)  # a graph reads it where it is, and does not copy it
            self._views[positions] = views
        return self._graph(x, *self._views[positions], cache.lengths).clone()  # the graph's own memory is written again

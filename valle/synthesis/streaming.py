"""Synthesis in chunks: audio is available while the rest is still being decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from valle.codec import Codec
from valle.generation.request import GenerationOutput

CHUNK = 0.5  # seconds of a chunk
LOOKAHEAD = 0.1  # seconds of first codes that the NAR model reads beyond a chunk


def stream_codes(
    outputs: Iterator[GenerationOutput], fill_in: Callable[[Tensor, Tensor], Tensor], *, empty: Tensor, lookahead: int
) -> Iterator[tuple[Tensor, bool]]:
    """Fill in the codebooks after the first, chunk by chunk.

    Each chunk reads `lookahead` frames of the first codebook beyond its end; the codes of these frames are computed
    again with the next chunk.

    Args:
        outputs: The first codebook so far, growing.
        fill_in: Codes so far (time, codebook) and the first codebook after them (frames,) -> all codebooks of these.
        empty: (0, codebook) codes.
        lookahead: Frames.

    Yields:
        New codes (time, codebook), and whether they are the last.
    """
    done = empty
    for output in outputs:
        ready = len(output.codes) if output.ended else len(output.codes) - lookahead
        if ready <= len(done) and not output.ended:
            continue
        new = fill_in(done, output.codes[len(done) :])[: ready - len(done)]
        done = torch.cat((done, new))
        yield new, output.ended


def stream_waveform(codec: Codec, codes: Iterator[tuple[Tensor, bool]]) -> Iterator[np.ndarray]:
    """Decode codes to a waveform, chunk by chunk.

    Each chunk is decoded together with `codec.context` frames on either side, so that the chunks joined are what the
    codec makes of all codes at once.

    Args:
        codec: The codec.
        codes: New codes (time, codebook), and whether they are the last.

    Yields:
        (time,) float32 samples.
    """
    hop = codec.hop
    context = codec.context
    done = 0  # frames that were yielded
    pieces: list[Tensor] = []
    for new, last in codes:
        pieces.append(new)
        whole = torch.cat(pieces)
        ready = len(whole) if last else len(whole) - context
        if ready <= done:
            continue
        left = codec.chunk_start(done)
        samples = codec.decode(whole[left:])
        yield samples[(done - left) * hop : (ready - left) * hop]
        done = ready

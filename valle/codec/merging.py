"""Codec merging: consecutive frames share one code of the first codebook (VALL-E R, arXiv 2406.07855, section 3.1).

Before the first quantizer, the latent vectors of each `merge` frames are replaced by their mean, so that these frames
get the same code; the quantizers after it have the remainder at the full frame rate. The codec is not trained for this.
An AR model then predicts one code for `merge` frames, and a NAR model reads the repeated codes. The paper merges two
frames of EnCodec's first codebook. The codec `NAME:merge2` is the codec NAME with merged frames.
"""

from __future__ import annotations

import math

from einops import rearrange
from torch import Tensor

from valle.codec.base import Codec
from valle.errors import UserError

SUFFIX = ":merge"
# Numbers of frames that can be merged; they divide the frames of a chunk.
FACTORS = (2, 3, 4)


def split_name(name: str) -> tuple[str, int]:
    """Split the name of a codec into the name of the codec without merging, and the frames that are merged, 1 for none.

    Raises:
        UserError: So many frames cannot be merged.
    """
    base, found, factor = name.partition(SUFFIX)
    if not found:
        return name, 1
    if factor not in map(str, FACTORS):
        raise UserError(f"codec {name!r}: give {', '.join(f'{SUFFIX}{number}' for number in FACTORS)}, or none of them")
    return base, int(factor)


def merge_frames(codec: Codec, factor: int) -> Codec:
    """Let each `factor` frames of a codec share their first code; the codec is changed, and returned."""
    if factor > 1:
        codec.merge = factor
        codec.name += f"{SUFFIX}{factor}"
        # Chunks begin with whole groups of merged frames.
        codec.chunk_multiple = math.lcm(codec.chunk_multiple, factor)
    return codec


def first_codes(codes: Tensor, factor: int) -> Tensor:
    """Return one first code for each merged group: (..., time) -> (..., time / factor)."""
    return codes[..., ::factor]


def repeat_codes(codes: Tensor, factor: int) -> Tensor:
    """Repeat the code of each merged group for its frames: (..., time) -> (..., time * factor)."""
    return rearrange(codes[..., None].expand(*codes.shape, factor), "... t f -> ... (t f)")

"""Neural audio codecs: waveforms to discrete codes and back.

`load("mini")`, `load("encodec_24khz")` or `load("path/to/codec")` gives a `Codec`.
"""

from __future__ import annotations

from pathlib import Path

from valle.codec.base import Codec
from valle.codec.merging import merge_frames, split_name
from valle.errors import UserError

BUNDLED = Path(__file__).parent.parent / "assets" / "codecs"

__all__ = ["Codec", "load"]


def load(name: str | Path, codec_dir: str | Path | None = None, decoder: str | None = None) -> Codec:
    """Load a codec.

    Args:
        name: "mini" or "small" (bundled), "encodec_24khz", or the path of a codec folder; with ":merge2" after it, each
            two frames share one code of the first codebook (`valle.codec.merging`).
        codec_dir: Folder with the weights of a pretrained codec and decoder; None: torch's download cache.
        decoder: "vocos" decodes "encodec_24khz" with Vocos, as in VALL-E 2; None: the codec's own decoder.

    Raises:
        UserError: The name is unknown, or weights are missing or damaged.
    """
    base, factor = split_name(str(name))
    if factor > 1:
        return merge_frames(load(base, codec_dir, decoder), factor)
    if decoder not in (None, "vocos"):
        raise UserError(f"decoder {decoder!r} is not known; use vocos, or leave it out for the codec's own")
    if str(name) == "encodec_24khz":
        from valle.codec.encodec import load_encodec

        return load_encodec(Path(codec_dir) if codec_dir else None, decoder)
    if decoder is not None:
        raise UserError(f"decoder {decoder!r} decodes codes of encodec_24khz, not of {str(name)!r}; leave it out")
    from valle.codec.folder import load_codec

    bundled = sorted(path.name for path in BUNDLED.iterdir()) if BUNDLED.is_dir() else []
    if str(name) in bundled:
        return load_codec(BUNDLED / name, str(name))
    if Path(name).is_dir():
        return load_codec(Path(name), str(name))
    raise UserError(f"codec {str(name)!r} is not known; use {', '.join((*bundled, 'encodec_24khz'))} or a codec folder")

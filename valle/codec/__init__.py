"""Speech to discrete codes and back. `load("mini")`, `load("encodec_24khz")`, or `load("path/to/codec")`."""

from __future__ import annotations

from pathlib import Path

from valle.codec.base import Codec
from valle.errors import UserError

BUNDLED = Path(__file__).parent.parent / "assets" / "codecs"

__all__ = ["Codec", "load"]


def load(name: str | Path, codec_dir: str | Path | None = None) -> Codec:
    """A codec by its name, or from the folder it was exported to.

    name:      "mini" (bundled), "encodec_24khz", or a folder with codec.json
    codec_dir: where the weights of a pretrained codec lie; its download cache when not given

    Raises UserError for an unknown name or missing weights.
    """
    if str(name) == "encodec_24khz":
        from valle.codec.encodec import load_encodec

        return load_encodec(Path(codec_dir) if codec_dir else None)
    from valle.codec.trained import load_trained

    bundled = sorted(path.name for path in BUNDLED.iterdir()) if BUNDLED.is_dir() else []
    if str(name) in bundled:
        return load_trained(BUNDLED / name, str(name))
    if Path(name).is_dir():
        return load_trained(Path(name), str(name))
    raise UserError(f"codec {str(name)!r} is not known; use {', '.join((*bundled, 'encodec_24khz'))} or a codec folder")

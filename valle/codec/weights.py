"""Weights of pretrained models: from a folder, or a download that says so."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

from valle.errors import UserError


def find_weights(what: str, file: str, url: str, codec_dir: Path | None, instead: str) -> Path:
    """A file of weights in `codec_dir`, else in torch's download cache, else downloaded to it (said on standard error).

    what: whose weights they are, for messages; instead: what to do without them
    Raises UserError, one line, when the file cannot be had.
    """
    if codec_dir is not None:
        if not (codec_dir / file).is_file():
            raise UserError(
                f"{what}: no weights in {codec_dir} (looked for {file}); give --codec-dir with that file in it, or "
                f"{instead}"
            )
        return codec_dir / file
    cached = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not cached.is_file():
        print(f"downloading {url} to {cached}", file=sys.stderr)
        digest = re.search(r"-([0-9a-f]{8,})\.", file)
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(cached), hash_prefix=digest[1] if digest else None)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{what}: no weights in {cached} and the download failed ({error}); give --codec-dir with the file "
                f"{file} in it, or {instead}"
            ) from error
    return cached

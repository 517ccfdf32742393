"""Weights of pretrained models, from a folder, a cache or a download."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

from valle.errors import UserError


def find_weights(what: str, file: str, url: str, codec_dir: Path | None, instead: str) -> Path:
    """Find a file of weights, and download it where it is missing.

    Args:
        what: Whose weights they are, for messages.
        file: Name of the file; eight or more hexadecimal digits before its suffix are the start of its SHA-256.
        url: Address to download it from, which is printed on standard error.
        codec_dir: Folder that has to hold it; None: torch's download cache.
        instead: What to do without it, for messages.

    Returns:
        Path of the file.

    Raises:
        UserError: The file is not in the folder, or cannot be downloaded.
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
        # A download is never silent, whatever the level of logging.
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

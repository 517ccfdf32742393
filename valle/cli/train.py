"""valle-train: Lightning's command line, e.g. `valle-train fit --config recipes/mini/ar.yaml`."""

from __future__ import annotations

from valle.cli.common import log_on_standard_error, run
from valle.optional import require


def _main() -> None:
    # Lightning's command line consists of its parsers.
    require("jsonargparse", "train")
    from valle.training.cli import train

    with log_on_standard_error():
        train()


def main() -> None:
    """Run the command."""
    run(_main)

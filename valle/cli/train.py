"""valle-train: Lightning's command line, e.g. `valle-train fit --config recipes/mini/ar.yaml`."""

from __future__ import annotations

from valle.cli.common import run


def _main() -> None:
    from valle.training.cli import train

    train()


def main() -> None:
    run(_main)

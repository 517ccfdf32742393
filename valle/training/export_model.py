"""`python -m valle.training.export_model RUN DIR`: a run's AR and NAR as a folder that `valle.load` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from valle.synthesis.checkpoint import export_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("directory", type=Path)
    args = parser.parse_args()
    export_model(args.run, args.directory)


if __name__ == "__main__":
    main()

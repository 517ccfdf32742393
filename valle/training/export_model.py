"""Export the AR and the NAR model of a run as a folder that `valle.load` reads.

python -m valle.training.export_model RUN DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

from valle.checkpoint import export_model
from valle.errors import UserError
from valle.files import read_provenance


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--provenance", type=Path, help="JSON file with further information: data, licences")
    args = parser.parse_args()
    try:
        export_model(args.run, args.directory, read_provenance(args.provenance))
    except UserError as error:
        parser.exit(2, f"export_model: {error}\n")


if __name__ == "__main__":
    main()

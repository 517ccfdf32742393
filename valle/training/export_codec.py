"""`python -m valle.training.export_codec CHECKPOINT DIR`: a trained codec as a folder that `valle.codec.load` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from valle.checkpoint import read_checkpoint
from valle.codec.trained import export
from valle.errors import UserError
from valle.files import read_provenance
from valle.training.codec import CodecModule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--provenance", type=Path, help="JSON object of more to be said: data, licences")
    args = parser.parse_args()
    try:
        provenance = {"steps": read_checkpoint(args.checkpoint)["global_step"], **read_provenance(args.provenance)}
        module = CodecModule.load_from_checkpoint(args.checkpoint, map_location="cpu", weights_only=True)
        module.name_codes()
        export(module.network, dict(module.hparams["network"]), args.directory, provenance)
    except UserError as error:
        parser.exit(2, f"export_codec: {error}\n")


if __name__ == "__main__":
    main()

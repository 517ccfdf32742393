"""Export a trained codec: `python -m valle.training.export_codec CHECKPOINT DIR` writes a codec folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from valle.checkpoint import read_checkpoint
from valle.codec.folder import save_codec
from valle.errors import UserError
from valle.files import read_provenance
from valle.training.codec import CodecModule


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Write a trained codec as a folder that --codec takes.")
    parser.add_argument("checkpoint", type=Path, help="checkpoint of valle-train")
    parser.add_argument("directory", type=Path, help="folder to write codec.json and codec.safetensors to")
    parser.add_argument(
        "--provenance", type=Path, help="JSON object to store with the weights, such as data and licences"
    )
    args = parser.parse_args()
    try:
        provenance = {"steps": read_checkpoint(args.checkpoint)["global_step"], **read_provenance(args.provenance)}
        module = CodecModule.load_from_checkpoint(args.checkpoint, map_location="cpu", weights_only=True)
        module.label_codes()
        save_codec(module.network, dict(module.hparams["network"]), args.directory, provenance)
    except UserError as error:
        parser.exit(2, f"export_codec: {error}\n")


if __name__ == "__main__":
    main()

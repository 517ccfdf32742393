"""valle-serve: synthesize over HTTP, and serve a page."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from valle.cli.common import Parser, examples, import_uncollected, run
from valle.errors import UserError
from valle.files import read_text
from valle.optional import require


def _parser() -> Parser:
    parser = Parser(
        prog="valle-serve",
        description="Serve OpenAI's speech API (POST /v1/audio/speech), saved voices, a WebSocket, and a page at /.",
        epilog=examples("valle-serve", "valle-serve --host 0.0.0.0 --api-key-file key.txt --model exp/libritts"),
    )
    parser.add_argument("--host", default="127.0.0.1", help="address; any but this computer's own needs a key")
    parser.add_argument("--port", type=int, default=8000, help="port; 0: a free one")
    parser.add_argument("--api-key-file", type=Path, help="file with the key that requests to /v1 have to bring")
    parser.add_argument("--cors-origin", action="append", default=[], help="origin of a page that may use the server")
    model = parser.add_argument_group("model")
    model.add_argument("--model", default="small", help="run directory, bundled model, or model of the Hub")
    model.add_argument("--download", action="store_true", help="download --model ORGANIZATION/NAME from the Hub")
    model.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    model.add_argument("--codec-dir", type=Path, help="folder with the weights of a pretrained codec and decoder")
    model.add_argument("--decoder", choices=["vocos"], help="decode EnCodec's codes with Vocos, as in VALL-E 2")
    model.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "int8", "auto"])
    model.add_argument("--compile", action=argparse.BooleanOptionalAction, default=None, help="compile decode steps")
    model.add_argument("--watermark", action=argparse.BooleanOptionalAction, default=True, help="mark all speech")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-running", type=int, default=16, help="requests that are synthesized at once")
    limits.add_argument("--max-queue", type=int, default=64, help="requests that wait; further ones get status 429")
    limits.add_argument("--max-characters", type=int, default=20_000, help="characters of a text")
    limits.add_argument("--timeout", type=float, default=600.0, help="seconds until a request is ended")
    limits.add_argument("--max-upload", type=int, default=25_000_000, help="bytes of a recording")
    limits.add_argument("--grace", type=int, default=30, help="seconds for running requests after SIGTERM")
    return parser


def _read_key(args: argparse.Namespace) -> str | None:
    from valle.serving.origin import is_loopback

    if args.api_key_file is None:
        if not is_loopback(args.host):
            raise UserError(
                f"--host {args.host}: others can reach it; give --api-key-file FILE, with a key of 16 characters"
            )
        return None
    key = read_text(args.api_key_file).strip()
    if len(key) < 16 or not key.isascii() or any(character.isspace() for character in key):
        raise UserError(f"{args.api_key_file}: holds no key; write 16 or more letters and digits on one line")
    return key


def _main() -> None:
    args = _parser().parse_args()
    for name in ("max_running", "max_characters", "max_upload", "timeout", "grace"):
        if getattr(args, name) <= 0:
            raise UserError(f"--{name.replace('_', '-')} {getattr(args, name)}: must be greater than 0")
    if args.max_queue < 0 or not 0 <= args.port < 65536:
        raise UserError("--max-queue and --port must not be negative, and --port at most 65535")
    uvicorn = require("uvicorn", "serve")
    require("fastapi", "serve")
    require("python_multipart", "serve")
    require("websockets", "serve")
    require("prometheus_client", "serve")
    key = _read_key(args)
    import_uncollected("valle.synthesis")
    from valle.generation.continuous import ContinuousEngine
    from valle.serving.app import create_app
    from valle.serving.server import Server
    from valle.serving.settings import Settings
    from valle.serving.synthesis import Limits, Synthesizer
    from valle.synthesis import load

    tts = load(
        args.model,
        codec_dir=args.codec_dir,
        device=args.device,
        decoder=args.decoder,
        dtype=args.dtype,
        compiled=args.compile,
        watermark=args.watermark,
        download=args.download,
    )
    engine = ContinuousEngine(tts.ar, max_rows=args.max_running)
    tts.engine = engine
    limits = Limits(
        running=args.max_running,
        queue=args.max_queue,
        characters=args.max_characters,
        seconds=args.timeout,
        upload=args.max_upload,
    )
    name = Path(args.model).name if os.path.isdir(args.model) else args.model
    synthesizer = Synthesizer(tts, engine, limits)
    app = create_app(synthesizer, Settings(model=name, api_key=key, cors_origins=args.cors_origin))
    config = uvicorn.Config(app, host=args.host, port=args.port, log_level="warning")
    try:
        Server(config, synthesizer, args.grace).run()
    finally:
        engine.close()


def main() -> None:
    """Run the command."""
    run(_main)

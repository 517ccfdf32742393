"""Seconds of speech a second of synthesis, for AR, NAR and codec, at the paper's size with random weights.

python benchmarks/synthesis.py [--seconds 5] [--batch 1] [--group-size 1] [--layers 12 --dim 1024]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from valle import codec
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.models.sampling import Sampling
from valle.models.transformer import TransformerConfig
from valle.synthesis.engine import generate

FRAME_RATE = 75  # EnCodec's, as in the papers
PROMPT_SECONDS, PHONEMES = 3, 120


def timed(work: Callable[[], object]) -> float:
    """Seconds of one run after a warm-up."""
    work()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of new speech a row")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--group-size", type=int, default=1)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--dim", type=int, default=1024)
    args = parser.parse_args()
    torch.manual_seed(0)
    config = TransformerConfig(layers=args.layers, heads=16, dim=args.dim, ffn_dim=4 * args.dim)
    ar, nar = AR(100, config, group_size=args.group_size).eval(), NAR(100, config).eval()
    with torch.no_grad():  # the end mark never comes: every run has the same length
        ar.head.weight[ar.end :: ar.codebook_size + 1] = 0
        ar.head.weight.mul_(0.01)
    frames = round(args.seconds * FRAME_RATE) // args.group_size * args.group_size
    text = [torch.randint(1, 100, (PHONEMES,)) for _ in range(args.batch)]
    prompt = torch.randint(0, 1024, (args.batch, PROMPT_SECONDS * FRAME_RATE // 8 * 8, 8))
    sampling, speech = Sampling(temperature=0), args.batch * frames / FRAME_RATE

    said: list = []

    def speak() -> None:
        said[:] = generate(ar, text, list(prompt[..., 0]), [frames] * args.batch, list(range(args.batch)), sampling)

    def fill_in() -> None:
        def length(n: int) -> torch.Tensor:
            return torch.full((args.batch,), n)

        first = torch.randint(0, 1024, (args.batch, frames))
        nar.generate(torch.stack(text), length(PHONEMES), prompt, length(prompt.shape[1]), first, length(frames))

    mini = codec.load("mini")
    codes = [torch.randint(0, 1024, (round(args.seconds * mini.frame_rate), 8)) for _ in range(args.batch)]
    spent = {"AR": timed(speak), "NAR": timed(fill_in), "codec": timed(lambda: mini.decode_batch(codes))}
    spoken = sum(len(item.codes) for item in said)
    if spoken != args.batch * frames:
        raise RuntimeError(f"the AR model stopped after {spoken} of {args.batch * frames} frames")
    weights = sum(p.numel() for p in ar.transformer.parameters()) * 4
    row = f"{frames / FRAME_RATE:.1f} s a row, G = {args.group_size}"
    print(f"{torch.get_num_threads()} threads, batch {args.batch}, {row}")
    for name, seconds in spent.items():
        print(f"{name:6} {speech / seconds:8.2f} seconds of speech a second  ({seconds:.2f} s)")
    steps = frames // args.group_size
    print(f"AR step {spent['AR'] / steps * 1000:.1f} ms, reads {weights / 1e9:.2f} GB of weights: "
          f"{weights * steps / spent['AR'] / 1e9:.1f} GB/s")  # fmt: skip


if __name__ == "__main__":
    main()

"""What a codec does to speech: STOI, PESQ, Whisper's disagreement with itself, codebook perplexities, speed.

python benchmarks/codec.py --clips train-clean-100 --speakers heldout-speakers.txt [--codec mini]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jiwer
import numpy as np
import torch
from pesq import pesq
from pystoi import stoi

from valle import audio, codec
from valle.evaluation.recognizer import Recognizer

RATE = 16_000


def perplexity(codes: torch.Tensor, size: int) -> float:
    """exp of the entropy of how often each entry is used; codes (time,)."""
    share = torch.bincount(codes, minlength=size).double() / len(codes)
    share = share[share > 0]
    return float(torch.exp(-(share * share.log()).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="folder with SPEAKER/CHAPTER/*.flac")
    parser.add_argument("--speakers", type=Path, required=True, help="file that names the speakers to judge on")
    parser.add_argument("--codec", default="mini")
    args = parser.parse_args()
    model, recognizer = codec.load(args.codec), Recognizer()
    stois, pesqs, codes, references, heard = [], [], [], [], []
    speech = spent = 0.0
    for speaker in args.speakers.read_text().split():
        for path in sorted((args.clips / speaker).glob("*/*.flac")):
            samples = audio.read(path, RATE).samples
            begin = time.perf_counter()
            codes.append(model.encode(samples, RATE))
            decoded = model.decode(codes[-1])
            spent += time.perf_counter() - begin
            speech += len(samples) / RATE
            decoded = audio.resample(decoded, model.sample_rate, RATE)[: len(samples)]
            stois.append(stoi(samples, decoded, RATE))
            pesqs.append(pesq(RATE, samples, decoded, "wb"))
            references.append(recognizer.transcribe(samples, RATE))
            heard.append(recognizer.transcribe(decoded, RATE))
    every = torch.cat(codes)
    print(f"clips          {len(stois)}")
    print(f"STOI           {np.mean(stois):.3f}")
    print(f"PESQ-wb        {np.mean(pesqs):.2f}")
    print(f"disagreement   {jiwer.wer(references, heard):.1%}")
    print(f"perplexities   {[round(perplexity(every[:, j], model.codebook_size)) for j in range(model.num_codebooks)]}")
    print(f"round trip     {speech / spent:.0f} x real time on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()

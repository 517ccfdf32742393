"""Measure what smaller weights lose: the accuracy of the bundled model in float32, bfloat16 and int8.

    python benchmarks/quantization.py

Teacher-forced top-1 and top-10 accuracy on 24 sentences of the generated corpus that no training set of the same seed
contains, in eight voices of the bundled model's training data. The AR model is computed by decode steps, as in
synthesis.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from bounds import BYTES
from decoding import COMPILED

import valle
from valle import audio
from valle.cli.common import run
from valle.data import kaldi
from valle.models.ar import AR
from valle.models.kv_cache import KVCache
from valle.models.nar import NARInputs
from valle.models.sequence import Padded
from valle.training.base import top_k_accuracy

# The corpus generator belongs to the recipe `mini`.
sys.path.append(str(Path(__file__).parents[1] / "egs" / "mini" / "local"))

# Frames of each utterance that are the acoustic prompt of the NAR model.
PROMPT_FRAMES = 50


def teacher_forced(model: AR, phonemes: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Compute the logits of `AR.forward` by the steps of decoding.

    Args:
        model: Model.
        phonemes: (time,).
        codes: (frames,), a multiple of the group size.

    Returns:
        (1, steps, codes of a group, entries).
    """
    count = torch.tensor([len(phonemes)])
    text = KVCache(model.config, 1, len(phonemes) + model.num_marks, like=model.code_embedding.weight)
    logits = [model.prefill(phonemes[None], count, codes[None, :0], torch.tensor([0]), text)]
    groups = codes.view(-1, model.group_size)
    cache = KVCache(model.config, 1, text.max_position + len(groups), like=torch.empty(0, dtype=model.cache_dtype))
    cache.copy_row([0], text)
    for position, group in enumerate(groups):
        logits.append(model.step(group[None], torch.tensor([position]), cache))
    return torch.stack(logits, dim=1)


def measure(tts: valle.TTS, utterances: list[kaldi.Utterance]) -> list[float]:
    """Return AR top-1, AR top-10 and NAR stage 1 top-10 accuracy, each a mean over utterances."""
    rows = []
    for u in utterances:
        recording = audio.read(u.path)
        codes = tts.codec.encode(recording.samples, recording.sample_rate)
        codes = codes[len(codes) % tts.ar.group_size :]
        phonemes = torch.tensor(tts.encode_text(u.text).ids)
        with torch.inference_mode():
            logits = teacher_forced(tts.ar, phonemes, codes[:, 0])
            targets = tts.ar.targets(codes[None, :, 0], torch.tensor([len(codes)]))
            inputs = NARInputs(
                text=Padded(phonemes[None], torch.tensor([len(phonemes)])),
                prompt=Padded(codes[None, :PROMPT_FRAMES], torch.tensor([PROMPT_FRAMES])),
                codes=Padded(codes[None, PROMPT_FRAMES:], torch.tensor([len(codes) - PROMPT_FRAMES])),
            )
            _, nar_logits, nar_targets = tts.nar.loss(inputs, torch.tensor([1]))
        accuracies = [top_k_accuracy(logits, targets, k) for k in (1, 10)]
        rows.append([float(x) for x in (*accuracies, top_k_accuracy(nar_logits, nar_targets, 10))])
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def _main() -> None:
    from spoken import build

    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), voices=8, utterances=1)
        utterances = [u for part in ("valid", "test_seen") for u in kaldi.read(Path(folder) / part)]
        print("| dtype | AR top-1 | AR top-10 | NAR stage 1 top-10 |\n|---|---|---|---|")
        for dtype in BYTES:
            accuracies = measure(valle.load("small", dtype=dtype, compiled=COMPILED), utterances)
            print(f"| {dtype} | {' | '.join(f'{100 * x:.1f} %' for x in accuracies)} |", flush=True)


if __name__ == "__main__":
    run(_main)

"""Measure the times of words against forced alignment of the synthesized speech.

    python benchmarks/word_times.py [--texts 40] [--stream]

Synthesizes texts of robustness.txt in the default voice, and aligns the audio with its text by pocketsphinx, as
`valle-prepare align` does. Prints the median and the 95th percentile of the absolute difference of the beginnings and
the ends of words, and the median of the signed one. Left out are texts whose alignment is refused, and those with words
that the aligner writes otherwise.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.progress import track

import valle
from valle.audio import Audio
from valle.cli.common import run
from valle.data import kaldi
from valle.data.forced_alignment import Aligner
from valle.synthesis.timing import TimedWord

TEXTS = Path(__file__).with_name("robustness.txt")


def synthesize(tts: valle.TTS, text: str, seed: int, *, stream: bool) -> tuple[Audio, list[TimedWord]]:
    """Synthesize a text, and return it with the times of its words."""
    if not stream:
        (speech,) = tts.synthesize_batch([text], [tts.voice()], [seed])
        return speech.audio, speech.words or []
    chunks = list(tts.stream(text, seed=seed))
    samples = np.concatenate([chunk.samples for chunk in chunks])
    return Audio(samples, chunks[0].sample_rate), [word for chunk in chunks for word in chunk.words or []]


def plain(word: str) -> str:
    """Return a word as the aligner writes it."""
    return "".join(character for character in word.lower() if character.isalpha() or character == "'")


def differences(tts: valle.TTS, aligner: Aligner, text: str, seed: int, *, stream: bool) -> list[tuple[float, float]]:
    """Return by how many seconds the beginning and the end of each word are later than those of the aligner."""
    audio, words = synthesize(tts, text, seed, stream=stream)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        audio.save(path)
        utterance = kaldi.Utterance("speech", path, text, "speaker")
        found = aligner.align_words(utterance) if aligner.matches_transcript(utterance) else None
    if found is None or [plain(word.text) for word in words] != [name for name, _, _ in found]:
        return []
    return [(word.start - start, word.end - end) for word, (_, start, end) in zip(words, found, strict=True)]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=40, help="number of texts, the last ones of the file (40)")
    parser.add_argument("--stream", action="store_true", help="measure the times of streams")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    texts = TEXTS.read_text(encoding="utf-8").splitlines()[-args.texts :]
    tts = valle.load("small")
    aligner = Aligner()
    measured = [
        differences(tts, aligner, text, seed, stream=args.stream) for seed, text in enumerate(track(texts, "texts"))
    ]
    used = sum(bool(found) for found in measured)
    values = np.array([pair for found in measured for pair in found])
    print(f"{len(values)} words of {used} of {len(texts)} texts")
    print("| | median | 95th percentile | median, signed |")
    print("|---|---|---|---|")
    for name, column in zip(("beginning", "end"), values.T, strict=True):
        median, high = 1000 * np.percentile(np.abs(column), [50, 95])
        print(f"| {name} | {median:.0f} ms | {high:.0f} ms | {1000 * np.median(column):+.0f} ms |")


if __name__ == "__main__":
    run(main)

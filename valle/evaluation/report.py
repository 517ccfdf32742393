"""The report: one page with tables, figures and every utterance to be heard, which needs no other file."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from valle import audio
from valle.codec import Codec
from valle.evaluation.metrics import METRICS
from valle.evaluation.plots import by_length, by_speaker, code_image, spectrogram, training_curves
from valle.evaluation.recognizer import SAMPLE_RATE, missing, words
from valle.evaluation.score import Item, Score, sound_codes
from valle.evaluation.tables import NAMES, Summary, shown
from valle.files import write_text

FAULTS = {  # what an utterance may be filtered by
    "errors": "words went wrong",
    "looped": "loops",
    "silent": "silences",
    "early_stop": "stopped early",
    "no_end": "found no end",
    "other_voice": "another's voice",
}


@dataclass(frozen=True)
class _Sound:
    """One player: what it is, its audio and images as data URIs, what was heard and scored (None of a prompt)."""

    name: str
    audio: str
    spectrogram: str
    codes: str
    score: Score | None
    words: list[tuple[str, str]]


def write_report(
    path: Path,
    title: str,
    items: list[Item],
    scores: list[Score],
    summary: Summary,
    codec: Codec,
    made: dict[str, str],
    run: Path | None = None,
    listen: int = 100,
) -> None:
    """Write the page. `run`: directory of the run whose training curves are shown; `listen`: utterances with sound,
    half of them the worst, half evenly spread over the rest, for a page of bearable size."""
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise missing("jinja2") from error
    synthesized = [s for s in scores if s.system == "synthesized"]
    synthesized.sort(key=lambda s: (-s.wer, s.sim_o))
    heard = {s.id for s in _to_be_heard(synthesized, listen)}
    by_id = {item.id: item for item in items}
    of = {(s.id, s.system): s for s in scores}
    utterances: list[dict[str, Any]] = []
    for s in track(synthesized, "report"):
        systems = [of[s.id, name] for name in NAMES if (s.id, name) in of]
        utterances.append(
            {
                "score": s,
                "faults": faults(s),
                "words": alignment(words(s.text), s.heard),
                "sounds": _sounds(by_id[s.id], systems, codec) if s.id in heard else [],
            }
        )
    curves = training_curves(run) if run is not None else {}
    figures = {
        "By speaker": by_speaker(synthesized),
        "By length": by_length(synthesized),
        **{f"Training, {kind} model": svg for kind, svg in curves.items()},
    }
    template = Environment(loader=PackageLoader("valle.evaluation", "."), autoescape=True).get_template("report.html")
    page = template.render(
        title=title,
        made=made,
        tables=[shown(summary, table) for table in (0, 1)],
        metrics=METRICS,
        summary=summary,
        names=NAMES,
        figures=figures,
        utterances=utterances,
        faults=FAULTS,
        speakers=sorted({s.speaker for s in synthesized}),
    )
    write_text(path, page)


def _to_be_heard(scores: list[Score], most: int) -> list[Score]:
    """Of scores, the worst first, so many: half from the beginning, half evenly from the rest."""
    if len(scores) <= most:
        return scores
    worst, rest = scores[: most // 2], scores[most // 2 :]
    spread = most - len(worst)
    return worst + [rest[i * len(rest) // spread] for i in range(spread)]


def faults(score: Score) -> list[str]:
    """Keys of `FAULTS` that an utterance has."""
    found = {
        "errors": score.word_errors > 0,
        "looped": score.looped,
        "silent": score.silent,
        "early_stop": score.early_stop,
        "no_end": bool(score.no_end),
        "other_voice": not score.own_voice,
    }
    return [name for name, there in found.items() if there]


def alignment(text: str, heard: str) -> list[tuple[str, str]]:
    """Normalized words as ("equal" | "delete" | "insert", words): what was said right, left out, and put in."""
    import jiwer

    if not text:
        return [("insert", heard)] if heard else []
    found = jiwer.process_words(text, heard)
    parts: list[tuple[str, str]] = []
    for chunk in found.alignments[0]:
        wanted = " ".join(found.references[0][chunk.ref_start_idx : chunk.ref_end_idx])
        said = " ".join(found.hypotheses[0][chunk.hyp_start_idx : chunk.hyp_end_idx])
        if chunk.type == "equal":
            parts.append(("equal", said))
        else:
            parts += [(kind, part) for kind, part in (("delete", wanted), ("insert", said)) if part]
    return parts


def _sounds(item: Item, scores: list[Score], codec: Codec) -> list[_Sound]:
    prompt = audio.read(item.prompt)
    codes = codec.encode(prompt.samples, prompt.sample_rate)
    sounds = [_sound("prompt", prompt, codes, codec, None)]
    for score in scores:
        sound = audio.read(score.path, start=score.start, end=score.end)
        sounds.append(_sound(NAMES[score.system], sound, sound_codes(score, sound, codec), codec, score))
    return sounds


def _sound(name: str, sound: audio.Audio, codes: torch.Tensor, codec: Codec, score: Score | None) -> _Sound:
    samples = audio.resample(sound.samples, sound.sample_rate, SAMPLE_RATE)
    return _Sound(
        name,
        _uri("audio/mpeg", audio.mp3(sound)),
        _uri("image/webp", spectrogram(samples)),
        _uri("image/webp", code_image(codes, codec.codebook_size)),
        score,
        alignment(words(score.text), score.heard) if score else [],
    )


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"

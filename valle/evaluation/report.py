"""The report: one page with tables, figures and every utterance to be heard, which needs no other file."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from valle import audio
from valle.codec import Codec
from valle.evaluation.attempt import attempt, attempt_read
from valle.evaluation.metrics import METRICS
from valle.evaluation.plots import by_length, by_speaker, code_image, spectrogram, training_curves
from valle.evaluation.recognizer import SAMPLE_RATE, missing, words
from valle.evaluation.score import NAMES, Item, Score, sound_codes
from valle.evaluation.tables import Summary, over_fewer, shown
from valle.evaluation.tables import utterances as utterances_of
from valle.files import write_text

FAULTS = {  # what an utterance may be filtered by
    "errors": "words went wrong",
    "looped": "loops",
    "silent": "silences",
    "early_stop": "stopped early",
    "no_end": "found no end",
    "other_voice": "another's voice",
    "not_scored": "not scored",
}


@dataclass(frozen=True)
class _Sound:
    """One player: what it is, its audio and images as data URIs, what was heard and scored (None of a prompt)."""

    name: str
    audio: str
    spectrogram: str
    codes: str | None
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
    notes: Sequence[str] = (),
) -> None:
    """Write the page. `run`: directory of the run whose training curves are shown; `listen`: utterances with sound,
    half of them the worst, half evenly spread over the rest, for a page of bearable size; `notes`: what was not
    scored."""
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise missing("jinja2") from error
    synthesized = [s for s in scores if s.system == "synthesized"]
    synthesized.sort(key=_worst_first)
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
                "words": _recognized(s),
                "sounds": _sounds(by_id[s.id], systems, codec) if s.id in heard else [],
            }
        )
    curves = training_curves(run) if run is not None else {}
    figures = {
        "By speaker": by_speaker(synthesized),
        "By length": by_length(synthesized),
        **{f"Training, {kind} model": svg for kind, svg in curves.items()},
    }
    environment = Environment(loader=PackageLoader("valle.evaluation", "."), autoescape=True)
    environment.filters["number"] = _number
    template = environment.get_template("report.html")
    page = template.render(
        title=title,
        made=made,
        tables=[shown(summary, table) for table in (0, 1)],
        metrics=METRICS,
        summary=summary,
        counts={system: utterances_of(row) for system, row in summary.items()},
        over_fewer=over_fewer,
        notes=notes,
        names=NAMES,
        figures=figures,
        utterances=utterances,
        faults=FAULTS,
        speakers=sorted({s.speaker for s in synthesized}),
    )
    write_text(path, page)


def _worst_first(score: Score) -> tuple[float, float]:
    """Sort key: what could not be scored, then the most word errors, then the least similar voice."""
    return (
        -math.inf if score.wer is None else -score.wer,
        -math.inf if score.sim_o is None else score.sim_o,
    )


def _recognized(score: Score) -> list[tuple[str, str]]:
    """The `alignment` of what was recognized; nothing where the recognizer failed."""
    return [] if score.heard is None else alignment(words(score.text), score.heard)


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    """A value as the page shows it; a dash for one that was not scored."""
    return "–" if value is None else format(scale * value, form)


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
        "errors": bool(score.word_errors),
        "looped": bool(score.looped),
        "silent": bool(score.silent),
        "early_stop": bool(score.early_stop),
        "no_end": bool(score.no_end),
        "other_voice": score.own_voice is False,
        "not_scored": bool(score.failures),
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
    """Players of the prompt and of each system, as far as their files can be read and encoded."""
    sounds = [] if item.prompt is None else [_player("prompt", item.prompt, codec, None)]
    sounds += [_player(NAMES[score.system], Path(score.path), codec, score) for score in scores]
    return [sound for sound in sounds if sound is not None]


def _player(name: str, path: Path, codec: Codec, score: Score | None) -> _Sound | None:
    """The player of a file; None where it cannot be read or encoded, of which the page's notes tell."""
    start, end = (score.start, score.end) if score else (0.0, None)
    sound, _ = attempt_read(partial(audio.read, path, start=start, end=end))
    if sound is None:
        return None
    if score is None:
        codes, _ = attempt(codec.encode, sound.samples, sound.sample_rate)
    else:
        codes, _ = attempt(sound_codes, score, sound, codec)
    return attempt(_sound, name, sound, codes, codec, score)[0]


def _sound(name: str, sound: audio.Audio, codes: torch.Tensor | None, codec: Codec, score: Score | None) -> _Sound:
    samples = audio.resample(sound.samples, sound.sample_rate, SAMPLE_RATE)
    return _Sound(
        name,
        _uri("audio/mpeg", audio.mp3(sound)),
        _uri("image/webp", spectrogram(samples)),
        None if codes is None else _uri("image/webp", code_image(codes, codec.codebook_size)),
        score,
        _recognized(score) if score else [],
    )


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"

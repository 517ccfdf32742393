"""The HTML report: one file with tables, figures, and every utterance with its audio."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from valle import audio
from valle.codec import Codec
from valle.evaluation.failures import attempt, attempt_read
from valle.evaluation.items import ScoringItem
from valle.evaluation.metrics import METRICS
from valle.evaluation.plots import by_length, by_speaker, code_image, spectrogram, training_curves
from valle.evaluation.recognizer import SAMPLE_RATE, words
from valle.evaluation.score import SYSTEM_LABELS, Score
from valle.evaluation.scorer import read_codes
from valle.evaluation.tables import (
    Summary,
    latex,
    markdown,
    measured_metrics,
    smaller_count,
    utterance_count,
    write_summary,
)
from valle.evaluation.text_errors import align_words
from valle.files import write_text
from valle.optional import require

track = require("rich.progress", "eval").track

# Problems by which the page filters utterances, with their labels.
PROBLEMS = {
    "word_errors": "word errors",
    "loop": "loop",
    "silence": "silence",
    "early_stop": "early stop",
    "truncated": "truncated",
    "wrong_speaker": "closer to another speaker",
    "not_scored": "not scored",
}


@dataclass(frozen=True)
class Report:
    """Contents of a report.

    Attributes:
        title: Heading of the page.
        items: Test set.
        scores: Scores of all systems.
        summary: Estimates by system and metric.
        provenance: See `valle.evaluation.provenance.provenance`.
        notes: Notes about missing scores.
        run: Run directory whose training curves are shown; None: no curves.
        max_audio: Maximum number of utterances with audio, which bounds the size of the page: half of them the ones
            with the most word errors, half evenly spread over the rest.
    """

    title: str
    items: Sequence[ScoringItem]
    scores: Sequence[Score]
    summary: Summary
    provenance: dict[str, str]
    notes: Sequence[str] = ()
    run: Path | None = None
    max_audio: int = 100


@dataclass(frozen=True)
class _Player:
    """An audio player of the page.

    Attributes:
        name: Label of the system, or "prompt".
        audio: MP3 as a data URI.
        spectrogram: Image as a data URI.
        codes: Image as a data URI; None where the audio could not be encoded.
        score: Score; None of a prompt.
        words: Alignment of the transcript with the text.
    """

    name: str
    audio: str
    spectrogram: str
    codes: str | None
    score: Score | None
    words: list[tuple[str, str]]


def write_outputs(folder: Path, report: Report, settings: dict[str, Any], codec: Codec) -> str:
    """Write report.html, report.md, report.tex and summary.json.

    Args:
        folder: Report folder.
        report: Contents of the report.
        settings: Scoring models and options, for summary.json.
        codec: See `write_report`.

    Returns:
        The contents of report.md.
    """
    write_summary(
        folder / "summary.json",
        title=report.title,
        summary=report.summary,
        settings=settings,
        provenance=report.provenance,
        notes=report.notes,
    )
    text = markdown(report.title, report.summary, report.notes)
    write_text(folder / "report.md", text)
    write_text(folder / "report.tex", latex(report.title, report.summary))
    write_report(folder / "report.html", report, codec)
    return text


def write_report(path: Path, report: Report, codec: Codec) -> None:
    """Write the page.

    Args:
        path: HTML file.
        report: Its contents.
        codec: Encodes the audio whose codes were not saved.
    """
    jinja2 = require("jinja2", "eval")
    # The page lists utterances in this order until it is sorted otherwise.
    synthesized = sorted((s for s in report.scores if s.system == "synthesized"), key=_worst_first)
    curves = training_curves(report.run) if report.run is not None else {}
    figures = {
        "By speaker": by_speaker(synthesized),
        "By length": by_length(synthesized),
        **{f"Training of the {kind} model": svg for kind, svg in curves.items()},
    }
    environment = jinja2.Environment(loader=jinja2.PackageLoader("valle.evaluation", "."), autoescape=True)
    # Texts of a test set can contain markup, so values are escaped.
    environment.filters["number"] = _format_number
    page = environment.get_template("report.html").render(
        title=report.title,
        provenance=report.provenance,
        tables=[measured_metrics(report.summary, table) for table in (0, 1)],
        metrics=METRICS,
        summary=report.summary,
        counts={system: utterance_count(row) for system, row in report.summary.items()},
        smaller_count=smaller_count,
        notes=report.notes,
        system_labels=SYSTEM_LABELS,
        figures=figures,
        utterances=_utterances(report, synthesized, codec),
        problems=PROBLEMS,
        speakers=sorted({s.speaker for s in synthesized}),
    )
    write_text(path, page)


def problems(score: Score) -> list[str]:
    """Return the keys of `PROBLEMS` that an utterance has."""
    present = {
        "word_errors": bool(score.word_errors),
        "loop": bool(score.has_loop),
        "silence": bool(score.has_silence),
        "early_stop": bool(score.early_stop),
        "truncated": bool(score.truncated),
        # Below 1 is False, or a share of several candidates.
        "wrong_speaker": score.speaker_correct is not None and score.speaker_correct < 1,
        "not_scored": bool(score.failures),
    }
    return [name for name, is_present in present.items() if is_present]


def _utterances(report: Report, synthesized: list[Score], codec: Codec) -> list[dict[str, Any]]:
    """Return what the template shows of each utterance."""
    with_audio = {s.id for s in _select_audio(synthesized, report.max_audio)}
    items = {item.id: item for item in report.items}
    by_system = {(s.id, s.system): s for s in report.scores}
    utterances: list[dict[str, Any]] = []
    for score in track(synthesized, "report"):
        scores = [by_system[score.id, system] for system in SYSTEM_LABELS if (score.id, system) in by_system]
        utterances.append(
            {
                "score": score,
                "problems": problems(score),
                "words": _aligned_transcript(score),
                "players": _players(items[score.id], scores, codec) if score.id in with_audio else [],
            }
        )
    return utterances


def _worst_first(score: Score) -> tuple[float, float]:
    """Return a sort key: utterances that could not be scored, then by descending WER, then by ascending similarity."""
    return (
        -math.inf if score.wer is None else -score.wer,
        -math.inf if score.sim_o is None else score.sim_o,
    )


def _select_audio(scores: list[Score], count: int) -> list[Score]:
    """Return at most `count` scores: half of them the first, half evenly spread over the rest."""
    if len(scores) <= count:
        return scores
    worst = scores[: count // 2]
    rest = scores[count // 2 :]
    spread = count - len(worst)
    return worst + [rest[i * len(rest) // spread] for i in range(spread)]


def _aligned_transcript(score: Score) -> list[tuple[str, str]]:
    """Return the alignment of the transcript with the text; empty where the recognizer failed."""
    return [] if score.transcript is None else align_words(words(score.text or ""), score.transcript)


def _format_number(value: float | None, form: str, scale: float = 1.0) -> str:
    """Format a number for the page; a dash for a missing one."""
    return "–" if value is None else format(scale * value, form)


def _players(item: ScoringItem, scores: list[Score], codec: Codec) -> list[_Player]:
    """Return the players of the prompt and of each system whose file can be read."""
    players = [] if item.prompt is None else [_read_player("prompt", item.prompt, codec, None)]
    players += [_read_player(SYSTEM_LABELS[score.system], Path(score.path), codec, score) for score in scores]
    return [player for player in players if player is not None]


def _read_player(name: str, path: Path, codec: Codec, score: Score | None) -> _Player | None:
    """Return the player of a file; None where it cannot be read, which the notes of the page report."""
    start, end = (score.start, score.end) if score else (0.0, None)
    # Failures are ignored here: the scores of the same file have them.
    recording, _ = attempt_read(partial(audio.read, path, start=start, end=end))
    if recording is None:
        return None
    if score is None:
        codes, _ = attempt(codec.encode, recording.samples, recording.sample_rate)
    else:
        codes, _ = attempt(read_codes, score, recording, codec)
    player, _ = attempt(_make_player, name, recording, codes, codec, score)
    return player


def _make_player(
    name: str, recording: audio.Audio, codes: torch.Tensor | None, codec: Codec, score: Score | None
) -> _Player:
    """Encode audio and images of a player."""
    samples = audio.resample(recording.samples, recording.sample_rate, SAMPLE_RATE)
    return _Player(
        name=name,
        audio=_data_uri("audio/mpeg", audio.mp3(recording)),
        spectrogram=_data_uri("image/webp", spectrogram(samples)),
        codes=None if codes is None else _data_uri("image/webp", code_image(codes, codec.codebook_size)),
        score=score,
        words=_aligned_transcript(score) if score else [],
    )


def _data_uri(media_type: str, data: bytes) -> str:
    """Return a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"

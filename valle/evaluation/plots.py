"""Figures of the report: SVG that takes the page's colour, and small images of spectrograms and codes."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from valle.evaluation.metrics import METRICS, estimate
from valle.evaluation.quality import mel
from valle.evaluation.recognizer import missing
from valle.evaluation.score import Score

INK = "#010203"  # stands for the page's own colour until the SVG is in the page
LOUDEST, QUIETEST = 30.0, -50.0  # decibels, the ends of the spectrograms' colours
MOST_SPEAKERS = 30


def _figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    try:
        import matplotlib
    except ImportError as error:
        raise missing("matplotlib") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"):
        plt.rcParams[name] = INK
    figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False)
    figure.patch.set_alpha(0)
    for axis in axes[0]:
        axis.patch.set_alpha(0)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes[0]


def _svg(figure: Any, name: str) -> str:
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = name  # ids differ between the figures of a page
    figure.tight_layout()
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


def by_speaker(scores: list[Score]) -> str:
    """WER and similarity of each speaker with their intervals, the speakers with the most errors first: SVG."""
    groups: dict[str, list[Score]] = defaultdict(list)
    for s in scores:
        groups[s.speaker].append(s)
    metrics = [m for m in METRICS if m.name in ("wer", "sim_o")]
    rows = [(name, [estimate(m, own) for m in metrics]) for name, own in groups.items()]
    rows.sort(key=lambda row: row[1][0].value or 0.0, reverse=True)
    rows = rows[:MOST_SPEAKERS][::-1]
    figure, axes = _figure(8, 0.7 + 0.24 * len(rows), 2)
    for axis, metric, index in zip(axes, metrics, range(2), strict=True):
        values = np.array([[e.value, e.low, e.high] for e in (row[1][index] for row in rows)], float)
        places = np.arange(len(rows))
        bounds = np.abs(values[:, 1:] - values[:, :1]).T
        axis.errorbar(values[:, 0], places, xerr=bounds, fmt="o", color="#3b82f6", ecolor="#3b82f680")
        axis.set(xlabel=metric.heading, yticks=places)
        axis.set_yticklabels([row[0][-24:] for row in rows] if index == 0 else [])
    return _svg(figure, "speakers")


def by_length(scores: list[Score]) -> str:
    """WER of each utterance by its words, and of short to long quarters of them; similarity by seconds: SVG."""
    figure, (left, right) = _figure(8, 2.8, 2)
    recognized = [s for s in scores if s.wer is not None]
    words = np.array([s.words for s in recognized])
    wer = np.array([s.wer for s in recognized], float)
    left.plot(words, wer, "o", color="#3b82f6", alpha=0.5, markersize=4, label="an utterance")
    quarters = [part for part in np.array_split(np.argsort(words, kind="stable"), 4) if len(part)]
    left.plot(
        [words[part].mean() for part in quarters],
        [wer[part] @ words[part] / max(1, words[part].sum()) for part in quarters],
        "s-",
        color="#f97316",
        label="a quarter, by length",
    )
    left.set(xlabel="words", ylabel="WER", ylim=(0, None))
    left.legend(frameon=False)
    similar = np.array([[s.seconds, s.sim_o] for s in scores], float).reshape(-1, 2)
    right.plot(similar[:, 0], similar[:, 1], "o", color="#3b82f6", alpha=0.5, markersize=4)
    right.set(xlabel="seconds", ylabel="SIM-o")
    return _svg(figure, "lengths")


def training_curves(run: Path) -> dict[str, str]:
    """Losses of training and validation by step of each model in a run directory that has them: SVG by model."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = {}
    for kind in ("ar", "nar"):
        if not list((run / kind).glob("events*")):
            continue
        events = EventAccumulator(str(run / kind))
        events.Reload()
        tags = [tag for tag in ("train/loss", "valid/loss") if tag in events.Tags()["scalars"]]
        figure, (axis,) = _figure(8, 2.6)
        for tag, style in zip(tags, ("-", "o-"), strict=False):
            points = events.Scalars(tag)
            axis.plot([p.step for p in points], [p.value for p in points], style, label=tag, linewidth=1, markersize=3)
        axis.set(xlabel="step", ylabel="loss")
        axis.legend(frameon=False)
        curves[kind.upper()] = _svg(figure, kind)
    return curves


def _image(values: np.ndarray, colors: str) -> bytes:
    """WebP of (rows, columns) in [0, 1], the first row below."""
    import matplotlib
    from PIL import Image

    pixels = matplotlib.colormaps[colors](np.clip(values, 0, 1)[::-1], bytes=True)[..., :3]
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "WEBP", quality=60, method=4)
    return out.getvalue()


def spectrogram(samples: np.ndarray) -> bytes:
    """Mel spectrogram of (time,) samples at 16 kHz, a column every 20 ms: WebP."""
    return _image((mel(samples)[:, ::2] - QUIETEST) / (LOUDEST - QUIETEST), "magma")


def code_image(codes: Tensor, codebook_size: int) -> bytes:
    """Codes (time, codebook), a column a frame, the first codebook below, each entry with its colour: WebP."""
    image = codes.numpy().T / codebook_size
    return _image(np.repeat(image, 6, axis=0), "turbo")

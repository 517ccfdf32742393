"""Figures of the report: SVG plots that inherit the page's text color, and images of spectrograms and codes."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from valle.evaluation.metrics import METRICS, estimate
from valle.evaluation.quality import mel
from valle.evaluation.score import Score
from valle.optional import require

# Placeholder that is replaced by the page's text color: matplotlib does not accept "currentColor".
TEXT_COLOR = "#010203"
BLUE = "#3b82f6"
ORANGE = "#f97316"
# Range of the spectrograms' color map, in decibels.
MIN_DECIBELS = -50.0
MAX_DECIBELS = 30.0
MAX_SPEAKERS = 30


def _figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """Return a transparent figure and its axes, side by side; sizes in inches."""
    require("matplotlib", "eval").use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"):
        plt.rcParams[name] = TEXT_COLOR
    figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False)
    figure.patch.set_alpha(0)
    for axis in axes[0]:
        axis.patch.set_alpha(0)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes[0]


def _svg(figure: Any, name: str) -> str:
    """Return a figure as an SVG element and close it."""
    import matplotlib
    import matplotlib.pyplot as plt

    # Element ids must differ between the figures of a page, and be the same in every run.
    matplotlib.rcParams["svg.hashsalt"] = name
    figure.tight_layout()
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :].replace(TEXT_COLOR, "currentColor")


def by_speaker(scores: list[Score]) -> str:
    """Plot WER and SIM-o of each speaker with 95 % intervals, by descending WER.

    Args:
        scores: Scores of one system.

    Returns:
        SVG.
    """
    groups: dict[str, list[Score]] = defaultdict(list)
    for s in scores:
        groups[s.speaker].append(s)
    metrics = [m for m in METRICS if m.name in ("wer", "sim_o")]
    rows = [(name, [estimate(m, own) for m in metrics]) for name, own in groups.items()]
    rows.sort(key=lambda row: row[1][0].value or 0.0, reverse=True)
    # The vertical axis points upwards.
    rows = rows[:MAX_SPEAKERS][::-1]
    figure, axes = _figure(8, 0.7 + 0.24 * len(rows), 2)
    for axis, metric, index in zip(axes, metrics, range(2), strict=True):
        values = np.array([[e.value, e.low, e.high] for e in (row[1][index] for row in rows)], float)
        positions = np.arange(len(rows))
        bounds = np.abs(values[:, 1:] - values[:, :1]).T
        axis.errorbar(values[:, 0], positions, xerr=bounds, fmt="o", color=BLUE, ecolor=BLUE + "80")
        axis.set(xlabel=metric.heading, yticks=positions)
        axis.set_yticklabels([row[0][-24:] for row in rows] if index == 0 else [])
    return _svg(figure, "speakers")


def by_length(scores: list[Score]) -> str:
    """Plot WER by the number of words, also as the mean of each quarter of the utterances, and SIM-o by duration.

    Args:
        scores: Scores of one system.

    Returns:
        SVG.
    """
    figure, (left, right) = _figure(8, 2.8, 2)
    recognized = [s for s in scores if s.wer is not None]
    words = np.array([s.words for s in recognized])
    wer = np.array([s.wer for s in recognized], float)
    left.plot(words, wer, "o", color=BLUE, alpha=0.5, markersize=4, label="utterance")
    quarters = [part for part in np.array_split(np.argsort(words, kind="stable"), 4) if len(part)]
    left.plot(
        [words[part].mean() for part in quarters],
        [wer[part] @ words[part] / max(1, words[part].sum()) for part in quarters],
        "s-",
        color=ORANGE,
        label="quartile of the length",
    )
    left.set(xlabel="words of the text", ylabel="WER", ylim=(0, None))
    left.legend(frameon=False)
    similarity = np.array([[s.seconds, s.sim_o] for s in scores], float).reshape(-1, 2)
    right.plot(similarity[:, 0], similarity[:, 1], "o", color=BLUE, alpha=0.5, markersize=4)
    right.set(xlabel="duration (s)", ylabel="SIM-o")
    return _svg(figure, "lengths")


def training_curves(run: Path) -> dict[str, str]:
    """Plot training and validation losses by step.

    Args:
        run: Run directory.

    Returns:
        SVG by model ("AR", "NAR"), for the models that have TensorBoard logs.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    labels = {"train/loss": "training loss", "valid/loss": "validation loss"}
    curves = {}
    for kind in ("ar", "nar"):
        if not list((run / kind).glob("events*")):
            continue
        events = EventAccumulator(str(run / kind))
        events.Reload()
        tags = [tag for tag in labels if tag in events.Tags()["scalars"]]
        figure, (axis,) = _figure(8, 2.6)
        for tag, style in zip(tags, ("-", "o-"), strict=False):
            points = events.Scalars(tag)
            axis.plot(
                [p.step for p in points], [p.value for p in points], style, label=labels[tag], linewidth=1, markersize=3
            )
        axis.set(xlabel="step", ylabel="loss")
        axis.legend(frameon=False)
        curves[kind.upper()] = _svg(figure, kind)
    return curves


def _image(values: np.ndarray, colors: str) -> bytes:
    """Encode (rows, columns) in [0, 1] as WebP by a color map of matplotlib, the first row at the bottom."""
    import matplotlib
    from PIL import Image

    pixels = matplotlib.colormaps[colors](np.clip(values, 0, 1)[::-1], bytes=True)[..., :3]
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "WEBP", quality=60, method=4)
    return out.getvalue()


def spectrogram(samples: np.ndarray) -> bytes:
    """Return the mel spectrogram of (time,) samples at 16 kHz as WebP, with a column every 20 ms."""
    return _image((mel(samples)[:, ::2] - MIN_DECIBELS) / (MAX_DECIBELS - MIN_DECIBELS), "magma")


def code_image(codes: Tensor, codebook_size: int) -> bytes:
    """Return codes (time, codebook) as WebP: a column per frame, the first codebook at the bottom."""
    image = codes.numpy().T / codebook_size
    return _image(np.repeat(image, 6, axis=0), "turbo")

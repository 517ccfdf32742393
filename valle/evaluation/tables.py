"""Tables of metrics as Markdown, LaTeX and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from valle.evaluation.metrics import METRICS, Estimate, Metric
from valle.evaluation.score import SYSTEM_LABELS
from valle.files import write_text

# Estimates by system and metric.
Summary = dict[str, dict[str, Estimate]]


def measured_metrics(summary: Summary, table: int) -> list[Metric]:
    """Return the metrics of a table (0 or 1) that at least one system has."""
    return [
        metric
        for metric in METRICS
        if metric.table == table and any(row[metric.name].value is not None for row in summary.values())
    ]


def utterance_count(row: dict[str, Estimate]) -> int:
    """Return the number of scored utterances of a system."""
    return max(estimate.count for estimate in row.values())


def smaller_count(row: dict[str, Estimate], metric: Metric) -> str:
    """Return "n = ..." where a metric is over fewer utterances than the system has, else ""."""
    count = row[metric.name].count
    return f"n = {count}" if 0 < count < utterance_count(row) else ""


def markdown(title: str, summary: Summary, notes: Sequence[str] = ()) -> str:
    """Format two Markdown tables with 95 % intervals in brackets, and a list of notes about missing scores."""
    lines = [f"### {title}"]
    for table in (0, 1):
        metrics = measured_metrics(summary, table)
        lines += ["", f"| system | {' | '.join(m.heading for m in metrics)} | utterances |"]
        lines += ["|---" * (len(metrics) + 2) + "|"]
        for system, row in summary.items():
            cells = " | ".join(_cell(row, m) for m in metrics)
            lines.append(f"| {SYSTEM_LABELS[system]} | {cells} | {utterance_count(row)} |")
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def latex(title: str, summary: Summary) -> str:
    """Format the same tables for LaTeX with `booktabs`, intervals in small type."""
    blocks = []
    for table in (0, 1):
        metrics = measured_metrics(summary, table)
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escape(title)}. 95\,\% bootstrap intervals in brackets.}}",
            rf"\begin{{tabular}}{{l{'r' * len(metrics)}}}",
            r"\toprule",
            " & ".join(["system", *(_escape(m.heading) for m in metrics)]) + r" \\",
            r"\midrule",
        ]
        for system, row in summary.items():
            cells = []
            for m in metrics:
                value, _, bounds = _cell(row, m).partition(" ")
                cells.append(_escape(value) + (rf" {{\scriptsize {_escape(bounds)}}}" if bounds else ""))
            lines.append(" & ".join([SYSTEM_LABELS[system], *cells]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        blocks.append("\n".join(lines))
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(blocks) + "\n"


def write_summary(
    path: Path,
    title: str,
    summary: Summary,
    settings: dict[str, Any],
    provenance: dict[str, str],
    notes: Sequence[str] = (),
) -> None:
    """Write a summary as JSON.

    Args:
        path: File.
        title: Title of the report.
        summary: Estimates by system and metric.
        settings: Names or paths of the scoring models, and the selection of candidates.
        provenance: See `valle.evaluation.provenance.provenance`.
        notes: Notes about missing scores.
    """
    table = {system: {name: asdict(e) for name, e in row.items()} for system, row in summary.items()}
    document = {"title": title, "systems": table, "settings": settings, "notes": list(notes), **provenance}
    write_text(path, json.dumps(document, indent=2) + "\n")


def _cell(row: dict[str, Estimate], metric: Metric) -> str:
    """Format a value with its interval, and its number of utterances where it differs from the system's."""
    estimate = row[metric.name]
    if estimate.value is None:
        return ""
    bounds = f"{metric.text(estimate.low)}, {metric.text(estimate.high)}"
    count = smaller_count(row, metric)
    return f"{metric.text(estimate.value)} ({bounds}{'; ' + count if count else ''})"


def _escape(text: str) -> str:
    """Escape the characters of a text that LaTeX interprets."""
    return re.sub(r"([%&#_$])", r"\\\1", text)

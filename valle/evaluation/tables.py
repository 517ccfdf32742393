"""Tables of scores: Markdown, LaTeX, JSON, and the sections of a RESULTS.md."""

from __future__ import annotations

import datetime
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from valle.evaluation.metrics import METRICS, Estimate, Metric
from valle.evaluation.score import NAMES
from valle.files import write_text

Summary = dict[str, dict[str, Estimate]]


def shown(summary: Summary, table: int) -> list[Metric]:
    """The metrics of a table that were measured at all."""
    return [
        metric
        for metric in METRICS
        if metric.table == table and any(row[metric.name].value is not None for row in summary.values())
    ]


def utterances(row: dict[str, Estimate]) -> int:
    """Utterances of a system: the number that most of its metrics are over."""
    return max(estimate.count for estimate in row.values())


def over_fewer(row: dict[str, Estimate], metric: Metric) -> str:
    """The number of utterances of a metric, where it is over fewer of them than the others of its system."""
    count = row[metric.name].count
    return f"n = {count}" if 0 < count < utterances(row) else ""


def _cell(row: dict[str, Estimate], metric: Metric) -> str:
    estimate = row[metric.name]
    if estimate.value is None:
        return ""
    bounds = f"{metric.text(estimate.low)}, {metric.text(estimate.high)}"
    fewer = over_fewer(row, metric)
    return f"{metric.text(estimate.value)} ({bounds}{'; ' + fewer if fewer else ''})"


def markdown(title: str, summary: Summary, notes: Sequence[str] = ()) -> str:
    """Two tables, with the bounds of the 95 % intervals in brackets, then a list of `notes`: what was not scored."""
    lines = [f"### {title}"]
    for table in (0, 1):
        metrics = shown(summary, table)
        lines += ["", f"| speech | {' | '.join(m.heading for m in metrics)} | utterances |"]
        lines += ["|---" * (len(metrics) + 2) + "|"]
        for system, row in summary.items():
            cells = " | ".join(_cell(row, m) for m in metrics)
            lines.append(f"| {NAMES[system]} | {cells} | {utterances(row)} |")
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def latex(title: str, summary: Summary) -> str:
    """The same as `booktabs` tables, intervals small below."""
    blocks = []
    for table in (0, 1):
        metrics = shown(summary, table)
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escape(title)}. 95\,\% bootstrap intervals in brackets.}}",
            rf"\begin{{tabular}}{{l{'r' * len(metrics)}}}",
            r"\toprule",
            " & ".join(["speech", *(_escape(m.heading) for m in metrics)]) + r" \\",
            r"\midrule",
        ]
        for system, row in summary.items():
            cells = []
            for m in metrics:
                value, _, bounds = _cell(row, m).partition(" ")
                cells.append(_escape(value) + (rf" {{\scriptsize {_escape(bounds)}}}" if bounds else ""))
            lines.append(" & ".join([NAMES[system], *cells]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        blocks.append("\n".join(lines))
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(blocks) + "\n"


def _escape(text: str) -> str:
    return re.sub(r"([%&#_$])", r"\\\1", text)


def commit() -> str:
    """The commit of the code that runs, "+" where a file but a RESULTS.md has changed since; the version where it is no
    checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return f"valle {version('valle')}"

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, encoding="utf-8"
        ).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)*RESULTS.md")
    return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


def provenance(recipe: str | None) -> dict[str, str]:
    """What made the numbers: commit, recipe, command, date."""
    arguments = [Path(sys.argv[0]).name, *sys.argv[1:]]
    if "--recipe" in arguments:  # told by itself
        place = arguments.index("--recipe")
        arguments = arguments[:place] + arguments[place + 2 :]
    made = {"commit": commit(), "recipe": recipe or "", "command": shlex.join(arguments)}
    return {**made, "date": datetime.date.today().isoformat()}


def write_summary(
    path: Path,
    title: str,
    summary: Summary,
    settings: dict[str, Any],
    made: dict[str, str],
    notes: Sequence[str] = (),
) -> None:
    """The summary as JSON: system -> metric -> value, bounds, count; `notes`: what was not scored."""
    table = {system: {name: asdict(e) for name, e in row.items()} for system, row in summary.items()}
    document = {"title": title, "systems": table, "settings": settings, "notes": list(notes), **made}
    write_text(path, json.dumps(document, indent=2) + "\n")


def write_results(path: Path, title: str, table: str, made: dict[str, str]) -> None:
    """Put a table, and what made it, into a RESULTS.md: in the place of the one of that title, or at the end."""
    begin, end = f"<!-- valle-eval: {title} -->", "<!-- valle-eval: end -->"
    how = [made["recipe"], made["command"]]
    section = "\n".join(
        [begin, table, f"Commit {made['commit']}, {made['date']}:", "", *(f"    {line}" for line in how if line), end]
    )
    before = path.read_text(encoding="utf-8") if path.is_file() else "# Results\n"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(before):
        text = pattern.sub(lambda _: section, before, count=1)
    else:
        text = before.rstrip("\n") + "\n\n" + section + "\n"
    write_text(path, text)

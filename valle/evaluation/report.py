"""The report: a table of scores, and a page on which every utterance can be heard."""

from __future__ import annotations

import html
import json
import os
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from valle.evaluation.score import SYSTEMS, Pair, Score, summary
from valle.files import write_text

NAMES = {"recording": "recording", "codec": "codec round trip", "synthesized": "synthesized"}
STYLE = (
    "body{font:15px sans-serif;margin:2em;max-width:75em}td,th{padding:.3em .8em;text-align:left;vertical-align:top}"
)


def markdown(title: str, scores: list[Score]) -> str:
    """The table of scores."""
    lines = [
        f"### {title}",
        "",
        "| speech | WER | similarity to the prompt | nearest to its own voice | utterances |",
        "|---|---|---|---|---|",
    ]
    for system, row in summary(scores).items():
        lines.append(
            f"| {NAMES[system]} | {row['wer']:.1%} | {row['similarity']:.3f} | {row['own_voice']:.0%} | "
            f"{row['utterances']} |"
        )
    return "\n".join(lines) + "\n"


def write_report(folder: Path, title: str, items: list[Pair], scores: list[Score]) -> None:
    """Write `report.md`, `scores.json` and `index.html` (with audio beside it) to `folder`."""
    table = markdown(title, scores)
    records = [asdict(s) | {"path": str(s.path)} for s in scores]
    write_text(folder / "scores.json", json.dumps({"summary": summary(scores), "utterances": records}, indent=2) + "\n")
    write_text(folder / "report.md", table)
    prompts = {item.recording.id: item.prompt for item in items}
    rows = []
    for key, group in groupby(scores, key=lambda s: s.id):
        by_system = {s.system: s for s in group}
        first = by_system["recording"]
        cells = [
            f"<td>{html.escape(first.speaker)}<br>{_player(folder, prompts[key])}</td>",
            f"<td>{html.escape(first.text)}</td>",
        ]
        for system in SYSTEMS:
            s = by_system[system]
            heard = f"WER {s.wer:.0%}, similarity {s.similarity:.2f}<br><i>{html.escape(s.heard)}</i>"
            cells.append(f"<td>{_player(folder, s.path)}<br>{heard}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    scores_rows = "".join(
        f"<tr><td>{NAMES[name]}</td><td>{row['wer']:.1%}</td><td>{row['similarity']:.3f}</td>"
        f"<td>{row['own_voice']:.0%}</td><td>{row['utterances']:.0f}</td></tr>"
        for name, row in summary(scores).items()
    )
    heads = "".join(f"<th>{NAMES[system]}</th>" for system in SYSTEMS)
    page = (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
        f"<h1>{html.escape(title)}</h1><table><tr><th>speech<th>WER<th>similarity to the prompt"
        f"<th>nearest to its own voice<th>utterances</tr>{scores_rows}</table>"
        f"<h2>Listen</h2><table><tr><th>voice and prompt</th><th>text</th>{heads}</tr>{''.join(rows)}</table>\n"
    )
    write_text(folder / "index.html", page)


def _player(folder: Path, path: Path) -> str:
    source = html.escape(os.path.relpath(path, folder), quote=True)
    return f'<audio controls preload=none src="{source}"></audio>'

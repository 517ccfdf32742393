"""Provenance of results: commit, recipe, command and date, and tables with them in a RESULTS.md."""

from __future__ import annotations

import datetime
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from valle.files import write_text


def commit() -> str:
    """Return the commit of the running code.

    A "+" follows where a tracked file other than a RESULTS.md has changed since. Outside a checkout it is the version
    of the package.
    """
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
    """Return commit, recipe, command and date of the results of this process."""
    arguments = [Path(sys.argv[0]).name, *sys.argv[1:]]
    # The recipe has an entry of its own.
    if "--recipe" in arguments:
        index = arguments.index("--recipe")
        arguments = arguments[:index] + arguments[index + 2 :]
    return {
        "commit": commit(),
        "recipe": recipe or "",
        "command": shlex.join(arguments),
        "date": datetime.date.today().isoformat(),
    }


def write_results(path: Path, title: str, table: str, provenance: dict[str, str]) -> None:
    """Write a table with its provenance into a RESULTS.md.

    Args:
        path: File; other sections of it stay as they are.
        title: Title of the section. An existing section of the same title is replaced; a new one is appended.
        table: Markdown.
        provenance: Result of `provenance`.
    """
    begin = f"<!-- valle-eval: {title} -->"
    end = "<!-- valle-eval: end -->"
    commands = [f"    {line}" for line in (provenance["recipe"], provenance["command"]) if line]
    heading = f"Commit {provenance['commit']}, {provenance['date']}:"
    section = "\n".join([begin, table, heading, "", *commands, end])
    before = path.read_text(encoding="utf-8") if path.is_file() else "# Results\n"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(before):
        text = pattern.sub(lambda _: section, before, count=1)
    else:
        text = before.rstrip("\n") + "\n\n" + section + "\n"
    write_text(path, text)

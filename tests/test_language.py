"""The language of everything a reader sees: the field's terms, and no private ones."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Words of a private dialect, and the field's terms.
FORBIDDEN = {
    r"misheard|words heard otherwise": "word errors, WER",
    r"\bjudges?\b|\bjudged\b": "metric, scorer, recognizer, speaker encoder",
    r"\b(goes|gone|going) on (from|with|where)\b": "continue, resume",
    r"\bcomes? along\b": "bundled",
    r"\bpart(s|ed|ing)? off\b|\bhold apart\b": "split, hold out",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bend marks?\b": "EOS token",
    r"\bnever heard\b": "unseen",
    r"\bscripts? that (is|are) not kept\b": "only results with a command in the repository",
    r"\bJUDGED\b|\bMOST_POSITIONS\b|\bqueries_keys\b|\bregrouped\b": "see the identifiers of the code",
}
# Where a former word is meant: the tables of former names and their tests, and texts that are read aloud.
EXCEPTIONS = ("valle/aliases.py", "tests/test_aliases.py", "tests/test_language.py", "CHANGELOG.md")
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".sh", ".cpp", ".html", ".toml"}


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = [name for name in listed.stdout.splitlines() if name not in EXCEPTIONS]
    return [path for name in names if (path := ROOT / name).suffix in SUFFIXES and path.is_file()]


@pytest.mark.parametrize("pattern", FORBIDDEN, ids=lambda pattern: pattern.split("|")[0])
def test_no_private_words(pattern: str) -> None:
    word = re.compile(pattern, re.IGNORECASE)
    hits = []
    for path in tracked_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if word.search(line):
                hits.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not hits, f"write {FORBIDDEN[pattern]}:\n" + "\n".join(hits)


def test_files_are_short_or_say_why_not() -> None:
    long = []
    for path in tracked_files():
        if path.suffix != ".py" or "tests" in path.parts:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > 300 and "300 lines" not in "\n".join(lines[:12]):
            long.append(f"{path.relative_to(ROOT)}: {len(lines)} lines")
    assert not long, "\n".join(long)

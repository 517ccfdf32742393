"""Run the Python examples of docs/, check its links and build the site."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
LINKED = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"))]
# A block after this line of a page needs data that the tests do not have: it is compiled only.
NEEDS_DATA = "% needs data\n"


def python_blocks() -> list[object]:
    """The Python blocks of all pages: page, code, and whether the code can be run."""
    blocks = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for number, match in enumerate(re.finditer(r"```python\n(.*?)```", text, re.DOTALL), start=1):
            runnable = not text[: match.start()].endswith(NEEDS_DATA)
            blocks.append(pytest.param(match[1], runnable, id=f"{page.stem}-{number}"))
    return blocks


def check_results(code: str) -> str:
    """Turn each expression with its value in a comment (`normalize("5")  # "five"`) into an assertion."""
    lines = []
    for line in code.splitlines():
        match = re.fullmatch(r"(\S.*?)  # ([\"'].*)", line)
        if match:
            ast.literal_eval(match[2])
            lines.append(f"assert {match[1]} == {match[2]}")
        else:
            lines.append(line)
    return "\n".join(lines)


@pytest.mark.parametrize(("code", "runnable"), python_blocks())
def test_python_examples_run(code: str, runnable: bool, tmp_path: Path) -> None:
    if not runnable:
        compile(code, "docs", "exec")
        return
    program = check_results(code)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        # `[word](/IPA/)` is a mark of the text, not a link.
        if "://" in target or re.fullmatch(r"/[^/]+/", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, target


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines()
    pages = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not page.startswith("_build")} - {"index"} <= set(index)


def test_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("furo")
    pytest.importorskip("myst_parser")
    arguments = ["-q", "-W", "--keep-going", "-b", "html", "-d", tmp_path / "trees", ROOT / "docs", tmp_path / "html"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "synthesize" in (tmp_path / "html" / "api" / "valle.html").read_text(encoding="utf-8")

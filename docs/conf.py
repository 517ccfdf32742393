"""Settings of the documentation site: `make docs` builds it into docs/_build/html."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

project = "valle"
author = "The valle authors"
release = "0.1.0"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "valle"

# Headings are link targets, so that pages can link to sections of one another.
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
# Without this, undocumented overrides show the docstrings of Lightning and torch.
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Warns", "returns_style")]
# Docstrings mark code with single backquotes, as Markdown does.
default_role = "code"


def link_repository_files(app: Sphinx, docname: str, source: list[str]) -> None:
    """Turn links to Markdown files outside docs/ into links to copies of the files.

    MyST takes every link to a .md file for a page of the site. Plain relative links also work where the repository is
    browsed. A file that does not exist is a warning.
    """
    depth = docname.count("/") + 1
    up = "../" * depth
    source[0] = re.sub(rf"\]\({re.escape(up)}([\w/.-]+\.md)(#[\w-]+)?\)", rf"](path:{up}\1)", source[0])


def setup(app: Sphinx) -> None:
    """Register the hook for links."""
    app.connect("source-read", link_repository_files)

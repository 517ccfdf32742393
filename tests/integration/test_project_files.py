"""CITATION.cff, the workflows, the hooks and the issue templates are valid and name what the repository has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import valle
from tests.conftest import ROOT

TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def workflow_commands() -> list[str]:
    """The shell commands of all workflows."""
    commands = []
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        for job in read_yaml(path)["jobs"].values():
            commands += [step["run"] for step in job["steps"] if "run" in step]
    return commands


def test_citation_has_the_required_fields_and_both_papers() -> None:
    citation = read_yaml(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == valle.__version__
    assert citation["license"] == "Apache-2.0"
    identifiers = [reference["identifiers"][0]["value"] for reference in citation["references"]]
    assert identifiers == ["arXiv:2301.02111", "arXiv:2406.05370"]
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(reference)
        assert all(author["family-names"] and author["given-names"] for author in reference["authors"])


def test_versions_agree() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{valle.__version__}"' in project
    assert f"## [{valle.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f'release = "{valle.__version__}"' in (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")


def test_workflows_run_targets_of_the_makefile() -> None:
    used = {match for line in workflow_commands() for match in re.findall(r"\bmake ([a-z]+)", line)}
    assert {"test", "docs"} <= used <= TARGETS


def test_workflow_covers_the_oldest_supported_python() -> None:
    matrix = read_yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (oldest,) = re.findall(r'requires-python = ">=([\d.]+)"', project)
    assert matrix["python"] == [oldest, "3.13"]


def test_hooks_run_the_tools_of_make_lint() -> None:
    (repository,) = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    tools = {hook["entry"].split()[0] for hook in repository["hooks"]}
    lint = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nlint:")[1].split("\n\n")[0]
    assert tools == {f".venv/bin/{tool}" for tool in re.findall(r"\$\(BIN\)/(\w+)", lint)}


@pytest.mark.parametrize("name", ["bug_report.yml", "feature_request.yml"])
def test_issue_templates_have_questions(name: str) -> None:
    template = read_yaml(ROOT / ".github" / "ISSUE_TEMPLATE" / name)
    assert {"name", "description", "body"} <= set(template)
    assert all(question["attributes"]["label"] for question in template["body"])

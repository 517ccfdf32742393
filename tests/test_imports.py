"""What imports what: layers, public names, and what a user who only synthesizes loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import valle
from tests.conftest import ROOT

PACKAGE = ROOT / "valle"
# Layers from the bottom up. A module imports modules of lower layers, and of its own package.
LAYERS = [
    {"errors"},
    {"files", "optional", "devices", "aliases", "initialization", "streamed_headers"},
    {"audio_writer"},
    {"audio", "time_stretch"},
    {"text", "codec", "models"},
    {"extensions", "tasks"},
    {"checkpoint"},
    {"data"},
    {"generation"},
    {"synthesis", "training", "evaluation", "export"},
    {"serving"},
    {"cli"},
]
# Packages that nobody who only synthesizes should wait for: those of the extras, and Lightning.
HEAVY = (
    "jsonargparse",
    "lhotse",
    "librosa",
    "lightning",
    "matplotlib",
    "pandas",
    "rich",
    "scipy",
    "tensorboard",
    "tokenizers",
    "transformers",
    "urllib3",
    "wetext",
)


def layer(name: str) -> int:
    """Index of the layer of a part of the package."""
    found = [index for index, parts in enumerate(LAYERS) if name in parts]
    assert found, f"valle/{name} belongs to no layer: add it to LAYERS"
    return found[0]


def imported_parts(path: Path) -> set[str]:
    """Parts of the package that a file imports, also inside of functions."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "valle":
            parts |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("valle."):
            parts.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            parts |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("valle.")}
    return parts


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    upward = {other for other in imported_parts(path) - {part} if layer(other) >= layer(part)}
    assert not upward, f"valle/{part} imports {', '.join(sorted(upward))}"


def test_models_are_pure_torch() -> None:
    for path in (PACKAGE / "models").glob("*.py"):
        assert imported_parts(path) <= {"models"}, path.name


def test_public_names_exist() -> None:
    for name in valle.__all__:
        assert getattr(valle, name) is not None
    assert (PACKAGE / "py.typed").is_file()
    with pytest.raises(AttributeError, match="speak"):
        valle.speak  # noqa: B018


def modules_after(code: str) -> set[str]:
    """Top-level packages that a fresh process has imported after some code."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.splitlines()[-1].split())


def third_party_after(code: str) -> set[str]:
    """Packages beside the standard library and this one that some code imports."""
    return modules_after(code) - modules_after("") - sys.stdlib_module_names - {"valle"}


def test_import_valle_imports_nothing_else() -> None:
    assert not third_party_after("import valle")


@pytest.mark.parametrize("command", ["eval", "export", "prepare", "serve", "synth", "tokenize", "voice"])
def test_help_imports_only_the_standard_library(command: str) -> None:
    code = f"import contextlib, sys; from valle.cli.{command} import main; sys.argv[1:] = ['--help']\n"
    assert not third_party_after(f"{code}with contextlib.suppress(SystemExit):\n    main()")


def test_synthesis_imports_nothing_that_only_training_or_scoring_needs() -> None:
    code = "import valle\ntts = valle.load('small')\ntts.synthesize('Hello.', attempts=1)"
    modules = modules_after(code)
    assert not set(HEAVY) & modules
    assert "torchaudio" not in modules or "torchaudio" in modules_after("import torchaudio")

"""Optional packages and stand-ins for them."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT
from valle.errors import UserError
from valle.optional import require, stand_ins


def test_missing_package_is_one_line_that_names_the_extra() -> None:
    with pytest.raises(UserError, match=r"no_such_package is not installed; .*valle\[eval\]"):
        require("no_such_package.part", "eval")


@pytest.mark.parametrize(
    ("command", "package", "arguments"),
    [
        ("train", "jsonargparse", ["fit", "--config", "recipe.yaml"]),
        ("tokenize", "lhotse", ["data", "dump"]),
        ("prepare", "lhotse", ["ljspeech", ".", "data"]),
        ("synth", "rich", ["--data", "data", "--output-dir", "out"]),
    ],
)
def test_command_without_the_extra_is_one_line_and_writes_nothing(
    command: str, package: str, arguments: list[str], tmp_path: Path
) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; sys.argv[0] = 'valle-{command}'\n"
    code += f"from valle.cli.{command} import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        f"valle-{command}: {package} is not installed; install it with: pip install 'valle[train]'\n"
    )
    assert not list(tmp_path.iterdir())


def test_scoring_without_the_extra_is_one_line(tmp_path: Path) -> None:
    code = "import sys; sys.modules['rich'] = None; sys.argv[0] = 'valle-eval'\nfrom valle.cli.eval import main; main()"
    arguments = [sys.executable, "-c", code, "data", "wavs", "report"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "valle-eval: rich is not installed; install it with: pip install 'valle[eval]'\n"


def test_extras_have_the_packages_that_are_required_of_them() -> None:
    """Compare pyproject.toml with every `require(module, extra)` of the package."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = dict(
        re.findall(r"^(\w+) = \[\n(.*?)^\]", project.partition("[project.optional-dependencies]")[2], re.M | re.S)
    )
    installed_by_others = {"librosa": "resemblyzer", "multipart": "python-multipart"}
    required = set()
    for path in (ROOT / "valle").rglob("*.py"):
        required |= set(re.findall(r'require\("([\w.]+)", (?:extra=)?"(\w+)"\)', path.read_text(encoding="utf-8")))
    assert ("jsonargparse", "train") in required
    for module, extra in required:
        package = module.partition(".")[0]
        distribution = installed_by_others.get(package, package).replace("_", "-")
        assert re.search(rf'^ *"{distribution}\b', extras[extra], re.M), f"{package} is not in the extra {extra}"


def test_stand_ins_replace_a_whole_package_and_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real_package").mkdir()
    (tmp_path / "real_package" / "__init__.py").write_text("kind = 'real'\n")
    (tmp_path / "real_package" / "part.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("real_package.part")
    real = {name: sys.modules[name] for name in ("real_package", "real_package.part")}

    def fail_to_import() -> None:
        with stand_ins({"real_package": ModuleType("real_package")}):
            assert not hasattr(sys.modules["real_package"], "kind")
            assert "real_package.part" not in sys.modules
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_to_import()
    assert {name: sys.modules[name] for name in real} == real
    for name in real:
        del sys.modules[name]


def test_modules_imported_from_a_stand_in_are_removed(tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text("value = 7\n")
    package = ModuleType("stand_in_package")
    package.__path__ = [str(tmp_path)]
    with stand_ins({"stand_in_package": package}):
        assert importlib.import_module("stand_in_package.inner").value == 7
    assert not [name for name in sys.modules if name.startswith("stand_in_package")]

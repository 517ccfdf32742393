"""Optional packages and stand-ins for them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from valle.errors import UserError
from valle.optional import require, stand_ins


def test_missing_package_is_one_line_that_names_the_extra() -> None:
    with pytest.raises(UserError, match=r"no_such_package is not installed; .*valle\[eval\]"):
        require("no_such_package.part", "eval")


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

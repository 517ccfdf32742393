"""Packages that are installed with an extra, and stand-ins for packages that need not be installed."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

from valle.errors import UserError

_lock = threading.RLock()


def require(module: str, extra: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: Name of the module, as in `import`.
        extra: Extra of valle that installs it.

    Returns:
        The module.

    Raises:
        UserError: It, or a package that it imports, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = (error.name or module).partition(".")[0]
        raise UserError(f"{package} is not installed; install it with: pip install 'valle[{extra}]'") from error


@contextmanager
def stand_ins(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """Put modules into `sys.modules` while a third-party package that imports them is imported.

    Some packages import others at their top for functions that are not used here. Inside of the block the given
    modules take the place of the whole packages that they belong to; at its end every module of these packages is as
    it was before, so that no other code meets a stand-in. A lock keeps two threads from replacing modules at once.

    Args:
        modules: Modules by their full names.
    """
    packages = {name.partition(".")[0] for name in modules}

    def remove() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] in packages]
        return {name: sys.modules.pop(name) for name in names}

    with _lock:
        before = remove()
        sys.modules.update(modules)
        try:
            yield
        finally:
            remove()
            sys.modules.update(before)

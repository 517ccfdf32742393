"""Packages that are installed with an extra, imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from valle.errors import UserError


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

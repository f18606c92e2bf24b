"""Optional dependencies: the only place that imports what `pip install semihmm` does not bring."""

from importlib import import_module
from typing import Any

from semihmm.errors import DependencyError


def require(module: str, *, extra: str, purpose: str) -> Any:
    """Import a module that belongs to one of semihmm's extras.

    Args:
        module: what to import, e.g. ``"soundfile"`` or ``"matplotlib.pyplot"``.
        extra: the extra in ``pyproject.toml`` that installs it.
        purpose: what the caller needs it for; begins the error message, e.g. ``"Reading audio files"``.
    Returns:
        The module; typed ``Any``, since most of these packages carry no types.
    Raises:
        DependencyError: the module, or the package that holds it, is not installed.
        Exception: whatever an installed but broken module raises when it is imported, unchanged. That covers
            a module which itself misses one of *its* dependencies: installing our extra would not mend it.
    Example:
        >>> require("math", extra="speech", purpose="Rounding").floor(1.5)
        1
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise DependencyError(
            f"{purpose} needs the Python package '{error.name}', which is not installed. "
            f"Install it with:\n    pip install 'semihmm[{extra}]'"
        ) from error

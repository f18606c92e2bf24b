"""Who does the arithmetic. A backend never changes a result beyond rounding; it is chosen here and nowhere else."""

from typing import Literal

import torch

from semihmm.errors import SemihmmError

__all__ = ["Backend", "backend_for", "backends"]

Backend = Literal["torch"]


def backends() -> dict[str, str]:
    """The backends that are loaded, and why each one is or is not.

    Example:
        >>> backends()["torch"]
        'loaded: every semiring, every map, every device'
    """
    return {"torch": "loaded: every semiring, every map, every device"}


def backend_for(device: torch.device, name: str | None) -> Backend:
    """The backend a call runs on: the one named, or the fastest one for the device.

    Example:
        >>> backend_for(torch.device("cpu"), None)
        'torch'
    """
    if name is not None and name not in backends():
        raise SemihmmError(f"backend must be one of {', '.join(backends())}, got {name!r}.")
    return "torch"

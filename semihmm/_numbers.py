"""Numbers as callers give them, refused by name where they are none or lie outside."""

from __future__ import annotations

import math
from operator import index
from typing import Any

import torch
from torch import Tensor

from semihmm.errors import DataError


def whole(owner: str, name: str, value: Any, least: float = -(2**63), most: float = 2**63 - 1) -> int:
    """An integer of any type, as int.

    Example:
        >>> whole("Mine", "count", 1.5, 1)
        Traceback (most recent call last):
        semihmm.errors.DataError: Mine: count must be an integer of 1 or more, got 1.5.
    """
    try:
        found = None if isinstance(value, bool) else index(value)
    except (TypeError, RuntimeError, ValueError):
        found = None
    if found is None or not least <= found <= most:
        raise DataError(f"{owner}: {name} must be an integer{_bounds(least, most, 2**62)}, got {value!r}.")
    return found


def check_real(
    owner: str,
    name: str,
    value: Any,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: float = -math.inf,
    hint: str = "",
) -> None:
    """Refuse what is no number, is not finite, or lies outside of ``least <= value <= most`` or not ``above``.

    Example:
        >>> check_real("Mine", "scale", math.nan, 0)
        Traceback (most recent call last):
        semihmm.errors.DataError: Mine: scale must be a finite number of 0 or more, got nan.
    """
    try:
        sparse = isinstance(value, Tensor) and value.layout != torch.strided
        found = math.nan if sparse or isinstance(value, str | bytes) else float(value)
    except (TypeError, RuntimeError, ValueError, OverflowError):
        found = math.nan
    if not (math.isfinite(found) and least <= found <= most and found > above):
        bounds = f" above {above}" if above > -math.inf else _bounds(least, most, math.inf)
        raise DataError(f"{owner}: {name} must be a finite number{bounds}, got {value!r}.{hint}")


def check_flag(owner: str, name: str, value: object) -> None:
    """Refuse what is neither True nor False.

    Example:
        >>> check_flag("Mine", "normalised", 3)
        Traceback (most recent call last):
        semihmm.errors.DataError: Mine: normalised must be True or False, got 3.
    """
    if not isinstance(value, bool):
        raise DataError(f"{owner}: {name} must be True or False, got {value!r}.")


def check_values(owner: str, name: str, x: Any) -> None:
    """Refuse what is no tensor, or one whose numbers are not there to be read, one after the other.

    Example:
        >>> check_values("Mine", "log_probs", torch.zeros(2, device="meta"))
        Traceback (most recent call last):
        semihmm.errors.DataError: Mine: log_probs are on the meta device, and have no values.
    """
    if not isinstance(x, Tensor):
        raise DataError(f"{owner}: {name} must be a tensor, got {type(x).__name__}.")
    if x.is_meta:
        raise DataError(f"{owner}: {name} are on the meta device, and have no values.")
    if x.layout != torch.strided:
        raise DataError(f"{owner}: {name} must be dense, got {x.layout}. Pass {name}.to_dense().")


def _bounds(least: float, most: float, beyond: float) -> str:
    if most < beyond and least <= -beyond:
        return f" of {most} or less"
    if most < beyond:
        return f" from {least} to {most}"
    return f" of {least} or more" if least > -beyond else ""

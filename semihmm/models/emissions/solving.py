"""Roots of functions that fall, entry by entry."""

from collections.abc import Callable

import torch
from torch import Tensor

_STEPS = 100
_CLOSE = 1e-14


def root(function: Callable[[Tensor], tuple[Tensor, Tensor]], low: Tensor, high: Tensor) -> Tensor:
    """Where a falling function is 0, or the end of ``[low, high]`` that is nearer to it.

    Newton's method inside a bracket, which is halved where a step would leave it.

    Args:
        function: from points to values and slopes there, each in the shape of ``low`` and ``high``.
    """
    at = (low + high) / 2
    for _ in range(_STEPS):
        value, slope = function(at)
        low, high = torch.where(value >= 0, at, low), torch.where(value <= 0, at, high)
        newton = at - value / slope
        after = torch.where((newton > low) & (newton < high), newton, (low + high) / 2)
        close = (after - at).abs() <= _CLOSE * at.abs().clamp(min=1.0)
        at = after
        if bool(close.all()):
            break
    return at

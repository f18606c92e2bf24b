"""Whether results are the reference's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from _case import Case, Results


class Disagrees(Exception):
    """Results that are not the reference's."""


def compared(case: Case, results: Results) -> dict[str, np.ndarray]:
    """What the case compares, as arrays; integers stay integers."""
    seen = case.view(results)
    missing = set(case.tolerance) - set(seen)
    if missing:
        raise Disagrees(f"no {', '.join(sorted(missing))} among its results")
    return {name: array(seen[name]) for name in case.tolerance}


def array(x: Any) -> np.ndarray:
    """A tensor, an array, or numbers as an array."""
    return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def disagreement(
    mine: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], tolerance: Mapping[str, float]
) -> float:
    """The largest error of all results, as a share of the largest entry.

    Raises:
        Disagrees: a shape differs, or an entry is further off than its tolerance; NaN is.
    """
    worst = 0.0
    for name, expected in reference.items():
        got = mine[name]
        if got.shape != expected.shape:
            raise Disagrees(f"{name} is {got.shape}, the reference's {expected.shape}")
        # In pieces: a float64 copy of all posteriors of a large case would be gigabytes.
        error = scale = 0.0
        for a, b in zip(pieces(got), pieces(expected), strict=True):
            same = a == b  # equal infinities have no difference
            off = np.where(same, 0.0, np.abs(np.subtract(a, b, dtype=np.float64, where=~same, out=np.zeros(a.shape))))
            error = float("nan") if np.isnan(off).any() or error != error else max(error, float(off.max(initial=0.0)))
            scale = max(scale, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
        error /= scale or 1.0
        if not error <= tolerance[name]:
            raise Disagrees(f"{name} is off by {error:.2g}, more than {tolerance[name]:.0e}")
        worst = max(worst, error)
    return worst


def pieces(x: np.ndarray) -> Iterable[np.ndarray]:
    """A flat array, a few megabytes at a time."""
    flat = x.reshape(-1)
    return (flat[i : i + 2**20] for i in range(0, len(flat), 2**20))

"""What two series cost at least: found in a fraction of the time, so that most of a search need not be warped."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from semihmm.errors import StructureError
from semihmm.structures.authoring import until
from semihmm.warping.series import Metric, Series, collection, compatible, root

SMALL = 1 << 14  # numbers that lie in a near cache, and that PyTorch asks no threads for


def lb_kim(x: Any, y: Any, *, metric: Metric = "squared") -> Tensor:
    """LB_Kim of all pairs ``(A, B)``: what the first items and the last ones cost (Rakthanmanon et al. 2012).

    A distance as of `cdist`, which is no less: every path from end to end pays for both, in any window and with any
    step pattern whose steps count at least once.

    Args:
        x, y: series, as of `cdist`.
        metric: ``"squared"``, ``"euclidean"`` or ``"manhattan"``.

    Example:
        >>> lb_kim([[0.0, 5.0, 1.0]], [[3.0, 0.0, 5.0]]).tolist()
        [[5.0]]
    """
    a, b = compatible("lb_kim", collection("lb_kim", "x", x), collection("lb_kim", "y", y))
    return _distance(kim(a, b, metric), metric)


def kim(a: Series, b: Series, metric: Metric) -> Tensor:
    """LB_Kim as a cost."""
    first = a.items[:, None, 0] - b.items[None, :, 0]
    end_a, end_b = (s.items[torch.arange(len(s.items), device=s.items.device), s.sizes - 1] for s in (a, b))
    last = _apart(end_a[:, None] - end_b, metric)
    single = (a.sizes[:, None] == 1) & (b.sizes == 1)  # then both are one pair
    return _apart(first, metric) + torch.where(single, 0.0, last)


def lb_keogh(x: Any, y: Any, *, window: int | None = None, metric: Metric = "squared") -> Tensor:
    """LB_Keogh of all pairs ``(A, B)``: what it costs to bring each item of ``x`` into the envelope of ``y``.

    The envelope spans what lies in the window around each item (Keogh & Ratanamahatana 2005); of several features, it
    is a box. A distance as of `cdist`, which is no less in that window, with any step pattern whose steps count at
    least once and skip no item of ``x``.

    Args:
        x, y: series, as of `cdist`.
        window: as of `cdist`, an int of at least 0; None for all of ``y``.
        metric: ``"squared"``, ``"euclidean"`` or ``"manhattan"``.

    Example:
        >>> lb_keogh([[0.0, 5.0, 1.0]], [[1.0, 0.0, 3.0]], window=1).tolist()
        [[2.0]]
    """
    a, b = compatible("lb_keogh", collection("lb_keogh", "x", x), collection("lb_keogh", "y", y))
    if window is not None and (isinstance(window, bool) or not isinstance(window, int | np.integer) or window < 0):
        raise StructureError(
            f"lb_keogh: window must be an int of at least 0, or None, got {window!r}. Another kind of "
            "window? Pass the greatest |i - j| in it."
        )
    return _distance(keogh(a, b, window, metric), metric)


def keogh(a: Series, b: Series, window: int | None, metric: Metric) -> Tensor:
    """LB_Keogh as a cost."""
    used = until(a.lengths, a.items.shape[-2], rank=2)
    few = max(SMALL // a.items[0].numel(), 1)
    parts = []
    for items, sizes in zip(b.items.split(few), b.sizes.split(few), strict=True):
        low, high = envelope(Series(items, None if b.lengths is None else sizes), a.items.shape[-2], window)
        rows = []
        for k, series in enumerate(a.items):
            outside = (series - high).clamp(min=0) + (low - series).clamp(min=0)
            rows.append(_apart(outside if used is None else torch.where(used[k], outside, 0.0), metric).sum(-1))
        parts.append(torch.stack(rows))
    return torch.cat(parts, -1)


def envelope(y: Series, items: int, window: int | None) -> tuple[Tensor, Tensor]:
    """The least and the greatest item of each series that each of so many items may lie on, ``(B, items or 1, F)``.

    Where there is none, infinity and -infinity: nothing may.

    Example:
        >>> low, high = envelope(Series(torch.tensor([[[1.0], [4.0], [2.0]]]), None), 3, window=1)
        >>> low.flatten().tolist(), high.flatten().tolist()
        ([1.0, 1.0, 2.0], [4.0, 4.0, 4.0])
    """
    used = until(y.lengths, y.items.shape[-2], rank=2)
    low = y.items if used is None else torch.where(used, y.items, torch.inf)
    high = y.items if used is None else torch.where(used, y.items, -torch.inf)
    if window is None or window >= max(items, y.items.shape[-2]):
        return low.amin(-2, keepdim=True), high.amax(-2, keepdim=True)
    return -_greatest(-low, items, window), _greatest(high, items, window)


def _greatest(x: Tensor, items: int, window: int) -> Tensor:
    """Of all ``window`` places to the left and to the right, in log(window) steps."""
    behind = max(items + window - x.shape[-2], 0)
    found = torch.nn.functional.pad(x, (0, 0, window, behind), value=-torch.inf)[..., : items + 2 * window, :]
    width = 1
    while width < 2 * window + 1:  # each place spans `width` from itself on
        step = min(width, 2 * window + 1 - width)
        found = torch.maximum(found[..., : found.shape[-2] - step, :], found[..., step:, :])
        width += step
    return found


def _distance(cost: Tensor, metric: Metric) -> Tensor:
    return root(cost) if metric == "squared" else cost


def _apart(difference: Tensor, metric: Metric) -> Tensor:
    """What items cost that lie so far apart."""
    if not (isinstance(metric, str) and metric in ("squared", "euclidean", "manhattan")):
        raise StructureError(f"a lower bound knows the metrics squared, euclidean and manhattan, got {metric!r}.")
    if metric == "manhattan":
        return difference.abs().sum(-1)
    squared = difference.square().sum(-1)
    return squared if metric == "squared" else root(squared)

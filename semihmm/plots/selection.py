"""How a criterion chose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from semihmm.errors import ShapeError
from semihmm.models import Selection
from semihmm.plots.drawing import BEST, axes_for, ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def selection(
    values: Mapping[int, float] | Selection[Any],
    chosen: int | None = None,
    *,
    criterion: str = "criterion",
    size: str = "number of states",
    ax: Axes | None = None,
) -> Axes:
    """A criterion over the sizes of models, with the chosen one marked.

    Args:
        values: ``{size: criterion}``; one that is not finite is left out. Or what `semihmm.models.select` returned.
        chosen: the size that was chosen; None for the one with the least value, as BIC, AIC and ICL have it.
        criterion: its name, with its unit.
        size: what the sizes are.
        ax: where to draw.
    Raises:
        ShapeError: no finite value, or none for the chosen size.
        DependencyError: matplotlib is not installed.

    Example:
        >>> ax = selection({2: 410.0, 3: 305.5, 4: 312.0}, criterion="BIC")
        >>> ax.lines[-1].get_xydata().tolist()
        [[3.0, 305.5]]
    """
    if isinstance(values, Selection):
        chosen = values.chosen if chosen is None else chosen
        criterion = values.criterion if criterion == "criterion" else criterion
        values = values.values
    finite = {n: float(values[n]) for n in sorted(values) if math.isfinite(values[n])}
    chosen = min(finite, key=finite.__getitem__, default=None) if chosen is None else chosen
    if chosen is None or chosen not in finite:
        raise ShapeError(f"selection: values must hold a finite one for the chosen size {chosen}, got {dict(values)}.")
    ax = axes_for(ax, 5.4, 2.6)
    ax.plot(list(finite), list(finite.values()), "o-", color=ink(ax), linewidth=1.0, markersize=4)
    ax.plot(chosen, finite[chosen], "o", color=BEST, markersize=11, fillstyle="none", markeredgewidth=2)
    look: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "color": BEST, "weight": "bold"}
    ax.annotate(f"{chosen}", (chosen, finite[chosen]), (0, 12), **look)
    ax.margins(y=0.2)
    ax.set_xticks(list(finite))
    ax.set_xlabel(size)
    ax.set_ylabel(criterion)
    return ax

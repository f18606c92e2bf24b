"""How fits went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from semihmm.errors import ShapeError
from semihmm.models import Fit
from semihmm.plots.drawing import BEST, OTHERS, axes_for, numbers, outside

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def histories(fits: Fit | Sequence[Fit | Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """The objective of one or several fits, iteration by iteration; the one that ends highest stands out.

    Args:
        fits: what `semihmm.models.Model.fit` returned, of each restart; or histories of the objective. A ring at the
            end says that a fit was ended before it converged.
        ax: where to draw.
    Raises:
        ShapeError: no fit, or one without an iteration or with an objective that is not finite.
        DependencyError: matplotlib is not installed.

    Example:
        >>> ax = histories([[-9.0, -5.0, -4.0], [-8.0, -7.0]])
        >>> [line.get_label() for line in ax.lines]
        ['the best of 2', 'others']
    """
    several = [fits] if isinstance(fits, Fit) else list(fits)
    given = (fit.history if isinstance(fit, Fit) else fit for fit in several)
    lines = [numbers("histories", "each of fits", history, "iterations") for history in given]
    if not lines or not all(line.isfinite().all() for line in lines):
        raise ShapeError(f"histories: fits must be at least one, with finite objectives, got {several}.")
    ax, best = axes_for(ax), max(range(len(lines)), key=lambda at: float(lines[at][-1]))
    for at in sorted(range(len(lines)), key=lambda at: at != best):
        fit, first = several[at], at == best
        look: dict[str, Any] = {"color": BEST if first else OTHERS, "linewidth": 1.8 if first else 1.0}
        look |= {"marker": "o", "markersize": 5, "markevery": [-1], "zorder": 3 if first else 2}
        look |= {"fillstyle": "none" if isinstance(fit, Fit) and not fit.converged else "full"}
        ax.plot(lines[at].numpy(), label=f"the best of {len(lines)}" if first else "others", **look)
    ax.set_xlabel("iteration")
    ax.set_ylabel("objective (nats)")
    ax.locator_params(axis="x", integer=True)
    if len(lines) > 1:
        outside(ax, handles=ax.lines[:2])
    return ax

"""Data over time, on bands that say in which state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from semihmm.errors import ShapeError
from semihmm.plots.drawing import axes_for, bands, colours, ink, legend, names_for, numbers, one_sequence, over_time
from semihmm.structures.authoring import tensor_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def timeline(
    x: Tensor,
    states: Tensor,
    *,
    names: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Observations over time; behind them, the state of each step as a colour.

    Args:
        x: ``(T,)`` or ``(T, F)``. Several features lie one above the other, each scaled to its own range. NaN is a gap.
        states: ``(T,)``, as `semihmm.models.Model.predict` returns them: -1 where there is none, and after the end,
            which is where the picture ends.
        names: of the states.
        features: the names of the features, or of x itself.
        ax: where to draw.
    Raises:
        ShapeError: not one sequence, not as many states as observations, too few names.
        DependencyError: matplotlib is not installed.

    Example:
        >>> ax = timeline(torch.tensor([0.1, 0.0, 2.0, 1.9]), torch.tensor([0, 0, 1, 1]), names=["low", "high"])
        >>> len(ax.collections[0].get_paths())  # bands
        2
    """
    x, states, given = tensor_of("timeline", "x", x), one_sequence("timeline", states), len(states)
    x = numbers("timeline", "x", x, "T") if x.ndim == 1 else numbers("timeline", "x", x, "T", "F")
    if len(x) != given:
        raise ShapeError(f"timeline: x has {len(x)} steps, so states must have as many, got {given}.")
    x = x[: len(states)].double()
    names = names_for("timeline", names, int(states.max()) + 1)
    titles = names_for("timeline", features or (None if x.ndim == 2 else ["x"]), x[0].numel(), "features")
    ax, shades = axes_for(ax), colours(len(names))
    bands(ax, states, shades, transform=ax.get_xaxis_transform(), alpha=0.4, zorder=0)
    look = {"color": ink(ax), "linewidth": 0.8}
    if x[0].numel() == 1:
        ax.plot(x.flatten().numpy(), **look)
        ax.set_ylabel(titles[0])
    else:
        for row, feature in enumerate(x.T):
            seen = feature[feature.isfinite()]
            low, high = (seen.min(), seen.max()) if len(seen) else (0.0, 0.0)
            ax.plot((-row - 0.4 + 0.8 * (feature - low) / (high - low if high > low else 1.0)).numpy(), **look)
        ax.set_yticks(range(0, -x.shape[1], -1), titles[: x.shape[1]])
        ax.set_ylim(0.5 - x.shape[1], 0.5)
        ax.tick_params(axis="y", length=0)
    over_time(ax, len(states))
    legend(ax, shades, names, shown=states[states >= 0].unique().tolist())
    return ax

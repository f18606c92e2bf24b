"""How probable each state is, over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from semihmm.errors import ShapeError
from semihmm.plots.drawing import (
    axes_for,
    block_means,
    check_probabilities,
    colours,
    heat,
    legend,
    names_for,
    numbers,
    over_time,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def posteriors(
    probabilities: Tensor,
    *,
    kind: Literal["area", "heat"] = "area",
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The posterior probability of each state at each step.

    Args:
        probabilities: ``(T, S)``, as `semihmm.models.Model.predict_proba` returns them: rows sum to 1, and to 0 after
            the end, which is where the picture ends. For `semihmm.filtering` and `semihmm.smoothing`, ``.exp()``.
        kind: ``"area"`` stacks them to a height of 1; ``"heat"`` gives each state a row, the first on top. Of more
            than 1000 steps, the means of blocks are drawn.
        names: of the states.
        ax: where to draw.
    Raises:
        ShapeError: not ``(T, S)``, another kind, too few names.
        DataError: a row sums to something else: log-probabilities, for example.
        DependencyError: matplotlib is not installed.

    Example:
        >>> ax = posteriors(torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]), names=["low", "high"])
        >>> ax.get_xlim() == (-0.5, 2.5)
        True
    """
    x = numbers("posteriors", "probabilities", probabilities, "T", "S")
    check_probabilities("posteriors", "probabilities", x)
    if kind not in ("area", "heat") or not x.any():
        raise ShapeError(f"posteriors: kind must be 'area' or 'heat', and one row at least not 0, got {kind!r}.")
    x = x[: int(x.any(-1).nonzero().max()) + 1]
    steps, states = x.shape
    names = names_for("posteriors", names, states)[:states]
    ax, shades = axes_for(ax, height=2.6 if kind == "area" else max(1.8, 0.8 + 0.2 * states)), colours(states)
    if kind == "heat":
        heat(ax, x.T, "posterior probability", vmin=0.0, vmax=1.0)
        ax.set_yticks(range(states), names)
        ax.set_ylabel("state")
    else:
        means, size = block_means(x, 0)
        middle = (torch.arange(len(means)) * size + (size - 1) / 2).clamp(max=steps - 1)
        ax.stackplot(middle.numpy(), means.T.numpy(), colors=shades, linewidth=0)
        ax.set_ylim(0.0, 1.0)
        ax.set_ylabel("posterior probability")
        legend(ax, shades, names)
    over_time(ax, steps)
    return ax

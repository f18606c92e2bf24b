"""How probable each state is, over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from semihmm.errors import ShapeError
from semihmm.plots.drawing import axes_for, check_probabilities, colours, legend, names_for, numbers, over_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 2000  # that an area is drawn through: more would not be seen


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
        kind: ``"area"`` stacks them to a height of 1 (of more than 2000 steps, the means of as many blocks);
            ``"heat"`` gives each state a row, the first on top.
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
    ax = axes_for(ax, height=2.6 if kind == "area" else max(1.8, 0.8 + 0.2 * states))
    if kind == "heat":
        image = ax.imshow(
            x.T.numpy(), aspect="auto", vmin=0.0, vmax=1.0, extent=(-0.5, steps - 0.5, states - 0.5, -0.5)
        )
        ax.set_yticks(range(states), names)
        ax.set_ylabel("state")
        ax.figure.colorbar(image, ax=ax, label="posterior probability", pad=0.02)
    else:
        blocks = x.double().chunk(_POINTS)
        heights = torch.stack([block.mean(0) for block in blocks], -1)
        ends = torch.tensor([0, *(len(block) for block in blocks)]).cumsum(0)
        shades = colours(states)
        ax.stackplot(((ends[:-1] + ends[1:] - 1) / 2).numpy(), heights.numpy(), colors=shades, linewidth=0)
        ax.set_ylim(0.0, 1.0)
        ax.set_ylabel("posterior probability")
        legend(ax, shades, names)
    over_time(ax, steps)
    return ax

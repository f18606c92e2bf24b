"""Observations in two dimensions, coloured by state, and the Gaussians that stand for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from semihmm.errors import ShapeError, StructureError
from semihmm.models import Emission, Gaussian
from semihmm.plots.drawing import axes_for, check_states, colours, ink, legend, names_for, part
from semihmm.structures.authoring import tensor_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def scatter(
    x: Tensor,
    states: Tensor,
    emission: Emission | None = None,
    *,
    columns: tuple[int, int] = (0, 1),
    names: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Observations as points, coloured by state; for Gaussians, the ellipses of one and two standard deviations.

    Args:
        x: ``(..., T, F)``, any number of sequences.
        states: ``(..., T)``; an observation without one (-1) is left out.
        emission: a `Gaussian`, such as ``model.emission``.
        columns: the two features to draw.
        names: of the states.
        features: the names of all F features.
        ax: where to draw.
    Raises:
        ShapeError: x and states do not fit, there is no such feature, too few names.
        StructureError: an emission that is not Gaussian.
        DependencyError: matplotlib is not installed.

    Example:
        >>> ax = scatter(torch.randn(9, 2), torch.arange(9) % 3)
        >>> len(ax.lines), ax.get_xlabel()  # one cloud a state
        (3, 'feature 0')
    """
    x, states = tensor_of("scatter", "x", x).detach().cpu(), check_states("scatter", states)
    if x.ndim < 2 or x.shape[:-1] != states.shape or not all(0 <= column < x.shape[-1] for column in columns):
        raise ShapeError(
            f"scatter: x must be (..., T, F), states (..., T), and columns two of the F; got {tuple(x.shape)}, "
            f"{tuple(states.shape)} and {columns}. One feature? Draw it with timeline."
        )
    gaussians = None if emission is None else _gaussians(emission, list(columns))
    names = names_for("scatter", names, max(int(states.max()) + 1, 0 if gaussians is None else len(gaussians[0])))
    titles = [f"feature {n}" for n in range(x.shape[-1])] if features is None else features
    titles = names_for("scatter", titles, x.shape[-1], "features")
    ax, shades = axes_for(ax, 5.6, 4.2), colours(len(names))
    x = x[..., list(columns)]
    for state in range(len(names)):
        cloud = x[states == state]
        ax.plot(*cloud.T.numpy(), ".", color=shades[state], markersize=4, alpha=0.6, markeredgewidth=0)
    if gaussians is not None:
        for mean, covariance in zip(*gaussians, strict=True):
            size, direction = torch.linalg.eigh(covariance)
            angle = float(torch.rad2deg(torch.atan2(direction[1, 1], direction[0, 1])))
            for deviations in (1, 2):
                height, width = (2 * deviations * size.clamp(min=0).sqrt()).tolist()
                look = {"fill": False, "edgecolor": ink(ax), "linewidth": 1.2 if deviations == 1 else 0.7}
                ax.add_patch(part("patches").Ellipse(mean.tolist(), width, height, angle=angle, **look))
    ax.set_xlabel(titles[columns[0]])
    ax.set_ylabel(titles[columns[1]])
    legend(ax, shades, names)
    return ax


def _gaussians(emission: Emission, columns: list[int]) -> tuple[Tensor, Tensor]:
    """Means ``(S, 2)`` and covariances ``(S, 2, 2)``."""
    if not isinstance(emission, Gaussian):
        raise StructureError(
            f"scatter: emission must be a Gaussian, whose ellipses are drawn, got {type(emission).__name__}. Leave it "
            "out."
        )
    mean, covariance = emission.mean.detach().cpu().double(), emission.covariance().detach().cpu().double()
    return mean[:, columns], covariance[:, columns][:, :, columns]

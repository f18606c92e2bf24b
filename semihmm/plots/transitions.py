"""Which state follows which, as a graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from semihmm.errors import ShapeError, StructureError
from semihmm.inference import filtering
from semihmm.models import HMM, HSMM, Model
from semihmm.plots.drawing import axes_for, casing, check_probabilities, colours, ink, names_for, numbers, part

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LABELS = 20  # of transitions to other states


def transitions(
    model: Model[Any] | Tensor,
    occupancy: Tensor | None = None,
    *,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The graph of transitions: the wider an arrow, the more probable; none where the probability is 0.

    Args:
        model: an `semihmm.models.HMM` or `semihmm.models.HSMM`, or probabilities ``(S, S)``, ``[from, to]``.
        occupancy: how much of the time is spent in each state ``(S,)``, in any unit, as the area of its node:
            ``model.predict_proba(x).mean(0)``. None for equal ones.
        names: of the states.
        ax: where to draw.
    Raises:
        ShapeError: another shape, too few names.
        DataError: rows of the matrix do not sum to 1 (or 0).
        StructureError: a model that is neither.
        DependencyError: matplotlib is not installed.

    Staying has its probability written beside it; so have all transitions, if there are no more than twenty.

    Example:
        >>> ax = transitions(torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]]))
        >>> sorted(patch.get_gid() for patch in ax.patches if patch.get_gid())
        ['0->0', '0->1', '1->1', '1->2', '2->2']
    """
    matrix = transition_matrix(model) if isinstance(model, Model) else model
    matrix = numbers("transitions", "model", matrix, "S", "S")
    states = len(matrix)
    if matrix.shape != (states, states):
        raise ShapeError(f"transitions: model must be a model or a matrix (S, S), got {tuple(matrix.shape)}.")
    check_probabilities("transitions", "model", matrix)
    share = torch.ones(states) if occupancy is None else numbers("transitions", "occupancy", occupancy, "S")
    if len(share) != states or not (share >= 0).all() or not share.any():
        raise ShapeError(f"transitions: occupancy must be {states} numbers of at least 0, got {share.tolist()}.")
    names = names_for("transitions", names, states)
    ax, shades = axes_for(ax, 5.4, 5.0), colours(states)
    turn = 2 * math.pi / states * torch.arange(states)
    outward = torch.stack([turn.sin(), turn.cos()], -1).double()  # clockwise, from the top
    place = outward * (states > 1)
    largest = min(0.22, 0.6 * math.sin(math.pi / states)) if states > 1 else 0.22
    radius = largest * (0.15 + 0.85 * share.double() / share.max()).sqrt()
    labelled = len((matrix - matrix.diagonal().diag()).nonzero()) <= _MOST_LABELS
    for source, target in matrix.nonzero().tolist():
        chance = float(matrix[source, target])
        if source == target:
            curve, beside = _loop(place[source], outward[source], radius[source])
        else:
            curve, beside = _arc(place[source], place[target], radius[source], radius[target])
        look = {"color": shades[source], "linewidth": 0.5 + 3 * chance, "alpha": 0.35 + 0.65 * chance}
        head = {"arrowstyle": "-|>", "mutation_scale": 7 + 6 * chance, "capstyle": "butt", "joinstyle": "miter"}
        arrow = part("patches").FancyArrowPatch(path=curve, fill=True, **head, **look)
        arrow.set_gid(f"{source}->{target}")
        ax.add_patch(arrow)
        if labelled or source == target:
            _write(ax, beside, f"{chance:.3g}", fontsize=8)
    for state in range(states):
        look = {"facecolor": shades[state], "zorder": 3}
        ax.add_patch(part("patches").Circle(place[state].tolist(), float(radius[state]), **look))
        _write(ax, place[state], names[state], fontsize=9, zorder=4)
    reach = (states > 1) + 4.4 * largest
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.axis("off")
    return ax


def transition_matrix(model: Model[Any]) -> Tensor:
    """Probabilities ``(S, S)``, ``[from, to]``, of a model whose transitions nothing observed changes.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> transition_matrix(HMM(2, Gaussian(2, features=1), offsets=(0, 1))).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
    """
    with torch.no_grad():
        like, states = next(model.parameters()), model.states
        silent = model.structure(like.new_zeros(2, states))
        if isinstance(model, HSMM):
            matrix: Tensor = silent.transition.exp()
            return matrix
        if not isinstance(model, HMM):
            raise StructureError(
                f"{type(model).__name__}: only the transitions of an HMM or HSMM are a graph of states."
            )
        # Where one is after a step from each state.
        started = silent.replace(initial=torch.eye(states).to(like).log(), emission=like.new_zeros(states, 2, states))
        return filtering(started)[:, 1].exp()


def _arc(start: Tensor, end: Tensor, leaving: Tensor, arriving: Tensor) -> tuple[Any, Tensor]:
    """A bent line from circle to circle, and its middle."""
    across = torch.stack([start[1] - end[1], end[0] - start[0]])
    bend = (start + end) / 2 + 0.18 * across
    first = start + leaving * torch.nn.functional.normalize(bend - start, dim=0)
    last = end + arriving * torch.nn.functional.normalize(bend - end, dim=0)
    curve = part("path").Path([x.tolist() for x in (first, bend, last)], [1, 3, 3])
    return curve, (first + 2 * bend + last) / 4


def _loop(centre: Tensor, outward: Tensor, radius: Tensor) -> tuple[Any, Tensor]:
    """A loop on the outer side of a circle, and the place beyond it."""
    across = torch.stack([outward[1], -outward[0]])
    corners = ((0.9, -0.44), (3.0, -1.3), (3.0, 1.3), (0.9, 0.44))
    points = [centre + radius * (out * outward + side * across) for out, side in corners]
    curve = part("path").Path([x.tolist() for x in points], [1, 4, 4, 4])
    return curve, centre + (2.55 * radius + 0.09 + 0.08 * outward[0].abs()) * outward


def _write(ax: Axes, place: Tensor, text: str, **look: Any) -> None:
    x, y = place.tolist()
    ax.text(x, y, text, ha="center", va="center", color=ink(ax), path_effects=casing(ax), **look)

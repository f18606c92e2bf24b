"""What is aligned with what: costs or posteriors as a heat map, and the path through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from semihmm.errors import ShapeError
from semihmm.inference import Paths
from semihmm.plots.drawing import BEST, axes_for, heat, names_for, numbers, part
from semihmm.structures import CTC
from semihmm.structures.authoring import tensor_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def alignment(
    matrix: Tensor,
    path: Paths | Tensor | None = None,
    *,
    label: str = "",
    axis_labels: tuple[str, str] = ("step", ""),
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A matrix of costs or posteriors as a heat map, with a path on top.

    Args:
        matrix: ``(N, M)``: the first axis runs to the right, the second upward. The ``cost`` of a DTW, or ``emission``
            of the `semihmm.marginals` of a CTC or a monotonic alignment. Cut padding off.
        path: pairs ``(L, 2)``, as `semihmm.viterbi` finds them in a DTW, or one of the M for each of the N, ``(N,)``;
            or what `semihmm.viterbi` returned for a DTW, a CTC (its tokens are drawn) or a monotonic alignment. -1
            where there is none.
        label: what the matrix holds, with its unit.
        axis_labels: what its two axes are.
        names: of the M, if there are so few that they should be written.
        ax: where to draw.
    Raises:
        ShapeError: not a matrix, not a path through it, too few names.
        DependencyError: matplotlib is not installed.

    Example:
        >>> dtw = semihmm.DTW(torch.tensor([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0]]))
        >>> ax = alignment(dtw.cost, semihmm.viterbi(dtw), label="cost")
        >>> ax.lines[0].get_xydata().tolist()
        [[0.0, 0.0], [1.0, 1.0], [1.0, 2.0]]
    """
    matrix = numbers("alignment", "matrix", matrix, "N", "M")
    line, per_step = (None, False) if path is None else _line(path, *matrix.shape)
    if line is not None and per_step:
        matrix = matrix[: len(line)]
    ax = axes_for(ax, 6.0, 3.4)
    heat(ax, matrix.T, label)
    ax.invert_yaxis()
    if line is not None:
        cased = [part("patheffects").withStroke(linewidth=3.5, foreground="white", alpha=0.8)]
        drawn = "steps-mid" if per_step else "default"
        ax.plot(*line.T.numpy(), color=BEST, linewidth=1.8, path_effects=cased, drawstyle=drawn)
    if names is not None:
        rows = matrix.shape[1]
        ax.set_yticks(range(rows), names_for("alignment", names, rows, "rows")[:rows])
    ax.set_xlabel(axis_labels[0])
    ax.set_ylabel(axis_labels[1])
    return ax


def _line(path: Paths | Tensor, width: int, height: int) -> tuple[Tensor, bool]:
    """The points of the line ``(L, 2)``, and whether there is one for each step: NaN then where it is interrupted."""
    if isinstance(path, Paths):
        path = path.states if isinstance(path.structure, CTC) else path.event
    found = tensor_of("alignment", "path", path).detach().cpu()
    given, per_step = tuple(found.shape), found.ndim == 1
    if per_step:
        found = torch.stack([torch.arange(len(found)), found], -1)
    fits = found.ndim == 2 and found.shape[1] == 2 and not found.is_floating_point()
    real = found[(found >= 0).all(-1)] if fits else found
    if not fits or not len(real) or (real >= torch.tensor([width, height])).any():
        raise ShapeError(
            f"alignment: path must be pairs (L, 2) of an index below {width} and one below {height}, or "
            f"({width},) of the latter, got {given}. One picture shows one sequence."
        )
    if per_step:
        found = found[: int(real[-1, 0]) + 1]
        return torch.where(found >= 0, found.double(), torch.nan), True
    return real, False

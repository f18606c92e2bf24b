"""The k best paths, and what they disagree on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from semihmm.errors import ShapeError
from semihmm.inference import Paths, log_partition
from semihmm.plots.drawing import axes_for, bands, colours, legend, names_for, over_time
from semihmm.structures import HSMM

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def k_best(paths: Paths, *, names: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """The k best paths as rows of states, the best on top; in the others, what the best one says too is faded.

    Where two segments of one state meet in an HSMM, a thin line stands between them.

    Args:
        paths: what `semihmm.topk` (or `semihmm.sample`) returned for one sequence. Those that are not valid are left
            out. Beside each, its probability, given the observations.
        names: of the states.
        ax: where to draw.
    Raises:
        ShapeError: paths of a batch, or none; too few names.
        StructureError: a structure whose paths have no state at each step.
        DependencyError: matplotlib is not installed.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.tensor([[0.0, 9.0], [0.0, 0.0]]))
        >>> ax = k_best(semihmm.topk(hmm, 2))
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['0.5', '0.5']
    """
    if paths.score.ndim != 1 or not paths.valid.any():
        raise ShapeError(
            f"k_best: paths must be those of one sequence, (k, T), and one at least valid, got scores "
            f"{tuple(paths.score.shape)}. One picture shows one sequence: ask topk of a structure without a batch."
        )
    with torch.no_grad():
        log_prob = (paths.score - log_partition(paths.structure))[paths.valid].tolist()
    states = paths.states[paths.valid].cpu()
    states = states[:, : int((states >= 0).any(0).nonzero().max()) + 1]
    names = names_for("k_best", names, int(states.max()) + 1)
    ax, shades = axes_for(ax, height=max(2.6, 1.0 + 0.24 * len(states))), colours(len(names))
    full_and_faded = np.concatenate([shades, shades * [1.0, 1.0, 1.0, 0.25]])
    for row, path in enumerate(states):
        agrees = (path == states[0]) & (path >= 0) & (row > 0)
        bands(ax, path + len(names) * agrees, full_and_faded, bottom=row - 0.42, height=0.84)
    if isinstance(paths.structure, HSMM):
        state, start, _ = paths.event[paths.valid].cpu().unbind(-1)
        rows, at = ((state[:, 1:] >= 0) & (state[:, 1:] == state[:, :-1])).nonzero(as_tuple=True)
        place = (start[rows, at + 1] - 0.5).numpy()
        ax.vlines(place, rows.numpy() - 0.42, rows.numpy() + 0.42, colors=[ax.get_facecolor()], linewidths=1.0)
    chances = [f"{math.exp(x):.2g}" if x > -9 else f"exp({x:.4g})" for x in log_prob]
    ax.set_yticks(range(len(states)), chances)
    ax.set_ylim(len(states) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.set_ylabel("probability of the path")
    over_time(ax, states.shape[1])
    legend(ax, shades, names, shown=states[states >= 0].unique().tolist())
    return ax

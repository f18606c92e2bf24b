"""How long each state lasts: its law, and the segments that were found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from semihmm import structures
from semihmm.errors import ShapeError
from semihmm.inference import Paths
from semihmm.models import HSMM, Model
from semihmm.plots.drawing import axes_for, check_probabilities, check_states, colours, ink, names_for, numbers
from semihmm.plots.transitions import transition_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 60
_HORIZON = 1000  # of a geometric law, which has no end


def durations(
    law: Model[Any] | Tensor,
    found: Paths | Tensor | None = None,
    *,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The law of each state's duration as a line, on the histogram of the segments that were found.

    Args:
        law: an `semihmm.models.HSMM`; an `semihmm.models.HMM`, whose law is geometric; or probabilities of 1 to D steps
            ``(S, D)``.
        found: what `semihmm.models.Model.decode` or `semihmm.sample` returned, or states ``(..., T)``, -1 after the
            end. Their segments are all counted, also those that an end of the sequence cuts short.
        names: of the states.
        ax: where to draw.
    Raises:
        ShapeError: another shape, a state that has no law, too few names.
        DataError: the law's rows do not sum to 1.
        DependencyError: matplotlib is not installed.

    Each state has a row of its own, scaled to its highest value; all end where 99.5 % of each law and all segments lie.
    More than 60 lengths are put together in bins, the law's probabilities like the segments.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> ax = durations(HMM(2, Gaussian(2, features=1)), torch.tensor([0, 0, 1, 1, 1, 0, -1]))
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['0 (n = 2)', '1 (n = 1)']
    """
    state, length = segments(found) if found is not None else (torch.zeros(0).long(),) * 2
    longest = int(length.max()) if len(length) else 1
    probability = _law(law, longest)
    states = len(probability)
    if len(state) and int(state.max()) >= states:
        raise ShapeError(f"durations: law is of {states} states, so found must be of as many, got {int(state.max())}.")
    names = names_for("durations", names, states)
    most = max(longest, int((probability.cumsum(-1) < 0.995).sum(-1).max()) + 1)
    width = -(-most // _BINS)
    bins = -(-most // width)
    shown = probability[:, :most]
    expected = torch.zeros(states, bins).double().index_add(1, torch.arange(shown.shape[1]) // width, shown)
    count = torch.bincount(state * bins + (length - 1) // width, minlength=states * bins).unflatten(0, (states, bins))
    total = count.sum(-1, keepdim=True)
    share = count / total.clamp(min=1)
    scale = 0.85 / torch.maximum(expected, share).amax(-1, keepdim=True).clamp(min=1e-12)
    level = -torch.arange(states).unsqueeze(-1)
    ax, shades = axes_for(ax, height=max(1.6, 0.9 + (0.6 if states <= 8 else 0.35) * states)), colours(states)
    edges = (torch.arange(bins + 1) * width + 0.5).numpy()
    for at, (bars, line) in enumerate(zip(level + scale * share, level + scale * expected, strict=True)):
        ax.stairs(bars.numpy(), edges, baseline=-at, fill=True, color=shades[at], alpha=0.55)
        ax.stairs(line.numpy(), edges, baseline=-at, color=ink(ax), linewidth=1.0)
    if found is not None:
        names = [f"{name} (n = {int(n)})" for name, n in zip(names, total, strict=False)]
    ax.set_yticks(range(0, -states, -1), names[:states], va="bottom")
    ax.tick_params(axis="y", length=0)
    ax.set(xlim=(edges[0], edges[-1]), ylim=(0.95 - states, 1.0), xlabel="duration (steps)")
    return ax


def segments(found: Paths | Tensor) -> tuple[Tensor, Tensor]:
    """The state and the number of steps of each segment ``(N,)``, of all sequences.

    Example:
        >>> segments(torch.tensor([[1, 1, 0], [1, -1, -1]]))
        (tensor([1, 0, 1]), tensor([2, 1, 1]))
    """
    if isinstance(found, Paths) and isinstance(found.structure, structures.HSMM):
        event = found.event.cpu().flatten(0, -2)
        event = event[event[:, 0] >= 0]
        return event[:, 0], event[:, 2]
    states = check_states("durations", found.states if isinstance(found, Paths) else found)
    apart = torch.nn.functional.pad(states, (0, 1), value=-1).flatten()  # sequences do not run into each other
    state, length = apart.unique_consecutive(return_counts=True)
    return state[state >= 0], length[state >= 0]


def _law(law: Model[Any] | Tensor, longest: int) -> Tensor:
    """Probabilities of 1 to D steps ``(S, D)``, float64."""
    if isinstance(law, Model) and not isinstance(law, HSMM):
        stay = transition_matrix(law).diagonal().double().cpu().unsqueeze(-1)
        return stay ** torch.arange(max(longest, _HORIZON)) * (1 - stay)
    probability = law.duration().exp() if isinstance(law, HSMM) else law
    probability = numbers("durations", "law", probability, "S", "D").double()
    check_probabilities("durations", "law", probability)
    return probability

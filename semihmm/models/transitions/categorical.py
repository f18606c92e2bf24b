"""Any transition probabilities, the same at every step."""

from __future__ import annotations

from collections.abc import Sequence

from semihmm.models.table import Table
from semihmm.models.topology import Allowed, Arcs
from semihmm.models.transitions.base import Transition, transitions


class Categorical(Table, Transition):
    """Each state has a distribution over those that follow it (Rabiner 1989).

    Args:
        states: S.
        allowed: which transitions there are, bool ``(S, S)``, ``[from, to]``; None for all.
        offsets: instead, the only distances from a state to the next: ``(0, 1)`` goes left to right. S K of work per
            step for K of them.
        arcs: instead, the only transitions, ``(source, target)``, int64 ``(A,)`` each. A of work per step.
        pseudo_count: what EM adds to the count of each transition (a Dirichlet prior).

    Example:
        >>> law = Categorical(2, allowed=[[True, True], [False, True]])
        >>> law.update(torch.tensor([[3.0, 1.0], [0.0, 2.0]]))
        >>> law().exp().tolist()
        [[0.75, 0.25], [0.0, 1.0]]
    """

    def __init__(
        self,
        states: int,
        *,
        allowed: Allowed | None = None,
        offsets: Sequence[int] | None = None,
        arcs: Arcs | Sequence[Sequence[int]] | None = None,
        pseudo_count: float = 0.0,
    ) -> None:
        ends = transitions(states, allowed, offsets, arcs)
        super().__init__(ends[0], ends[2], pseudo_count)
        self.place(states, ends, offsets)

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, **self.topology, "pseudo_count": self.pseudo_count}

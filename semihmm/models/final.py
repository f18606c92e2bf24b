"""In which states sequences end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from semihmm.errors import ShapeError
from semihmm.models.table import Table
from semihmm.models.transitions import Transition


class Final(Table):
    """Each state has a chance to be the last; else, what follows is as the transition law says.

    `forward` gives the log-probabilities of ending and of going on, ``(S, 2)``. With it, a model is a distribution over
    sequences of every length, and knows in which states they end.

    Args:
        transition: what follows.
        states: those that a sequence may end in.
        pseudo_count: what EM adds to the count of each ending and of each going on.

    Example:
        >>> final = Final(semihmm.models.transitions.Categorical(2), states=[1])
        >>> final().exp().tolist()
        [[0.0, 1.0], [0.5, 0.5]]
    """

    def __init__(self, transition: Transition, states: Sequence[int], pseudo_count: float = 0.0) -> None:
        count = transition.states
        if not states or min(states) < 0 or max(states) >= count:
            raise ShapeError(f"final must name at least one of the states 0 to {count - 1}, got {list(states)}.")
        allowed = torch.zeros(count, 2, dtype=torch.bool)
        allowed[list(states), 0] = True
        allowed[:, 1] = transition.leaving(transition.allowed.double()) > 0
        super().__init__(torch.arange(count).unsqueeze(-1).expand(-1, 2), allowed, pseudo_count)

    def split(self, own: Tensor, transition: Tensor, law: Transition) -> tuple[Tensor, Tensor]:
        """The structure's transition and final log-weights, given what this law and the transition's say."""
        end, on = own.unbind(-1)
        varying = transition.ndim > on.ndim - 1 + law.source.ndim
        on = (on.unsqueeze(-2) if varying else on)[..., law.source]
        return transition + on, end

    def counted(self, final: Tensor, transition: Tensor, law: Transition) -> Tensor:
        """How often each state was the last, and was not, ``(..., S, 2)``."""
        on = law.leaving(transition)
        while on.ndim > final.ndim:  # sequences and steps that share this law
            on = on.sum(-2) if on.ndim == transition.ndim - law.source.ndim + 1 else on.sum(0)
        return torch.stack([final, on.sum_to_size(final.shape)], -1)

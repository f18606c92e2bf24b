"""Hidden Markov models."""

from collections.abc import Sequence

import torch
from torch import Tensor

from semihmm import structures
from semihmm.errors import ShapeError
from semihmm.models.base import Model
from semihmm.models.emissions import Emission
from semihmm.models.part import Law, Part
from semihmm.models.table import Table
from semihmm.models.topology import Allowed, Arcs, banded, dense, first_states, sparse


class HMM(Model[structures.HMM]):
    """A hidden Markov model: initial states, transitions, and an emission (Rabiner 1989).

    Args:
        states: S.
        emission: how likely each observation is in each state.
        allowed: which transitions there are, bool ``(S, S)``, ``[from, to]``; None for all.
        offsets: instead, the only distances from a state to the next: ``(0, 1)`` goes left to right. S K of work per
            step for K of them.
        arcs: instead, the only transitions, ``(source, target)``, int64 ``(A,)`` each. A of work per step.
        start: the states that a sequence may begin in; None for all.
        initial_pseudo_count: what EM adds to the count of each first state (a Dirichlet prior).
        transition_pseudo_count: what EM adds to the count of each transition.

    ``model(x, lengths)`` is a `semihmm.HMM`.

    Example:
        >>> from semihmm.models import Gaussian
        >>> g = torch.Generator().manual_seed(0)
        >>> x = torch.cat([torch.zeros(50, 1), torch.full((50, 1), 9.0)]) + torch.randn(100, 1, generator=g)
        >>> model = HMM(states=2, emission=Gaussian(2, features=1), offsets=(0, 1), start=[0])
        >>> fit = model.fit(x, generator=g)
        >>> model.predict(x).bincount().tolist()
        [50, 50]
    """

    target: Tensor

    def __init__(
        self,
        states: int,
        emission: Emission,
        *,
        allowed: Allowed | None = None,
        offsets: Sequence[int] | None = None,
        arcs: Arcs | Sequence[Sequence[int]] | None = None,
        start: Sequence[int] | None = None,
        initial_pseudo_count: float = 0.0,
        transition_pseudo_count: float = 0.0,
    ) -> None:
        super().__init__()
        if (allowed is not None) + (offsets is not None) + (arcs is not None) > 1:
            raise ShapeError("HMM: give one of allowed, offsets and arcs: each says which transitions there are.")
        self.states, self.emission, self.sparse = states, emission, arcs is not None
        self.offsets = None if offsets is None else tuple(offsets)
        if arcs is not None:
            source, target, real = sparse(states, arcs)
        else:
            source, target, real = dense(states, allowed) if offsets is None else banded(states, offsets)
        self.forward_only = bool((target >= source)[real].all())
        self.initial = Table(torch.zeros(states, dtype=torch.int64), first_states(states, start), initial_pseudo_count)
        self.transition = Table(source, real, transition_pseudo_count)
        self.register_buffer("target", target.clone(), persistent=False)

    @property
    def laws(self) -> dict[str, Law]:
        return {"initial": self.initial, "transition": self.transition}

    @property
    def parts(self) -> dict[str, Part]:
        return {"emission": self.emission}

    @property
    def config(self) -> dict[str, object]:
        plain = not self.sparse and self.offsets is None
        return {
            "states": self.states,
            "allowed": self.transition.allowed.tolist() if plain else None,
            "offsets": None if self.offsets is None else list(self.offsets),
            "arcs": [self.transition.group.tolist(), self.target.tolist()] if self.sparse else None,
            "start": self.initial.allowed.nonzero().flatten().tolist(),
            "initial_pseudo_count": self.initial.pseudo_count,
            "transition_pseudo_count": self.transition.pseudo_count,
        }

    def structure(self, emission: Tensor, lengths: Tensor | None = None) -> structures.HMM:
        return structures.HMM(
            self.initial(),
            self.transition(),
            emission,
            lengths=lengths,
            arcs=(self.transition.group, self.target) if self.sparse else None,
            offsets=self.offsets,
        )

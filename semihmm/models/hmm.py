"""Hidden Markov models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from semihmm import structures
from semihmm.models.emissions import Emission
from semihmm.models.forecasting import Ahead, after_hmm
from semihmm.models.markov import Markov
from semihmm.models.sequences import Batch
from semihmm.models.topology import Allowed, Arcs
from semihmm.models.transitions import Transition


class HMM(Markov[structures.HMM]):
    """A hidden Markov model: initial states, transitions, and an emission (Rabiner 1989).

    Args:
        states: S.
        emission: how likely each observation is in each state.
        allowed: which transitions there are, bool ``(S, S)``, ``[from, to]``; None for all.
        offsets: instead, the only distances from a state to the next: ``(0, 1)`` goes left to right. S K of work per
            step for K of them.
        arcs: instead, the only transitions, ``(source, target)``, int64 ``(A,)`` each. A of work per step.
        transition: instead of these three, a law: see `semihmm.models.transitions`.
        start: the states that a sequence may begin in; None for all. ``"stationary"`` if the chain has run for ever
            before: the first state has the distribution that the transitions leave as it is (Zucchini & MacDonald
            2009), and no parameters of its own.
        final: the states that a sequence may end in, each with a chance of its own to be the last, which is learnt;
            None where sequences just stop, and their likelihood says nothing of how long they are.
        initial_pseudo_count: what EM adds to the count of each first state (a Dirichlet prior): one number, or
            one for each.
        transition_pseudo_count: what it adds to the count of each transition: one number, or one for each.

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

    def __init__(
        self,
        states: int,
        emission: Emission,
        *,
        allowed: Allowed | None = None,
        offsets: Sequence[int] | None = None,
        arcs: Arcs | Sequence[Sequence[int]] | None = None,
        transition: Transition | None = None,
        start: Sequence[int] | Literal["stationary"] | None = None,
        final: Sequence[int] | None = None,
        initial_pseudo_count: float | Tensor | Sequence[float] = 0.0,
        transition_pseudo_count: float | Tensor | Sequence[Any] = 0.0,
    ) -> None:
        super().__init__(
            states,
            emission,
            allowed=allowed,
            offsets=offsets,
            arcs=arcs,
            transition=transition,
            start=start,
            final=final,
            initial_pseudo_count=initial_pseudo_count,
            transition_pseudo_count=transition_pseudo_count,
        )

    def _matrix(self) -> Tensor:
        return self.transition.matrix()

    def endless(self, structure: structures.HMM) -> structures.HMM:
        return replace(structure, final=None)

    def following(self, structure: structures.HMM, batch: Batch, steps: int) -> Ahead:
        law = self.transition
        return after_hmm(structure, steps, law.source, law.target, torch.arange(self.states, device=law.source.device))

    def structure(
        self, emission: Tensor, lengths: Tensor | None = None, laws: Mapping[str, Tensor] | None = None
    ) -> structures.HMM:
        laws = self.potentials() if laws is None else laws
        transition, final = self.steps(laws)
        return structures.HMM(
            laws["initial"],
            transition,
            emission,
            final,
            lengths=lengths,
            arcs=self.transition.arcs,
            offsets=self.transition.offsets,
        )

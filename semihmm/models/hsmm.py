"""Hidden semi-Markov models."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from semihmm import structures
from semihmm.errors import ShapeError
from semihmm.models.base import Model
from semihmm.models.durations import Duration
from semihmm.models.emissions import Emission
from semihmm.models.part import Law, Part
from semihmm.models.table import Table
from semihmm.models.topology import Allowed, dense, first_states


class HSMM(Model[structures.HSMM]):
    """A hidden semi-Markov model: as an HMM, but each state lasts as long as its duration law says (Yu 2010).

    Args:
        states: S.
        emission: how likely each observation is in each state.
        duration: how likely each state is to last 1 to D steps.
        allowed: which state may follow which, bool ``(S, S)``, ``[from, to]``; None for every other one (the state
            itself too if it is the only one).
        start: the states that a sequence may begin in; None for all.
        censored: which ends of a sequence cut a segment short: see `semihmm.HSMM`. A sequence that just stops is
            ``"right"`` censored; its likelihood is then that of the model without a word on how long sequences are.
        initial_pseudo_count: what EM adds to the count of each first state (a Dirichlet prior).
        transition_pseudo_count: what EM adds to the count of each transition.

    ``model(x, lengths)`` is a `semihmm.HSMM`.

    Example:
        >>> from semihmm.models import Gaussian, durations
        >>> model = HSMM(2, emission=Gaussian(2, features=1), duration=durations.Poisson(2, max_duration=20))
        >>> model.sample(30).x.shape
        torch.Size([30, 1])
    """

    def __init__(
        self,
        states: int,
        emission: Emission,
        duration: Duration,
        *,
        allowed: Allowed | None = None,
        start: Sequence[int] | None = None,
        censored: Literal["none", "left", "right", "both"] = "none",
        initial_pseudo_count: float = 0.0,
        transition_pseudo_count: float = 0.0,
    ) -> None:
        super().__init__()
        if duration.states != states:
            raise ShapeError(f"HSMM: states is {states}, so duration must be a law for as many, got {duration.states}.")
        if allowed is None and states > 1:
            allowed = ~torch.eye(states, dtype=torch.bool)
        source, target, real = dense(states, allowed)
        self.states, self.emission, self.duration, self.censored = states, emission, duration, censored
        self.forward_only = bool((target >= source)[real].all())
        self.initial = Table(torch.zeros(states, dtype=torch.int64), first_states(states, start), initial_pseudo_count)
        self.transition = Table(source, real, transition_pseudo_count)

    @property
    def laws(self) -> dict[str, Law]:
        return {"initial": self.initial, "transition": self.transition, "duration": self.duration}

    @property
    def parts(self) -> dict[str, Part]:
        return {"emission": self.emission, "duration": self.duration}

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "allowed": self.transition.allowed.tolist(),
            "start": self.initial.allowed.nonzero().flatten().tolist(),
            "censored": self.censored,
            "initial_pseudo_count": self.initial.pseudo_count,
            "transition_pseudo_count": self.transition.pseudo_count,
        }

    def structure(self, emission: Tensor, lengths: Tensor | None = None) -> structures.HSMM:
        return structures.HSMM(
            self.initial(),
            self.transition(),
            self.duration(),
            emission,
            lengths=lengths,
            censored=self.censored,
        )

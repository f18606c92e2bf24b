"""Chains that have run for ever before the first step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from semihmm.errors import StructureError
from semihmm.models.describing import stationary
from semihmm.models.part import Driven, Law, trained
from semihmm.models.progress import Snapshot
from semihmm.models.transitions import Transition

_TRIES = 10
_NEVER = 1e-14  # a share of the time that rounding explains


class Stationary(Law):
    """The first state has the distribution that the transitions leave as it is (Zucchini & MacDonald 2009, ch. 1).

    Its parameters are those of the transitions, and so it learns with them: `learn`.

    Args:
        transition: the same at each step; wherever it starts, it comes to the same distribution.

    Example:
        >>> law = semihmm.models.transitions.Categorical(2)
        >>> law.update(torch.tensor([[3.0, 1.0], [3.0, 1.0]]))
        >>> Stationary(law)().exp().double().round(decimals=4).tolist()
        [0.75, 0.25]
    """

    def __init__(self, transition: Transition) -> None:
        super().__init__()
        if isinstance(transition, Driven):
            name = type(transition).__name__
            raise StructureError(f"start='stationary': the transitions of {name} differ from step to step.")
        stationary(transition.matrix())  # is there one?
        self._of = (transition,)  # no module of this one, or its parameters would have two names

    @property
    def transition(self) -> Transition:
        """Whose distribution it is."""
        return self._of[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.transition.dtype

    def forward(self) -> Tensor:
        """The log-probabilities ``(S,)``, ``-inf`` of states that are left for ever; computed in float64."""
        return self._settled(self.transition()).to(self.dtype)

    def _settled(self, log_prob: Tensor) -> Tensor:
        """The same for the log-probabilities of transitions, in float64."""
        law = self.transition
        there = law.allowed
        chance = log_prob[there].double().exp()
        eye = torch.eye(law.states, dtype=chance.dtype, device=chance.device)
        away = 1 + eye.index_put((law.source[there], law.target[there]), -chance, accumulate=True)
        found = torch.linalg.solve_ex(away.mT, torch.ones_like(eye[0]))[0]
        visited = ~(found < _NEVER)  # not `>=`: a NaN must stay a NaN
        return torch.where(visited, torch.where(visited, found, 1.0).log(), -torch.inf)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """It starts from what the transitions are."""

    def update(self, counts: Tensor) -> None:
        """Nothing: see `learn`."""

    def permute(self, order: Sequence[int]) -> None:
        """Nothing: the transitions are."""

    @torch.no_grad()
    def learn(self, first: Tensor, moves: Tensor) -> None:
        """EM's second step of the transitions, which has no formula now: the objective does not fall.

        With log-probabilities w, what is to be made greatest is ``f(w) = sum(moves * w) + sum(first * forward())``. Its
        gradient by w is that of ``sum(counts * w)`` for ``counts = moves + g``, where g is the gradient of the second
        sum; for those counts the law has its own EM step. Where rows of w are normalised, a multiple of the
        probabilities can be added to counts, and makes the step as small as it must be for f to rise.

        Args:
            first: how often each state came first ``(S,)``, in expectation.
            moves: how often each transition was taken.
        """
        law = self.transition
        if not trained(law):
            return
        first, moves = first.double(), moves.double()
        chance, pull = self._pull(first)
        counts = moves + pull
        least = torch.where(chance > 0, -counts / chance, 0.0).amax().clamp(min=0.0)  # leaves none below 0
        damping, before, value = 2 * float(least), Snapshot(law), self._gain(first, moves)
        for _ in range(_TRIES):
            law.update((counts + damping * chance).clamp(min=0.0))
            if self._gain(first, moves) >= value:  # not NaN
                return
            before.restore()
            damping = 4 * damping + float(moves.mean())

    def _gain(self, first: Tensor, moves: Tensor) -> float:
        """What `learn` makes greater."""
        pairs = (first, self()), (moves, self.transition())
        gains = [(counts * torch.where(counts > 0, log_prob, 0.0)).sum() for counts, log_prob in pairs]  # no 0 -inf
        return float(gains[0] + gains[1] + self.transition.log_prior())

    def _pull(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """The probabilities, and the gradient of ``sum(first * forward())`` by their logs, along normalised rows."""
        law = self.transition
        with torch.enable_grad():
            log_prob = law().detach().double().requires_grad_()
            start = self._settled(log_prob)
            (pull,) = torch.autograd.grad((first * torch.where(first > 0, start, 0.0)).sum(), log_prob)
        chance = torch.where(law.allowed, log_prob.detach().exp(), 0.0)
        return chance, pull - chance * law.leaving(pull)[law.source]

"""Features that are independent of one another given the state: what the families of one dimension share."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from semihmm.engine.tracing import traced
from semihmm.errors import DataError
from semihmm.models.emissions.base import Emission, gaps
from semihmm.models.emissions.learning import first_posterior

TABLED = 1 << 12  # counts up to here are looked up
CACHED = 1 << 15  # numbers that a core keeps close at hand


class Supported(Emission):
    """An emission that says which observations there can be, and computes in float64.

    Attributes:
        support: what an observation must be, in words.
    """

    apart = True
    support: ClassVar[str]

    def __init__(self, states: int, features: int) -> None:
        super().__init__()
        self.states: int = states
        self.event_shape: tuple[int] = (features,)

    @abstractmethod
    def inside(self, x: Tensor) -> Tensor:
        """Which values can be observed, bool in the shape of ``x``; never NaN."""

    @abstractmethod
    def score(self, x: Tensor, there: Tensor | None) -> Tensor:
        """Log-likelihoods ``(..., S)`` of observations ``(..., F)`` inside the support, all in float64.

        Args:
            there: which values count; None for all.
        """

    def bound(self, x: Tensor) -> None:
        """Set the bounds of parameters, given all observations ``(N, F)``."""

    def chart(self, x: Tensor) -> Tensor:
        """Where observations lie, on axes on which distances say how different they are; NaN where values are."""
        return x

    def check(self, x: Tensor) -> None:
        """Refuse what cannot be observed.

        Raises:
            DataError: values outside the support.
        """
        if not traced() and not bool((inside := self.inside(x)).all()):
            if x.is_floating_point() and bool((inside := inside | x.isnan()).all()):
                return
            at = tuple(int(i) for i in (~inside).nonzero()[0])
            raise DataError(f"{type(self).__name__}: observations must be {self.support}, got {x[at].item()} at {at}.")

    def filled(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Observations in float64, with the filler where one is missing; and which are there, None for all."""
        hidden = gaps(x) if x.is_floating_point() else None  # a count of -1 is none
        return (x.double(), None) if hidden is None else (torch.where(hidden, self.filler, x).double(), ~hidden)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return self.score(*self.filled(x)).to(self.dtype)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """An EM step, each state seeing most of the observations near its own and a little of the others."""
        self.check(x)
        self.bound(x.double())
        self.update(x, first_posterior(self.chart(x.double()), self.states, generator))


class Independent(Supported):
    """Each feature has a density of its own; theirs are multiplied.

    It is ``log p(x) = peak - penalty(x)``, of which the second is computed for a few observations at a time.
    """

    @abstractmethod
    def peak(self) -> Tensor:
        """``(S, F)`` in float64."""

    @abstractmethod
    def penalty(self, x: Tensor) -> Tensor:
        """``(..., F, S)`` of ``x (..., F, 1)``, in float64."""

    def score(self, x: Tensor, there: Tensor | None) -> Tensor:
        peak = self.peak()
        best = peak.sum(-1) if there is None else there.double() @ peak.T
        if traced():
            return best - self._penalties(x, there)
        flat, rows = x.flatten(0, -2), max(1, CACHED // (self.states * self.event_shape[0]))
        shown = [None] * -(-len(flat) // rows) if there is None else there.flatten(0, -2).split(rows)
        found = [self._penalties(*part) for part in zip(flat.split(rows), shown, strict=True)]
        return best - torch.cat(found).reshape(*x.shape[:-1], self.states)

    def _penalties(self, x: Tensor, there: Tensor | None) -> Tensor:
        found = self.penalty(x.unsqueeze(-1))
        return (found if there is None else torch.where(there.unsqueeze(-1), found, 0.0)).sum(-2)


class ExponentialFamily(Supported):
    """Densities ``log p(x) = base(x) - log_normaliser + sum_k natural_k * statistic_k(x)``.

    So log-likelihoods are matrix products, no ``(..., S, F)`` exists, and the EM step need only know the sums of the
    statistics. A natural parameter may be ``-inf`` where its statistic is never negative: of what a state never emits.
    `statistics` are the ``"weight" (S, F)`` of what was there, and the sum of each under the name that it has here.
    """

    @abstractmethod
    def sufficient(self, x: Tensor) -> dict[str, Tensor]:
        """What is summed, by name, each in the shape of ``x (..., F)``."""

    @abstractmethod
    def natural(self) -> tuple[Tensor, ...]:
        """The factor of each, in the same order, ``(S, F)`` in float64."""

    @abstractmethod
    def log_normaliser(self) -> Tensor:
        """``(S, F)`` in float64."""

    @abstractmethod
    def base(self, x: Tensor) -> Tensor:
        """What does not depend on the state, in the shape of ``x (..., F)``."""

    def score(self, x: Tensor, there: Tensor | None) -> Tensor:
        base = _only(self.base(x), there).sum(-1, keepdim=True)
        normaliser = self.log_normaliser()
        found = base - (normaliser.sum(-1) if there is None else there.double() @ normaliser.T)
        for statistic, natural in zip(self.sufficient(x).values(), self.natural(), strict=True):
            found = found + _weigh(_only(statistic, there), natural)
        return found

    @torch.no_grad()
    def statistics(self, x: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        (x, there), posterior = self.filled(x), posterior.double()
        of_each = posterior.sum(0).unsqueeze(-1).repeat(1, *self.event_shape)
        weight = of_each if there is None else posterior.T @ there.double()
        return {"weight": weight} | {n: posterior.T @ _only(s, there) for n, s in self.sufficient(x).items()}


def _only(value: Tensor, there: Tensor | None) -> Tensor:
    return value if there is None else torch.where(there, value, 0.0)


def _weigh(statistic: Tensor, natural: Tensor) -> Tensor:
    """``statistic (..., F) @ natural.T (F, S)``, where 0 times ``-inf`` is 0."""
    never = natural == -torch.inf
    found = statistic @ torch.where(never, 0.0, natural).T
    if traced() or bool(never.any()):
        found = found.masked_fill(statistic.detach() @ never.to(found.dtype).T > 0, -torch.inf)
    return found


def counted(x: Tensor) -> Tensor:
    """Which values are counts."""
    return (x >= 0) & (x == x.floor()) & x.isfinite() if x.is_floating_point() else x >= 0


def log_factorial(x: Tensor) -> Tensor:
    """Of counts in float64, looked up where they are few."""
    if traced() or not x.numel() or x.requires_grad or float(peak := x.max()) > min(TABLED, x.numel()):
        return torch.lgamma(x + 1)
    table = torch.lgamma(torch.arange(1.0, float(peak) + 2, dtype=x.dtype, device=x.device))
    return table[x.long()]

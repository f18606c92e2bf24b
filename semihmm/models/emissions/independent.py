"""Features that are independent of one another given the state: what the families of one dimension share."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from semihmm.engine.tracing import traced
from semihmm.errors import DataError
from semihmm.models.emissions.base import Emission
from semihmm.models.emissions.gaussian import LEAST_WEIGHT, spread_out

_OWN = 0.7  # of a first posterior, the share that an observation gives to the state nearest to it


class Supported(Emission):
    """An emission that says which observations there can be, and computes in float64.

    Attributes:
        support: what an observation must be, in words.
    """

    support: ClassVar[str]

    def __init__(self, states: int, features: int) -> None:
        super().__init__()
        self.states: int = states
        self.event_shape: tuple[int] = (features,)

    @abstractmethod
    def inside(self, x: Tensor) -> Tensor:
        """Which values can be observed, bool in the shape of ``x``; never NaN."""

    @abstractmethod
    def score(self, x: Tensor) -> Tensor:
        """Log-likelihoods ``(..., S)`` of observations ``(..., F)`` inside the support, all in float64."""

    def bound(self, x: Tensor) -> None:
        """Set the bounds of parameters, given all observations ``(N, F)``."""

    def chart(self, x: Tensor) -> Tensor:
        """Where observations lie, on axes on which distances say how different they are."""
        return x

    def check(self, x: Tensor) -> None:
        """Refuse what cannot be observed.

        Raises:
            DataError: values outside the support.
        """
        if not traced() and not bool((inside := self.inside(x)).all()):
            at = tuple(int(i) for i in (~inside).nonzero()[0])
            raise DataError(f"{type(self).__name__}: observations must be {self.support}, got {x[at].item()} at {at}.")

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return self.score(x.double()).to(self.dtype)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """An EM step, each state seeing most of the observations near its own and a little of the others."""
        self.check(x)
        x = x.double()
        self.bound(x)
        self.update(x, first_posterior(self.chart(x), self.states, generator))


class Independent(Supported):
    """Each feature has a density of its own; theirs are multiplied."""

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """Log-densities ``(..., S, F)`` of ``x (..., 1, F)``, in float64."""

    def score(self, x: Tensor) -> Tensor:
        return self.log_density(x.unsqueeze(-2)).sum(-1)


class ExponentialFamily(Supported):
    """Densities ``log p(x) = base(x) - log_normaliser + sum_k natural_k * statistic_k(x)``.

    So log-likelihoods are matrix products, no ``(..., S, F)`` exists, and the EM step need only know the sums of the
    statistics. A natural parameter may be ``-inf`` where its statistic is never negative: of what a state never emits.
    """

    @abstractmethod
    def statistics(self, x: Tensor) -> tuple[Tensor, ...]:
        """Each in the shape of ``x (..., F)``."""

    @abstractmethod
    def natural(self) -> tuple[Tensor, ...]:
        """The factor of each statistic, ``(S, F)`` in float64."""

    @abstractmethod
    def log_normaliser(self) -> Tensor:
        """``(S, F)`` in float64."""

    @abstractmethod
    def base(self, x: Tensor) -> Tensor:
        """What does not depend on the state, in the shape of ``x (..., F)``."""

    @abstractmethod
    def maximise(self, weight: Tensor, *sums: Tensor) -> None:
        """EM's second step.

        Args:
            weight: the total posterior of each state, ``(S, 1)``.
            sums: of each statistic under the posterior, ``(S, F)``.
        """

    def score(self, x: Tensor) -> Tensor:
        found = self.base(x).sum(-1, keepdim=True) - self.log_normaliser().sum(-1)
        for statistic, natural in zip(self.statistics(x), self.natural(), strict=True):
            found = found + _weigh(statistic, natural)
        return found

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        posterior = posterior.double()
        sums = [posterior.T @ statistic for statistic in self.statistics(x.double())]
        self.maximise(posterior.sum(0).unsqueeze(-1), *sums)


def first_posterior(chart: Tensor, states: int, generator: torch.Generator | None) -> Tensor:
    """Of each state at each place ``(N, F)``, ``(N, S)``: high near one of S places that lie far from one another."""
    scale = chart.std(0, correction=0)
    chart = chart / torch.where(scale > 0, scale, 1.0)
    nearest = torch.cdist(chart, spread_out(chart, states, generator)).argmin(-1)
    return _OWN * nn.functional.one_hot(nearest, states).double() + (1 - _OWN) / states


def _weigh(statistic: Tensor, natural: Tensor) -> Tensor:
    """``statistic (..., F) @ natural.T (F, S)``, where 0 times ``-inf`` is 0."""
    never = natural == -torch.inf
    found = statistic @ torch.where(never, 0.0, natural).T
    if traced() or bool(never.any()):
        found = found.masked_fill(statistic.detach() @ never.to(found.dtype).T > 0, -torch.inf)
    return found


def learn(parameter: Tensor, value: Tensor, weight: Tensor) -> None:
    """Set a parameter of each state, except of those that have seen nothing."""
    parameter.copy_(torch.where(weight > LEAST_WEIGHT, value, parameter))


def mean_of(total: Tensor, weight: Tensor) -> Tensor:
    """A mean from a sum and the weight in it; of states that have seen nothing, any number."""
    return total / weight.clamp(min=LEAST_WEIGHT)


def share_of_mean(x: Tensor, share: float) -> Tensor:
    """A share of the mean of each feature, ``(F,)``; of 1 where that is 0."""
    mean = x.mean(0)
    return share * torch.where(mean > 0, mean, 1.0)


def counted(x: Tensor) -> Tensor:
    """Which values are counts."""
    return (x >= 0) & (x == x.floor()) & x.isfinite() if x.is_floating_point() else x >= 0

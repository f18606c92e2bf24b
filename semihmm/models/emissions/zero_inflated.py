"""Counts with more zeros than a rate explains."""

import math

import torch
from torch import Tensor, nn

from semihmm.models.emissions.independent import ExponentialFamily, counted, log_factorial
from semihmm.models.emissions.learning import learn, mean_of
from semihmm.models.emissions.solving import root
from semihmm.models.table import Table

_CYCLES = 20
_LEAST = 1e-8  # a rate at which a positive count is 1


class ZeroInflatedPoisson(ExponentialFamily):
    """Each state has, for each feature, a chance of nothing at all, and else a Poisson count.

    Args:
        states: S.
        features: F.

    Observations are counts ``(..., T, F)``. Parameters: ``log_rate (S, F)``, and ``table().exp()``, ``(S, F, 2)``: the
    chances of a count that is 0 by itself, ``pi``, and of a Poisson count. ``log p(x) = log(1 - pi) + x log_rate -
    exp(log_rate) - log x!`` for x > 0, and ``log(pi + (1 - pi) exp(-exp(log_rate)))`` for 0 (Lambert 1992), summed over
    features. EM step, exact: where there are more zeros than of a Poisson count, the rate is the one that explains the
    mean of the counts that are not 0. A state that has only seen zeros emits nothing else.

    Example:
        >>> emission = ZeroInflatedPoisson(states=1, features=1)
        >>> emission.update(torch.tensor([[1], [1], [0]]), torch.ones(3, 1))  # fewer zeros than exp(-2 / 3)
        >>> emission.table()[..., 0].exp().tolist(), emission.log_rate.exp().round(decimals=4).tolist()
        ([[0.0]], [[0.666700005531311]])
    """

    support = "counts"

    def __init__(self, states: int, features: int) -> None:
        super().__init__(states, features)
        self.log_rate = nn.Parameter(torch.randn(states, features))
        rows = torch.arange(states * features).reshape(states, features, 1)
        self.table = Table(rows.expand(-1, -1, 2))
        self.table.initialise()

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "features": self.event_shape[0]}

    def inside(self, x: Tensor) -> Tensor:
        return counted(x)

    def chart(self, x: Tensor) -> Tensor:
        return x.sqrt()

    def sufficient(self, x: Tensor) -> dict[str, Tensor]:
        zero = (x == 0).to(x.dtype)
        return {"zeros": zero, "others": 1 - zero, "total": x}

    def natural(self) -> tuple[Tensor, Tensor, Tensor]:
        chance, log_rate = self.table().double(), self.log_rate.double()
        silent = chance[..., 1] - log_rate.exp()
        return torch.logaddexp(chance[..., 0], silent), silent, log_rate

    def log_normaliser(self) -> Tensor:
        return torch.zeros_like(self.log_rate, dtype=torch.float64)

    def base(self, x: Tensor) -> Tensor:
        return -log_factorial(x)

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        weight, zeros, others, total = (statistics[name] for name in ("weight", "zeros", "others", "total"))
        if not self.table.logits.requires_grad:
            self._raise_rate(zeros, others, total)
            return
        average = mean_of(total, others).clamp(min=1.0)  # of counts that are not 0

        def lack(log_rate: Tensor) -> tuple[Tensor, Tensor]:
            rate = log_rate.exp()
            some = -torch.expm1(-rate)
            return average - rate / some, -rate / some + rate.square() * (1 - some) / some.square()

        rate = root(lack, torch.full_like(average, math.log(_LEAST)), average.log()).exp()
        poisson = others / -torch.expm1(-rate)  # how many counts, zeros among them, such a rate takes
        enough = poisson <= weight
        rate = learn(self.log_rate, torch.where(enough, rate, mean_of(total, weight)).log(), others).exp()
        poisson = (others / -torch.expm1(-rate)).minimum(weight)
        self.table.update(torch.stack([weight - poisson, poisson], -1))

    def _raise_rate(self, zeros: Tensor, others: Tensor, total: Tensor) -> None:
        """Better rates for chances that are frozen: EM over which zeros are Poisson counts."""
        chance, log_rate = self.table().double(), self.log_rate.detach().double()
        for _ in range(_CYCLES):
            silent = chance[..., 1] - log_rate.exp()
            count = others + zeros * (silent - torch.logaddexp(chance[..., 0], silent)).exp()
            log_rate = torch.where(total > 0, mean_of(total, count).log(), log_rate)
        learn(self.log_rate, log_rate, others)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        counts = torch.poisson(self.log_rate.exp()[states], generator)
        return counts * torch.bernoulli(self.table()[..., 1].exp()[states], generator=generator)

    @torch.no_grad()
    def expected(self) -> Tensor:
        found: Tensor = self.table()[..., 1].exp() * self.log_rate.exp()
        return found

    def describe(self) -> dict[str, Tensor]:
        return {"rate": self.log_rate.detach().exp(), "zero": self.table().detach()[..., 0].exp()}

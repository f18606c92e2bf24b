"""Positive quantities."""

import math

import torch
from torch import Tensor, nn

from semihmm.models.emissions.independent import ExponentialFamily
from semihmm.models.emissions.learning import confine, learn, mean_of
from semihmm.models.emissions.solving import root

_LEAST_SHAPE = 1e-4


class Gamma(ExponentialFamily):
    """Each state has a gamma distribution for each feature, independent of the others.

    Args:
        states: S.
        features: F.
        max_shape: the largest shape: the standard deviation is at least ``max_shape ** -0.5`` times the mean. It makes
            the likelihood bounded.

    Observations are positive, ``(..., T, F)``. Parameters: ``log_shape`` and ``log_mean``, ``(S, F)``; the rate is
    shape / mean. ``log p(x) = shape log(rate) - log Gamma(shape) + (shape - 1) log x - rate x``, summed over features.
    EM step, exact: the mean is that of the data, and the shape solves ``log(shape) - digamma(shape) = log(mean of x)
    - mean of log(x)`` (Choi & Wette 1969), whose left side falls, so that clipping is exact.

    Example:
        >>> emission = Gamma(states=1, features=1)
        >>> emission.update(torch.tensor([[1.0], [3.0]]), torch.ones(2, 1))
        >>> emission.log_mean.exp().round(decimals=4).tolist()
        [[2.0]]
    """

    support = "greater than 0"
    filler = 1.0

    def __init__(self, states: int, features: int, max_shape: float = 1e4) -> None:
        super().__init__(states, features)
        self.max_shape = max_shape
        self.log_shape = nn.Parameter(torch.zeros(states, features))
        self.log_mean = nn.Parameter(torch.randn(states, features))

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "features": self.event_shape[0], "max_shape": self.max_shape}

    def inside(self, x: Tensor) -> Tensor:
        return (x > 0) & x.isfinite()

    def chart(self, x: Tensor) -> Tensor:
        return x.log()

    def sufficient(self, x: Tensor) -> dict[str, Tensor]:
        return {"log": x.log(), "total": x}

    def natural(self) -> tuple[Tensor, Tensor]:
        shape = self.log_shape.double().exp()
        return shape, -shape * (-self.log_mean.double()).exp()

    def log_normaliser(self) -> Tensor:
        shape = self.log_shape.double().exp()
        return torch.lgamma(shape) - shape * (self.log_shape.double() - self.log_mean.double())

    def base(self, x: Tensor) -> Tensor:
        return -x.log()

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        weight = statistics["weight"]
        average = mean_of(statistics["total"], weight)
        log_mean = learn(self.log_mean, average.log(), weight)
        gap = log_mean - mean_of(statistics["log"], weight) + average * (-log_mean).exp() - 1  # the last two: 0 if free

        def excess(log_shape: Tensor) -> tuple[Tensor, Tensor]:
            shape = log_shape.exp()
            return log_shape - torch.digamma(shape) - gap, 1 - shape * torch.polygamma(1, shape)

        low = torch.full_like(gap, math.log(_LEAST_SHAPE))
        learn(self.log_shape, root(excess, low, torch.full_like(gap, math.log(self.max_shape))), weight)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        shape = self.log_shape.exp()[states]
        drawn = torch._standard_gamma(shape, generator=generator) / shape * self.log_mean.exp()[states]
        return drawn.clamp(min=torch.finfo(drawn.dtype).tiny)  # small shapes underflow

    @torch.no_grad()
    def project(self) -> None:
        confine(self.log_shape, math.log(_LEAST_SHAPE), math.log(self.max_shape))

    def expected(self) -> Tensor:
        return self.log_mean.exp()

    def describe(self) -> dict[str, Tensor]:
        return {"mean": self.log_mean.detach().exp(), "shape": self.log_shape.detach().exp()}

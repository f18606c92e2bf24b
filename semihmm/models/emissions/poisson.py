"""Counts of events that happen at a rate."""

import torch
from torch import Tensor, nn

from semihmm.models.emissions.independent import ExponentialFamily, counted, log_factorial
from semihmm.models.emissions.learning import confine, learn, mean_of, share_of_mean


class Poisson(ExponentialFamily):
    """Each state has a rate for each feature: independent counts.

    Args:
        states: S.
        features: F.
        rate_floor: the smallest rate, as a share of the mean that the feature has in the data of `fit`; so no count is
            impossible. Clipping to it is the exact EM step under that constraint.

    Observations are counts ``(..., T, F)``. Parameter: ``log_rate (S, F)``, of events per step.
    ``log p(x) = x log_rate - exp(log_rate) - log x!``, summed over features.

    Example:
        >>> emission = Poisson(states=2, features=1)
        >>> x = torch.tensor([[1], [3], [9], [11]])
        >>> emission.update(x, torch.tensor([[1., 0.], [1., 0.], [0., 1.], [0., 1.]]))
        >>> emission.log_rate.exp().round(decimals=4).tolist()
        [[2.0], [10.0]]
    """

    support = "counts"
    floor: Tensor

    def __init__(self, states: int, features: int, rate_floor: float = 1e-6) -> None:
        super().__init__(states, features)
        self.rate_floor = rate_floor
        self.log_rate = nn.Parameter(torch.randn(states, features))
        self.register_buffer("floor", torch.full((features,), rate_floor))

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "features": self.event_shape[0], "rate_floor": self.rate_floor}

    def inside(self, x: Tensor) -> Tensor:
        return counted(x)

    def bound(self, x: Tensor) -> None:
        self.floor.copy_(share_of_mean(x, self.rate_floor))

    def chart(self, x: Tensor) -> Tensor:
        return x.sqrt()  # has about the same variance at every rate

    def sufficient(self, x: Tensor) -> dict[str, Tensor]:
        return {"total": x}

    def natural(self) -> tuple[Tensor]:
        return (self.log_rate.double(),)

    def log_normaliser(self) -> Tensor:
        return self.log_rate.double().exp()

    def base(self, x: Tensor) -> Tensor:
        return -log_factorial(x)

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        weight = statistics["weight"]
        learn(self.log_rate, mean_of(statistics["total"], weight).maximum(self.floor).log(), weight)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.poisson(self.log_rate.exp()[states], generator)

    @torch.no_grad()
    def project(self) -> None:
        confine(self.log_rate, self.floor.log())

    def expected(self) -> Tensor:
        return self.log_rate.exp()

    def describe(self) -> dict[str, Tensor]:
        return {"rate": self.log_rate.detach().exp()}

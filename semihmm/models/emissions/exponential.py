"""Waiting times without memory."""

import torch
from torch import Tensor, nn

from semihmm.models.emissions.independent import ExponentialFamily
from semihmm.models.emissions.learning import confine, learn, mean_of, share_of_mean


class Exponential(ExponentialFamily):
    """Each state has an exponential distribution for each feature, independent of the others.

    Args:
        states: S.
        features: F.
        mean_floor: the smallest mean, as a share of the mean that the feature has in the data of `fit`; it makes the
            likelihood bounded. Clipping to it is the exact EM step under that constraint.

    Observations are at least 0, ``(..., T, F)``. Parameter: ``log_mean (S, F)``.
    ``log p(x) = -x / mean - log mean``, summed over features.

    Example:
        >>> emission = Exponential(states=1, features=1)
        >>> emission.update(torch.tensor([[1.0], [3.0]]), torch.ones(2, 1))
        >>> emission.log_mean.exp().round(decimals=4).tolist()
        [[2.0]]
    """

    support = "at least 0"
    floor: Tensor

    def __init__(self, states: int, features: int, mean_floor: float = 1e-3) -> None:
        super().__init__(states, features)
        self.mean_floor = mean_floor
        self.log_mean = nn.Parameter(torch.randn(states, features))
        self.register_buffer("floor", torch.full((features,), mean_floor))

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "features": self.event_shape[0], "mean_floor": self.mean_floor}

    def inside(self, x: Tensor) -> Tensor:
        return (x >= 0) & x.isfinite()

    def bound(self, x: Tensor) -> None:
        self.floor.copy_(share_of_mean(x, self.mean_floor))

    def chart(self, x: Tensor) -> Tensor:
        return x.sqrt()

    def sufficient(self, x: Tensor) -> dict[str, Tensor]:
        return {"total": x}

    def natural(self) -> tuple[Tensor]:
        return (-(-self.log_mean.double()).exp(),)

    def log_normaliser(self) -> Tensor:
        return self.log_mean.double()

    def base(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        weight = statistics["weight"]
        learn(self.log_mean, mean_of(statistics["total"], weight).maximum(self.floor).log(), weight)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean = self.log_mean.exp()[states]
        return mean * torch.empty_like(mean).exponential_(generator=generator)

    @torch.no_grad()
    def project(self) -> None:
        confine(self.log_mean, self.floor.log())

    def expected(self) -> Tensor:
        return self.log_mean.exp()

    def describe(self) -> dict[str, Tensor]:
        return {"mean": self.log_mean.detach().exp()}

"""Deviations from a median."""

import math

import torch
from torch import Tensor, nn

from semihmm.models.emissions.independent import Independent
from semihmm.models.emissions.learning import confine, floor_of, learn, mean_of


class Laplace(Independent):
    """Each state has a Laplace distribution for each feature, independent of the others.

    Args:
        states: S.
        features: F.
        scale_floor: the smallest scale, as a share of the standard deviation that the feature has in the data of
            `fit`; it makes the likelihood bounded. Clipping to it is the exact EM step under that constraint.

    Observations are ``(..., T, F)``. Parameters: ``location`` and ``log_scale``, ``(S, F)``.
    ``log p(x) = -|x - location| / scale - log(2 scale)``, summed over features. EM step, exact: the weighted median,
    and the mean distance from it.

    Example:
        >>> emission = Laplace(states=1, features=1)
        >>> emission.update(torch.tensor([[0.0], [2.0], [6.0]]), torch.ones(3, 1))
        >>> emission.location.tolist(), emission.log_scale.exp().round(decimals=3).tolist()
        ([[2.0]], [[2.0]])
    """

    support = "finite"
    floor: Tensor

    def __init__(self, states: int, features: int, scale_floor: float = 0.03) -> None:
        super().__init__(states, features)
        self.scale_floor = scale_floor
        self.location = nn.Parameter(torch.randn(states, features))
        self.log_scale = nn.Parameter(torch.zeros(states, features))
        self.register_buffer("floor", torch.full((features,), scale_floor))

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "features": self.event_shape[0], "scale_floor": self.scale_floor}

    def inside(self, x: Tensor) -> Tensor:
        return x.isfinite()

    def bound(self, x: Tensor) -> None:
        self.floor.copy_(self.scale_floor * floor_of(x, 1.0).sqrt())

    def peak(self) -> Tensor:
        return -self.log_scale.double() - math.log(2)

    def penalty(self, x: Tensor) -> Tensor:
        return (x - self.location.double().T).abs() * (-self.log_scale.double().T).exp()

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        (x, there), posterior = self.filled(x), posterior.double()
        shares = [posterior] * x.shape[-1]
        if there is not None:
            shares = [posterior * shown.unsqueeze(-1) for shown in there.T]
        weight = torch.stack([share.sum(0) for share in shares], -1)
        columns = list(zip(x.T, shares, strict=True))
        location = learn(self.location, torch.stack([_median(*column) for column in columns], -1), weight)
        distance = [
            ((column.unsqueeze(-1) - at).abs() * share).sum(0)
            for (column, share), at in zip(columns, location.T, strict=True)
        ]
        learn(self.log_scale, mean_of(torch.stack(distance, -1), weight).maximum(self.floor).log(), weight)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        scale = self.log_scale.exp()[states]
        one, other = (torch.empty_like(scale).exponential_(generator=generator) for _ in range(2))
        return self.location[states] + scale * (one - other)

    @torch.no_grad()
    def project(self) -> None:
        confine(self.log_scale, self.floor.log())

    def expected(self) -> Tensor:
        return self.location

    def describe(self) -> dict[str, Tensor]:
        return {"location": self.location.detach(), "scale": self.log_scale.detach().exp()}


def _median(x: Tensor, weights: Tensor) -> Tensor:
    """The smallest of the values ``(N,)`` that have half of the weight at or below them, for each column of weights."""
    x, order = x.sort()
    below = weights[order].cumsum(0)
    return x[(below < below[-1] / 2).sum(0).clamp(max=len(x) - 1)]

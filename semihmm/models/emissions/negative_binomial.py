"""Counts that vary more than those of a rate."""

import math

import torch
from torch import Tensor, nn

from semihmm.models.emissions.independent import Independent, counted, learn, mean_of, share_of_mean
from semihmm.models.emissions.solving import root

_LEAST, _LARGEST = 1e-3, 1e6  # sizes: beyond, a Poisson distribution


class NegativeBinomial(Independent):
    """Each state has a negative binomial distribution for each feature, independent of the others.

    Args:
        states: S.
        features: F.
        mean_floor: the smallest mean, as a share of the mean that the feature has in the data of `fit`; so no count is
            impossible.

    Observations are counts ``(..., T, F)``. Parameters: ``log_mean`` and ``log_size``, ``(S, F)``, sizes between 1e-3
    and 1e6; the variance is ``mean + mean^2 / size``. ``log p(x) = log Gamma(x + size) - log Gamma(size) - log x! +
    size log(size / (size + mean)) + x log(mean / (size + mean))``, summed over features. EM step: the mean is that of
    the data, and the size the root of the profile's derivative, which is unique (Levin & Reeds 1977).

    Example:
        >>> emission = NegativeBinomial(states=1, features=1)
        >>> emission.update(torch.tensor([[0], [1], [1], [10]]), torch.ones(4, 1))
        >>> emission.log_mean.exp().round(decimals=4).tolist()
        [[3.0]]
    """

    support = "counts"
    floor: Tensor

    def __init__(self, states: int, features: int, mean_floor: float = 1e-6) -> None:
        super().__init__(states, features)
        self.mean_floor = mean_floor
        self.log_mean = nn.Parameter(torch.randn(states, features))
        self.log_size = nn.Parameter(torch.zeros(states, features))
        self.register_buffer("floor", torch.full((features,), mean_floor))

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "features": self.event_shape[0], "mean_floor": self.mean_floor}

    def inside(self, x: Tensor) -> Tensor:
        return counted(x)

    def bound(self, x: Tensor) -> None:
        self.floor.copy_(share_of_mean(x, self.mean_floor))

    def chart(self, x: Tensor) -> Tensor:
        return x.sqrt()

    def log_density(self, x: Tensor) -> Tensor:
        size, ratio = self.log_size.double().exp(), self.log_mean.double() - self.log_size.double()
        failed = -nn.functional.softplus(ratio)  # the logarithm of size / (size + mean)
        ways = torch.lgamma(x + size) - torch.lgamma(size) - torch.lgamma(x + 1)
        return ways + size * failed + x * (ratio + failed)

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        x, posterior = x.double(), posterior.double()
        weight = posterior.sum(0).unsqueeze(-1)
        average = mean_of(posterior.T @ x, weight)
        mean = average.maximum(self.floor)
        sizes = [_size(column, posterior, average[:, f], mean[:, f]) for f, column in enumerate(x.T)]
        learn(self.log_size, torch.stack(sizes, -1), weight)
        learn(self.log_mean, mean.log(), weight)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        size = self.log_size.exp()[states]
        rate = torch._standard_gamma(size, generator=generator) / size * self.log_mean.exp()[states]
        return torch.poisson(rate, generator)

    @torch.no_grad()
    def project(self) -> None:
        self.log_mean.clamp_(min=self.floor.log())
        self.log_size.clamp_(math.log(_LEAST), math.log(_LARGEST))


def _size(x: Tensor, posterior: Tensor, average: Tensor, mean: Tensor) -> Tensor:
    """The best logarithm of the size in each state, ``(S,)``, given its mean; one digamma for each different count."""
    values, place = x.unique(return_inverse=True)
    share = posterior.new_zeros(len(values), posterior.shape[-1]).index_add(0, place, posterior)
    share = share / share.sum(0).clamp(min=torch.finfo(share.dtype).tiny)
    values = values.unsqueeze(-1)

    def slope(log_size: Tensor) -> tuple[Tensor, Tensor]:
        size = log_size.exp()
        first = (share * (torch.digamma(values + size) - torch.digamma(size))).sum(0)
        second = (share * (torch.polygamma(1, values + size) - torch.polygamma(1, size))).sum(0)
        value = first - (mean / size).log1p() + (mean - average) / (size + mean)
        curve = second + mean / size / (size + mean) - (mean - average) / (size + mean).square()
        return size * value, size * (value + size * curve)

    low = torch.full_like(mean, math.log(_LEAST))
    return root(slope, low, torch.full_like(mean, math.log(_LARGEST)))

"""Counts that vary more than those of a rate."""

import math

import torch
from torch import Tensor, nn

from semihmm.engine.tracing import traced
from semihmm.models.emissions.independent import TABLED, Independent, counted
from semihmm.models.emissions.learning import confine, learn, mean_of, share_of_mean
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

    def peak(self) -> Tensor:
        size, ratio = self.log_size.double().exp(), self.log_mean.double() - self.log_size.double()
        return -torch.lgamma(size) - size * nn.functional.softplus(ratio)  # the logarithm of (size + mean) / size

    def penalty(self, x: Tensor) -> Tensor:
        size, ratio = self.log_size.double().exp().T, (self.log_mean.double() - self.log_size.double()).T
        return torch.lgamma(x + 1) - torch.lgamma(x + size) + x * nn.functional.softplus(-ratio)

    def score(self, x: Tensor, there: Tensor | None) -> Tensor:
        """A log-gamma costs more than all else: of counts that are met again, each is computed once."""
        if traced() or x.requires_grad or not x.numel():
            return super().score(x, there)
        few = float(x.max()) <= TABLED
        values, place = (torch.arange(float(x.max()) + 1), x.long()) if few else x.unique(return_inverse=True)
        if len(values) * self.event_shape[0] > x.numel():
            return super().score(x, there)
        features = torch.arange(self.event_shape[0], device=x.device)
        each = values.to(x).reshape(-1, 1, 1).expand(-1, len(features), 1)
        table = (self.peak().T - self.penalty(each)).flatten(0, 1)
        row = place * len(features) + features
        if there is not None:
            row, table = torch.where(there, row, len(table)), torch.cat([table, torch.zeros_like(table[:1])])
        return torch.cat([table[some].sum(-2) for some in row.flatten(0, -2).split(256)]).unflatten(0, x.shape[:-1])

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        (x, there), posterior = self.filled(x), posterior.double()
        shown = torch.ones_like(x) if there is None else there.double()
        weight = posterior.T @ shown
        average = mean_of(posterior.T @ (x * shown), weight)
        mean = learn(self.log_mean, average.maximum(self.floor).log(), weight).exp()
        sizes = [_size(x[:, f], posterior * shown[:, f : f + 1], average[:, f], mean[:, f]) for f in range(x.shape[-1])]
        learn(self.log_size, torch.stack(sizes, -1), weight)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        size = self.log_size.exp()[states]
        rate = torch._standard_gamma(size, generator=generator) / size * self.log_mean.exp()[states]
        return torch.poisson(rate, generator)

    @torch.no_grad()
    def project(self) -> None:
        confine(self.log_mean, self.floor.log())
        confine(self.log_size, math.log(_LEAST), math.log(_LARGEST))

    def expected(self) -> Tensor:
        return self.log_mean.exp()

    def describe(self) -> dict[str, Tensor]:
        return {"mean": self.log_mean.detach().exp(), "size": self.log_size.detach().exp()}


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

"""Counts that vary more than those of a rate."""

import math

import torch
from torch import Tensor, nn

from semihmm.engine.tracing import traced
from semihmm.models.emissions.independent import CACHED, TABLED, Independent, counted
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
        ratio = self.log_mean.double() - self.log_size.double()
        return -self.log_size.double().exp() * nn.functional.softplus(ratio)  # the logarithm of (size + mean) / size

    def penalty(self, x: Tensor) -> Tensor:
        size, ratio = self.log_size.double().exp().T, (self.log_mean.double() - self.log_size.double()).T
        ways = torch.lgamma(x + size) - torch.lgamma(size) - torch.lgamma(x + 1)
        return x * nn.functional.softplus(-ratio) - ways

    def score(self, x: Tensor, there: Tensor | None) -> Tensor:
        """A log-gamma costs more than all else: of counts that are met again, each is computed once."""
        if traced() or x.requires_grad or not x.numel():
            return super().score(x, there)
        (values, place), features = _distinct(x), self.event_shape[0]
        if len(values) * features > x.numel():
            return super().score(x, there)
        each = values.reshape(-1, 1, 1).expand(-1, features, 1)
        table = (self.peak().T - self.penalty(each)).flatten(0, 1)
        row = place * features + torch.arange(features, device=x.device)
        if there is not None:
            row, table = torch.where(there, row, len(table)), torch.cat([table, torch.zeros_like(table[:1])])
        rows = max(1, CACHED // (features * self.states))
        found = torch.cat([table[some].sum(-2) for some in row.flatten(0, -2).split(rows)])
        return found.reshape(*x.shape[:-1], self.states)

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        (x, there), posterior = self.filled(x), posterior.double()
        shares = [posterior] * x.shape[-1]
        if there is not None:
            shares = [posterior * shown.unsqueeze(-1) for shown in there.T]
        weight = torch.stack([share.sum(0) for share in shares], -1)
        total = torch.stack([share.T @ column for share, column in zip(shares, x.T, strict=True)], -1)
        average = mean_of(total, weight)
        mean = learn(self.log_mean, average.maximum(self.floor).log(), weight).exp()
        columns = zip(x.T, shares, average.T, mean.T, strict=True)
        learn(self.log_size, torch.stack([_size(*column) for column in columns], -1), weight)

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
    values, place = _distinct(x)
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


def _distinct(x: Tensor) -> tuple[Tensor, Tensor]:
    """Counts, among them all of ``x``, and where each of those is; sorted out only if some are large."""
    peak = float(x.max())
    if peak <= TABLED:
        return torch.arange(peak + 1, dtype=x.dtype, device=x.device), x.long()
    found: tuple[Tensor, Tensor] = x.unique(return_inverse=True)
    return found

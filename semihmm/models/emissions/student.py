"""Gaussians with heavy tails, which outliers do not move."""

import math

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models.emissions.centred import Centred
from semihmm.models.emissions.independent import CACHED, Independent
from semihmm.models.emissions.learning import confine, floor_of, learn, mean_of
from semihmm.models.emissions.solving import root

_LEAST, _LARGEST = 0.1, 1000.0  # degrees of freedom: beyond, a Gaussian
_START = 4.0
_CYCLES = 3


class StudentT(Centred, Independent):
    """Each state has a Student t distribution for each feature, independent of the others.

    Args:
        states: S.
        features: F.
        scale_floor: the smallest scale, as a share of the median distance from the median in the data of `fit` (of the
            standard deviation where that is 0); it makes the likelihood bounded.
        freedom: degrees of freedom of all, which then do not change; None to learn them for each state and feature,
            between 0.1 and 1000.

    Observations are ``(..., T, F)``. Parameters: ``location``, ``log_scale`` and ``log_freedom``, ``(S, F)``.
    ``log p(x) = log Gamma((n + 1) / 2) - log Gamma(n / 2) - log(n pi) / 2 - log(scale) - (n + 1) / 2 *
    log(1 + ((x - location) / scale)^2 / n)``, summed over features.

    `maximise` is a step of parameter-expanded EM given how much each observation is trusted (Liu, Rubin & Wu 1998),
    `update` three of them: they raise the objective, and end at a maximum after several steps.

    Example:
        >>> emission = StudentT(states=1, features=1, freedom=1.0)
        >>> x = torch.tensor([[-1.0], [0.0], [1.0], [1e6]])
        >>> for _ in range(50):
        ...     emission.update(x, torch.ones(4, 1))
        >>> bool(emission.location.abs() < 1)
        True
    """

    support = "finite"
    location_name = "location"
    floor: Tensor

    def __init__(self, states: int, features: int, scale_floor: float = 0.03, freedom: float | None = None) -> None:
        super().__init__(states, features)
        if freedom is not None and not freedom > 0:
            raise ShapeError(f"StudentT: freedom must be above 0, or None to be learnt, got {freedom}.")
        self.scale_floor, self.freedom = scale_floor, freedom
        self.location = nn.Parameter(torch.randn(states, features))
        self.log_scale = nn.Parameter(torch.zeros(states, features))
        start = torch.full((states, features), math.log(freedom or _START))
        self.log_freedom = nn.Parameter(start, requires_grad=freedom is None)
        self.register_buffer("floor", torch.full((features,), scale_floor))
        self.register_buffer("centre", torch.zeros(features, dtype=torch.float64))

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "features": self.event_shape[0],
            "scale_floor": self.scale_floor,
            "freedom": self.freedom,
        }

    def inside(self, x: Tensor) -> Tensor:
        return x.isfinite()

    def bound(self, x: Tensor) -> None:
        """And say what all observations are like, by which the first step trusts them."""
        spread = _spread(x)
        self.floor.copy_(self.scale_floor * spread)
        self.put_centre(x)
        learn(self.location, x.nanmedian(0).values.nan_to_num(0.0).expand_as(self.location))
        learn(self.log_scale, spread.log().expand_as(self.log_scale))
        learn(self.log_freedom, torch.full_like(self.log_freedom, math.log(_START)))

    def chart(self, x: Tensor) -> Tensor:
        """As it is near the median, and the logarithm far from it: outliers shall not be the first to be picked."""
        return ((x - x.nanmedian(0).values) / _spread(x)).asinh()

    def peak(self) -> Tensor:
        freedom = self.log_freedom.double().exp()
        mass = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2)
        return mass - (freedom * math.pi).log() / 2 - self.log_scale.double()

    def penalty(self, x: Tensor) -> Tensor:
        freedom = self.log_freedom.double().exp().T
        away = (x - self.location.double().T) * (-self.log_scale.double().T).exp()
        return (away.square() / freedom).log1p() * ((freedom + 1) / 2)

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        for _ in range(_CYCLES):
            super().update(x, posterior)

    @torch.no_grad()
    def statistics(self, x: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        """Among them the expected precision of observations, as a multiple of the state's own, and its logarithm."""
        (x, there), posterior = self.filled(x), posterior.double().unsqueeze(-2)
        shown = torch.ones_like(x) if there is None else there.double()
        location, scale = self.location.double().T, self.log_scale.double().exp().T
        freedom = self.log_freedom.double().exp().T
        found = location.new_zeros(5, *location.shape)
        rows = max(1, CACHED // location.numel())
        for some, share, real in zip(*(y.split(rows) for y in (x.unsqueeze(-1), posterior, shown)), strict=True):
            share = share * real.unsqueeze(-1)
            trust = (freedom + 1) / (freedom + ((some - location) / scale).square())
            trusted, away = share * trust, some - self.centre.unsqueeze(-1)
            first = trusted * away
            sums = (share, trusted, share * trust.log(), first, first * away)
            found += torch.stack([one.sum(0) for one in sums])
        half = (freedom + 1) / 2
        found[2] += found[0] * (torch.digamma(half) - half.log())
        return dict(zip(("weight", "trust", "log_trust", "first", "second"), found.mT, strict=True))

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        weight, trust, log_trust, first, second = (
            statistics[name] for name in ("weight", "trust", "log_trust", "first", "second")
        )
        location = learn(self.location, mean_of(first, trust) + self.centre, weight) - self.centre
        squares = (second - 2 * location * first + location.square() * trust).clamp(min=0.0)
        # Scale and trust may grow together, which leaves the likelihood as it is and gets there sooner; not at a bound.
        grown = mean_of(trust, weight)
        bounded = (mean_of(squares, trust) < self.floor.square()) | (not self.log_scale.requires_grad)
        grown = torch.where(bounded | (grown <= 0), 1.0, grown)
        scale = (mean_of(squares, weight) / grown).sqrt()
        learn(self.log_scale, scale.maximum(self.floor).log(), weight)
        known = mean_of(log_trust, weight) - grown.log() - mean_of(trust, weight) / grown + 1

        def lack(log_freedom: Tensor) -> tuple[Tensor, Tensor]:
            half = log_freedom.exp() / 2
            return half.log() - torch.digamma(half) + known, 1 - half * torch.polygamma(1, half)

        low = torch.full_like(known, math.log(_LEAST))
        learn(self.log_freedom, root(lack, low, torch.full_like(known, math.log(_LARGEST))), weight)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        half = self.log_freedom.exp()[states] / 2
        noise = torch.randn(half.shape, generator=generator, dtype=half.dtype, device=half.device)
        precision = torch._standard_gamma(half, generator=generator) / half
        return self.location[states] + self.log_scale.exp()[states] * noise / precision.sqrt()

    @torch.no_grad()
    def project(self) -> None:
        confine(self.log_scale, self.floor.log())
        confine(self.log_freedom, math.log(_LEAST), math.log(_LARGEST))

    def expected(self) -> Tensor:
        """The location, also where the tails are so heavy that there is no mean."""
        return self.location

    def describe(self) -> dict[str, Tensor]:
        names = {"location": self.location, "scale": self.log_scale.exp(), "freedom": self.log_freedom.exp()}
        return {name: value.detach() for name, value in names.items()}


def _spread(x: Tensor) -> Tensor:
    """How far the values of each feature typically lie from their median, ``(F,)``; outliers do not matter."""
    typical = (x - x.nanmedian(0).values).abs().nanmedian(0).values
    return torch.where(typical > 0, typical, floor_of(x, 1.0).sqrt())

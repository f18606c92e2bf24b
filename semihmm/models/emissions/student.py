"""Gaussians with heavy tails, which outliers do not move."""

import math

import torch
from torch import Tensor, nn

from semihmm.models.emissions.gaussian import floor_of
from semihmm.models.emissions.independent import Independent, learn, mean_of
from semihmm.models.emissions.solving import root

_LEAST, _LARGEST = 0.1, 1000.0  # degrees of freedom: beyond, a Gaussian
_CYCLES = 3


class StudentT(Independent):
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

    An EM step is three cycles of conditional maximisation given how much each observation is trusted (Liu & Rubin 1995,
    section 3): it raises the objective, and ends at a maximum after several steps.

    Example:
        >>> emission = StudentT(states=1, features=1, freedom=1.0)
        >>> x = torch.tensor([[-1.0], [0.0], [1.0], [1e6]])
        >>> for _ in range(50):
        ...     emission.update(x, torch.ones(4, 1))
        >>> bool(emission.location.abs() < 1)
        True
    """

    support = "finite"
    floor: Tensor

    def __init__(self, states: int, features: int, scale_floor: float = 0.03, freedom: float | None = None) -> None:
        super().__init__(states, features)
        self.scale_floor, self.freedom = scale_floor, freedom
        self.location = nn.Parameter(torch.randn(states, features))
        self.log_scale = nn.Parameter(torch.zeros(states, features))
        start = torch.full((states, features), math.log(freedom or 4.0))
        self.log_freedom = nn.Parameter(start, requires_grad=freedom is None)
        self.register_buffer("floor", torch.full((features,), scale_floor))

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
        self.floor.copy_(self.scale_floor * _spread(x))

    def chart(self, x: Tensor) -> Tensor:
        """As it is near the median, and the logarithm far from it: outliers shall not be the first to be picked."""
        return ((x - x.median(0).values) / _spread(x)).asinh()

    def log_density(self, x: Tensor) -> Tensor:
        freedom, log_scale = self.log_freedom.double().exp(), self.log_scale.double()
        peak = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2) - (freedom * math.pi).log() / 2 - log_scale
        away = (x - self.location.double()) * (-log_scale).exp()
        return peak - (freedom + 1) / 2 * (away.square() / freedom).log1p()

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        x, posterior = x.double(), posterior.double()
        weight = posterior.sum(0)
        for _ in range(_CYCLES):
            for feature, column in enumerate(x.unsqueeze(-1).unbind(-2)):  # (N, 1)
                own = [p.data[:, feature] for p in (self.location, self.log_scale, self.log_freedom)]
                trusted = self._trust(column, feature) * posterior
                total = trusted.sum(0)
                location = mean_of((trusted * column).sum(0), total)
                # Over the trust, not over the weight: the same fixed point, reached faster (Kent, Tyler & Vardi 1994).
                variance = mean_of((trusted * (column - location).square()).sum(0), total)
                learn(own[0], location, weight)
                learn(own[1], variance.sqrt().maximum(self.floor[feature]).log(), weight)
                if self.freedom is None:
                    learn(own[2], self._tails(column, feature, posterior, weight), weight)

    def _trust(self, x: Tensor, feature: int) -> Tensor:
        """The expected precision of each observation ``(N, 1)`` in each state, as a multiple of the state's own."""
        freedom = self.log_freedom[:, feature].double().exp()
        away = (x - self.location[:, feature].double()) * (-self.log_scale[:, feature].double()).exp()
        return (freedom + 1) / (freedom + away.square())

    def _tails(self, x: Tensor, feature: int, posterior: Tensor, weight: Tensor) -> Tensor:
        """The best logarithm of the degrees of freedom given the trust, ``(S,)``."""
        trust = self._trust(x, feature)
        half = (self.log_freedom[:, feature].double().exp() + 1) / 2
        known = mean_of(((trust.log() - trust) * posterior).sum(0), weight) + torch.digamma(half) - half.log() + 1

        def lack(log_freedom: Tensor) -> tuple[Tensor, Tensor]:
            half = log_freedom.exp() / 2
            return half.log() - torch.digamma(half) + known, 1 - half * torch.polygamma(1, half)

        low = torch.full_like(known, math.log(_LEAST))
        return root(lack, low, torch.full_like(known, math.log(_LARGEST)))

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        half = self.log_freedom.exp()[states] / 2
        noise = torch.randn(half.shape, generator=generator, dtype=half.dtype, device=half.device)
        precision = torch._standard_gamma(half, generator=generator) / half
        return self.location[states] + self.log_scale.exp()[states] * noise / precision.sqrt()

    @torch.no_grad()
    def project(self) -> None:
        self.log_scale.clamp_(min=self.floor.log())
        self.log_freedom.clamp_(math.log(_LEAST), math.log(_LARGEST))


def _spread(x: Tensor) -> Tensor:
    """How far the values of each feature typically lie from their median, ``(F,)``; outliers do not matter."""
    typical = (x - x.median(0).values).abs().median(0).values
    return torch.where(typical > 0, typical, floor_of(x, 1.0).sqrt())

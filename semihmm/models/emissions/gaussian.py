"""Gaussians with independent features, and what all Gaussian emissions share."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from semihmm.engine import tensors
from semihmm.engine.tracing import plain, transformed
from semihmm.errors import ShapeError
from semihmm.models.emissions.base import Emission

LEAST_WEIGHT = 1e-10  # a Gaussian with a smaller total posterior than this stays as it is: it has seen nothing


def log_density(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log-densities ``(..., G)`` of ``x (..., F)`` under G diagonal Gaussians ``(G, F)``.

    Where no derivative is asked for, by compiled code, as sums of squares in the dtype of ``x``. Otherwise in float64,
    the square multiplied out, so that the cost is two matrix products and no ``(..., G, F)`` exists; what cancels is
    kept small by putting the origin among the means.
    """
    followed = torch.is_grad_enabled() and (x.requires_grad or mean.requires_grad or log_variance.requires_grad)
    if not followed and not transformed() and x.dtype == mean.dtype and plain((x, mean, log_variance)):
        found = tensors.squared_distances(x, mean, log_variance)
        if found is not None:
            return found
    centre = mean.detach().double().mean(0)
    x, mean, log_variance = x.double() - centre, mean.double() - centre, log_variance.double()
    precision = (-log_variance).exp()
    bias = (mean.square() * precision + log_variance).sum(-1) + mean.shape[-1] * math.log(2 * math.pi)
    return x @ (mean * precision).T - (x.square() @ precision.T + bias) / 2


def spread_out(x: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Observations far from one another, ``(count, F)``, out of ``(N, F)`` (k-means++: Arthur & Vassilvitskii 2007)."""
    x = x[torch.randint(len(x), (20_000,), generator=generator, device=x.device)] if len(x) > 20_000 else x
    x = x.double()
    scale = x.std(0, correction=0)
    scaled = x / torch.where(scale > 0, scale, 1.0)
    chosen = [int(torch.randint(len(x), (), generator=generator, device=x.device))]
    nearest = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
    for _ in range(count - 1):
        nearest = nearest.minimum((scaled - scaled[chosen[-1]]).square().sum(-1))
        chance = nearest if bool(nearest.sum() > 0) else torch.ones_like(nearest)  # more Gaussians than observations
        chosen.append(int(torch.multinomial(chance, 1, generator=generator)))
    return x[torch.tensor(chosen, device=x.device)]


def floor_of(x: Tensor, share: float) -> Tensor:
    """The smallest variance of each feature, ``(F,)``: a share of that of all observations ``(N, F)``."""
    variance = x.double().var(0, correction=0)
    return share * torch.where(variance > 0, variance, 1.0)


class Gaussian(Emission):
    """Each state has one Gaussian with independent features.

    Args:
        states: S.
        features: F.
        variance_floor: the smallest variance, as a share of the variance that the feature has in the data of `fit`
            (that the features have on average, if they share theirs).
        covariance: ``"diag"``, a variance for each feature, or ``"spherical"``, one for all features of a state. Those
            of `FullGaussian` are matrices.

    Observations are ``(..., T, F)``. Parameters: ``mean (S, F)`` and ``log_variance``, ``(S, F)`` or ``(S, 1)``. The
    floor makes the likelihood bounded; clipping to it is the exact EM step under that constraint.

    Example:
        >>> emission = Gaussian(states=2, features=1)
        >>> x = torch.tensor([[0.], [2.], [9.], [11.]])
        >>> emission.update(x, torch.tensor([[1., 0.], [1., 0.], [0., 1.], [0., 1.]]))
        >>> emission.mean.tolist(), emission.log_variance.exp().tolist()
        ([[1.0], [10.0]], [[1.0], [1.0]])
    """

    apart = True
    floor: Tensor

    def __init__(
        self,
        states: int,
        features: int,
        variance_floor: float = 1e-3,
        covariance: Literal["diag", "spherical"] = "diag",
    ) -> None:
        super().__init__()
        if covariance not in ("diag", "spherical"):
            matrices = {"full": "FullGaussian(...)", "tied": "FullGaussian(..., tied=True)"}
            other = f" Take {matrices[covariance]}." if covariance in matrices else ""
            raise ShapeError(f"Gaussian: covariance must be 'diag' or 'spherical', got {covariance!r}.{other}")
        self.states, self.event_shape, self.variance_floor = states, (features,), variance_floor
        self.covariance = covariance
        variances = features if covariance == "diag" else 1
        self.mean = nn.Parameter(torch.randn(states, features))
        self.log_variance = nn.Parameter(torch.zeros(states, variances))
        self.register_buffer("floor", torch.full((variances,), variance_floor))

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "features": self.event_shape[0],
            "variance_floor": self.variance_floor,
            "covariance": self.covariance,
        }

    def forward(self, x: Tensor) -> Tensor:
        return log_density(x, self.mean, self.log_variance.expand_as(self.mean)).to(self.mean.dtype)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Means at observations far from one another; the variance of all data."""
        self.floor.copy_(self._pooled(floor_of(x, self.variance_floor)))
        self.mean.copy_(spread_out(x, len(self.mean), generator))
        self.log_variance.copy_((self.floor.double() / self.variance_floor).log())

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        weight = posterior.double().sum(0).unsqueeze(-1)
        mean, variance = moments(x, posterior.double(), weight)
        seen = weight > LEAST_WEIGHT
        self.mean.copy_(torch.where(seen, mean, self.mean))
        self.log_variance.copy_(torch.where(seen, self._pooled(variance).maximum(self.floor).log(), self.log_variance))

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(
            (*states.shape, *self.mean.shape[1:]), generator=generator, dtype=self.mean.dtype, device=states.device
        )
        return (self.mean[states] + noise * (self.log_variance[states] / 2).exp()).detach()

    @torch.no_grad()
    def project(self) -> None:
        self.log_variance.clamp_(min=self.floor.log())

    def _pooled(self, variance: Tensor) -> Tensor:
        """Of features that share their variance, the mean."""
        return variance if self.covariance == "diag" else variance.mean(-1, keepdim=True)


def moments(x: Tensor, posterior: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted means and variances ``(G, F)`` of ``x (N, F)``, given weights ``(N, G)`` and their sums ``(G, 1)``."""
    centre = x.double().mean(0)
    x = x.double() - centre
    weight = weight.clamp(min=LEAST_WEIGHT)
    mean = posterior.T @ x / weight
    return mean + centre, (posterior.T @ x.square() / weight - mean.square()).clamp(min=0.0)

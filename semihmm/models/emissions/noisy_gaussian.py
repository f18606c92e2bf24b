"""Gaussians seen through noise whose variance is known."""

import math

import torch
from torch import Tensor, nn

from semihmm.engine.tracing import traced
from semihmm.errors import DataError
from semihmm.models.emissions.base import Emission, missing
from semihmm.models.emissions.learning import learn, met, spread_out
from semihmm.models.emissions.regressors import beside


class NoisyGaussian(Emission):
    """Each state has one Gaussian with independent features; each reading of it, noise of a variance of its own.

    Args:
        states: S.
        features: F.
        variance_floor: the smallest variance of what is measured, as a share of the variance that the feature has in
            the data of `fit`.

    Observations are ``(..., T, F)``; the inputs are the variances of their noise, ``(..., T, F)``, at least 0, or None
    for readings without noise. Parameters: ``mean`` and ``log_variance``, ``(S, F)``. The density of a reading is
    ``N(x; mean, variance + noise)``; EM step: the moments of what was measured, in expectation given its reading. A
    reading that is missing counts for nothing, and so does one whose noise is missing.

    Example:
        >>> emission = NoisyGaussian(states=2, features=1)
        >>> x, noise = torch.tensor([[0.0], [0.0]]), torch.tensor([[0.0], [100.0]])
        >>> exact, vague = emission(emission.observed(x, noise)).softmax(-1)[:, 0]
        >>> bool((vague - 0.5).abs() < 0.1)  # such a reading says little
        True
    """

    apart = True
    floor: Tensor
    centre: Tensor  # about which sums are taken

    def __init__(self, states: int, features: int, variance_floor: float = 1e-3) -> None:
        super().__init__()
        self.states: int = states
        self.event_shape: tuple[int] = (features,)
        self.inputs, self.variance_floor = features, variance_floor
        self.mean = nn.Parameter(torch.randn(states, features))
        self.log_variance = nn.Parameter(torch.zeros(states, features))
        self.register_buffer("floor", torch.full((features,), variance_floor))
        self.register_buffer("centre", torch.zeros(features))

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "features": self.inputs, "variance_floor": self.variance_floor}

    def observed(self, x: Tensor, inputs: Tensor | None = None) -> Tensor:
        return beside(self, x, torch.zeros_like(x) if inputs is None else inputs)

    def forward(self, x: Tensor) -> Tensor:
        y, noise, seen = self._split(x)
        variance = self.log_variance.double().exp() + noise.unsqueeze(-2)  # (..., S, F)
        away = y.unsqueeze(-2) - self.mean.double()
        each = away.square() / variance + variance.log() + math.log(2 * math.pi)
        return (-(each * seen.unsqueeze(-2)).sum(-1) / 2).to(self.dtype)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Means at readings far from one another; the variance of all data."""
        columns = [column[~column.isnan()].double() for column in x[:, : self.inputs].T]
        self.centre.copy_(torch.stack([c.mean() for c in columns]).nan_to_num())
        variance = torch.stack([c.var(correction=0) for c in columns]).nan_to_num()
        variance = torch.where(variance > 0, variance, 1.0)
        self.floor.copy_(self.variance_floor * variance)
        y, _, seen = self._split(x)
        learn(self.mean, spread_out(torch.where(seen, y, self.centre.double()), self.states, generator))
        learn(self.log_variance, variance.log())

    @torch.no_grad()
    def statistics(self, x: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        y, noise, seen = self._split(x)
        weight = posterior.double().unsqueeze(-1) * seen.unsqueeze(-2)  # (N, S, F)
        variance, location = self.log_variance.double().exp(), self.mean.double() - self.centre
        trust = variance / (variance + noise.unsqueeze(-2))
        expected = location + trust * ((y - self.centre).unsqueeze(-2) - location)
        spread = variance * (1 - trust)
        return {
            "weight": weight.sum(0),
            "first": (weight * expected).sum(0),
            "second": (weight * (expected.square() + spread)).sum(0),
        }

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        weight, first, second = (statistics[name].double() for name in ("weight", "first", "second"))
        seen = met(weight)
        weight = torch.where(seen, weight, 1.0)
        location = torch.where(seen, first / weight, self.mean.double() - self.centre)
        learn(self.mean, location + self.centre)
        location = self.mean.double() - self.centre  # it may be frozen
        variance = (second - 2 * location * first) / weight + location.square()
        learn(self.log_variance, torch.where(seen, variance.maximum(self.floor.double()).log(), self.log_variance))

    def expected(self) -> Tensor:
        return self.mean.detach()

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None, inputs: Tensor | None = None) -> Tensor:
        """Readings with noise of the given variances; without them, what would be measured without noise."""
        drawn = torch.randn((*states.shape, self.inputs), generator=generator, dtype=self.dtype, device=states.device)
        variance = self.log_variance.exp()[states] + (0.0 if inputs is None else inputs)
        return self.mean[states] + drawn * variance.sqrt()

    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Readings ``(..., F)`` with those that are missing drawn, without noise where it is not known."""
        y, noise = x.split(self.inputs, -1)
        return torch.where(missing(y), self.sample(states, generator, noise.nan_to_num(0.0)).to(x.dtype), y)

    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        """Readings ``(..., F)`` with those that are missing at their expectation."""
        return super().fill(x[..., : self.inputs], posterior)

    @torch.no_grad()
    def describe(self) -> dict[str, Tensor]:
        return {"mean": self.mean.detach(), "variance": self.log_variance.exp()}

    @torch.no_grad()
    def project(self) -> None:
        if self.log_variance.requires_grad:
            self.log_variance.clamp_(min=self.floor.log())

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Readings and the variances of their noise in float64, 0 where one is missing, and where both are there."""
        y, noise = x.split(self.inputs, -1)
        seen = ~(y.isnan() | noise.isnan())
        if not traced() and not bool(((noise >= 0) & noise.isfinite() | noise.isnan()).all()):
            raise DataError("NoisyGaussian: the inputs are variances, at least 0 and finite; a reading may be NaN.")
        return torch.where(seen, y, 0.0).double(), torch.where(seen, noise, 0.0).double(), seen

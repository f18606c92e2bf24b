"""Gaussians with correlated features."""

import math

import torch
from torch import Tensor, nn

from semihmm.models.emissions.base import Emission
from semihmm.models.emissions.gaussian import LEAST_WEIGHT, floor_of, spread_out


class FullGaussian(Emission):
    """Each state has one Gaussian with a covariance matrix.

    Args:
        states: S.
        features: F.
        variance_floor: the smallest variance in any direction, as a share of the smallest variance that a feature has
            in the data of `fit`.
        tied: whether all states share one matrix.

    Observations are ``(..., T, F)``. Parameters: ``mean (S, F)`` and ``factor``, ``(S, F, F)`` or ``(1, F, F)``: the
    Cholesky factor of each covariance with the logarithm of its diagonal. Clipping the eigenvalues to the floor is the
    exact EM step under that constraint.

    Example:
        >>> emission = FullGaussian(states=1, features=2)
        >>> emission.update(torch.tensor([[0., 0.], [2., 0.], [0., 2.], [2., 2.]]), torch.ones(4, 1))
        >>> emission.covariance().round(decimals=3).abs().tolist()
        [[[1.0, 0.0], [0.0, 1.0]]]
    """

    floor: Tensor

    def __init__(self, states: int, features: int, variance_floor: float = 1e-3, tied: bool = False) -> None:
        super().__init__()
        self.tied = tied
        self.states, self.event_shape, self.variance_floor = states, (features,), variance_floor
        self.mean = nn.Parameter(torch.randn(states, features))
        self.factor = nn.Parameter(torch.zeros(1 if tied else states, features, features))
        self.register_buffer("floor", torch.full((), variance_floor))

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "features": self.event_shape[0],
            "variance_floor": self.variance_floor,
            "tied": self.tied,
        }

    def covariance(self) -> Tensor:
        """``(S, F, F)``."""
        root = self._root(self.factor)
        return (root @ root.mT).expand(len(self.mean), -1, -1)

    def forward(self, x: Tensor) -> Tensor:
        away = x.double().flatten(0, -2).T - self.mean.double().unsqueeze(-1)  # (S, F, N): one solution for all steps
        whitened: Tensor = torch.linalg.solve_triangular(self._root(self.factor.double()), away, upper=False)
        distance = whitened.square().sum(-2).T.reshape(*x.shape[:-1], -1)
        volume = 2 * self.factor.double().diagonal(dim1=-2, dim2=-1).sum(-1)
        constant = self.mean.shape[-1] * math.log(2 * math.pi)
        return (-(distance + volume + constant) / 2).to(self.mean.dtype)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Means at observations far from one another; the variances of all data, without correlation."""
        variances = floor_of(x, self.variance_floor) / self.variance_floor
        self.floor.copy_(self.variance_floor * variances.min())
        self.mean.copy_(spread_out(x, len(self.mean), generator))
        self.factor.copy_((variances.log() / 2).diag())

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        x, posterior = x.double(), posterior.double()
        weights = posterior.sum(0).tolist()
        found: dict[int, Tensor] = {}
        for state, weight in enumerate(weights):
            if weight > LEAST_WEIGHT:
                share = posterior[:, state] / weight
                mean = share @ x
                away = (x - mean) * share.sqrt().unsqueeze(-1)
                self.mean[state] = mean.to(self.mean.dtype)
                found[state] = away.T @ away
        if self.tied and found:
            sums = torch.stack([weights[state] * covariance for state, covariance in found.items()]).sum(0)
            found = {0: sums / sum(weights[state] for state in found)}
        for index, covariance in found.items():
            self._set(index, covariance)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        shape = (*states.shape, self.mean.shape[-1], 1)
        noise = torch.randn(shape, generator=generator, dtype=self.mean.dtype, device=states.device)
        return self.mean[states] + (self._root(self.factor)[0 if self.tied else states] @ noise).squeeze(-1)

    @torch.no_grad()
    def project(self) -> None:
        root = self._root(self.factor.double())
        for index, covariance in enumerate(root @ root.mT):
            if torch.linalg.eigvalsh(covariance)[0] < self.floor:
                self._set(index, covariance)

    def _set(self, index: int, covariance: Tensor) -> None:
        size, axes = torch.linalg.eigh(covariance)
        root = torch.linalg.cholesky(axes @ size.clamp(min=float(self.floor)).diag() @ axes.mT)
        self.factor[index] = (root.tril(-1) + root.diagonal().log().diag()).to(self.factor.dtype)

    @staticmethod
    def _root(factor: Tensor) -> Tensor:
        root: Tensor = factor.tril(-1) + factor.diagonal(dim1=-2, dim2=-1).exp().diag_embed()
        return root

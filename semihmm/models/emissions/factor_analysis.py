"""Gaussians with many correlated features and few reasons for that."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models.emissions.base import Emission, missing
from semihmm.models.emissions.covariance import log_density
from semihmm.models.emissions.learning import learn, met, spread_out
from semihmm.models.emissions.regression import normal_equations
from semihmm.models.emissions.regressors import patterns, split


class FactorAnalysis(Emission):
    """Each state has a Gaussian whose covariance is of low rank plus diagonal (Ghahramani & Hinton 1996).

    Args:
        states: S.
        features: F.
        factors: K, below F: how many unseen numbers make the features vary together.
        variance_floor: the smallest variance that the factors do not explain, as a share of the variance that the
            feature has in the data of `fit`.

    Observations are ``(..., T, F)``: ``x = mean + loading z + noise``, where the factors z are K standard Gaussian
    numbers. Parameters: ``mean (S, F)``, ``loading (S, F, K)`` and ``log_variance (S, F)``, of the noise. The
    covariance is ``loading loading' + diag(variance)``, of which only K x K matrices are inverted. EM step: regression
    on the expected factors (Rubin & Thayer 1982), which raises the likelihood and need not reach its maximum at once.
    What is missing is marginalised out exactly.

    Example:
        >>> emission = FactorAnalysis(states=3, features=40, factors=2)
        >>> emission(torch.zeros(5, 40)).shape, emission.covariance().shape
        (torch.Size([5, 3]), torch.Size([3, 40, 40]))
    """

    apart = True
    floor: Tensor
    centre: Tensor  # about which sums are taken

    def __init__(self, states: int, features: int, factors: int, variance_floor: float = 1e-3) -> None:
        super().__init__()
        if not 0 < factors < features:
            raise ShapeError(
                f"FactorAnalysis: factors must be from 1 to {features - 1}, fewer than the features, got {factors}. "
                "Without factors, take Gaussian; with as many as features, FullGaussian."
            )
        self.states: int = states
        self.event_shape: tuple[int] = (features,)
        self.factors, self.variance_floor = factors, variance_floor
        self.mean = nn.Parameter(torch.randn(states, features))
        self.loading = nn.Parameter(torch.randn(states, features, factors))
        self.log_variance = nn.Parameter(torch.zeros(states, features))
        self.register_buffer("floor", torch.full((features,), variance_floor))
        self.register_buffer("centre", torch.zeros(features))

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "features": self.event_shape[0],
            "factors": self.factors,
            "variance_floor": self.variance_floor,
        }

    @property
    def free_parameters(self) -> int:
        """How many numbers are free: factors may be rotated, and nothing changes."""
        rotations = self.states * self.factors * (self.factors - 1) // 2
        return super().free_parameters - (rotations if self.loading.requires_grad else 0)

    def expected(self) -> Tensor:
        return self.mean.detach()

    def covariance(self) -> Tensor:
        """``(S, F, F)``."""
        return self.loading @ self.loading.mT + self.log_variance.exp().diag_embed()

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, -2)
        found = torch.zeros(len(flat), self.states, dtype=torch.float64, device=x.device)
        for steps, features, y in self._observed(x):
            location, log_variance = self.mean.double()[:, features], self.log_variance.double()[:, features]
            root, projection = self._projection(features)
            white = _projected(y, location, torch.linalg.solve_triangular(root, projection, upper=False))
            volume = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            density = log_density(y, location, log_variance, None) + white.square().sum(-1) / 2 - volume
            found = found.index_put((steps,), density)
        return found.reshape(*x.shape[:-1], -1).to(self.dtype)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Means at observations far from one another; the variance of all data, and small loadings at random."""
        columns = [column[~column.isnan()].double() for column in x.T]
        self.centre.copy_(torch.stack([c.mean() for c in columns]).nan_to_num())
        variance = torch.stack([c.var(correction=0) for c in columns]).nan_to_num()
        variance = torch.where(variance > 0, variance, 1.0)
        self.floor.copy_(self.variance_floor * variance)
        whole = torch.where(missing(x), self.centre.to(x.dtype), x)
        learn(self.mean, spread_out(whole, self.states, generator))
        small = variance.sqrt().unsqueeze(-1) / (10 * self.factors) ** 0.5
        learn(self.loading, small * torch.empty_like(self.loading).normal_(generator=generator))
        learn(self.log_variance, variance.log())

    @torch.no_grad()
    def statistics(self, x: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        posterior = posterior.double()
        size = (self.states, *self.event_shape)
        weight, yy = posterior.new_zeros(size), posterior.new_zeros(size)
        zz = posterior.new_zeros(*size, self.factors + 1, self.factors + 1)
        zy = posterior.new_zeros(*size, self.factors + 1)
        for steps, features, y in self._observed(x):
            share = posterior[steps]
            factors, spread = self._expected_factors(y, features)
            factors = factors.transpose(0, 1)
            design = torch.cat([factors, torch.ones_like(factors[..., :1])], -1)  # (S, n, K + 1)
            weighted = share.T.unsqueeze(-1) * design
            products = weighted.mT @ design
            products[:, :-1, :-1] += spread * share.sum(0)[:, None, None]
            y = y - self.centre.double()[features]
            weight[:, features] += share.sum(0).unsqueeze(-1)
            zz[:, features] += products.unsqueeze(1)
            zy[:, features] += (weighted.mT @ y).mT
            yy[:, features] += share.T @ y.square()
        return {"weight": weight, "zz": zz, "zy": zy, "yy": yy}

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        weight, zz, zy, yy = (statistics[name].double() for name in ("weight", "zz", "zy", "yy"))
        seen = met(weight)
        found = torch.cat([self.loading.double(), (self.mean.double() - self.centre).unsqueeze(-1)], -1)
        free = [*[self.loading.requires_grad] * self.factors, self.mean.requires_grad]
        if any(free):
            some = torch.tensor(free, device=zz.device)
            left = zy - torch.einsum("sfpq,sfq->sfp", zz, torch.where(some, 0.0, found))
            solved = normal_equations(zz[..., some, :][..., some], left[..., some], weight)
            found[..., some] = torch.where(seen.unsqueeze(-1), solved, found[..., some])
            learn(self.loading, found[..., :-1])
            learn(self.mean, found[..., -1] + self.centre)
        squares = yy - 2 * (found * zy).sum(-1) + torch.einsum("sfp,sfpq,sfq->sf", found, zz, found)
        variance = (squares / torch.where(seen, weight, 1.0)).maximum(self.floor.double())
        learn(self.log_variance, torch.where(seen, variance.log(), self.log_variance))

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        factors = self._noise(states, self.factors, generator)
        return self._drawn(states, factors, generator)

    @torch.no_grad()
    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        factors = self._noise(states, self.factors, generator).double()
        white, flat = factors.flatten(0, -2), states.flatten()
        for steps, features, y in self._observed(x):
            expected, spread = self._expected_factors(y, features)
            own, each = flat[steps], torch.arange(len(steps), device=x.device)
            moved = torch.linalg.cholesky(spread)[own] @ white[steps].unsqueeze(-1)
            white[steps] = expected[each, own] + moved.squeeze(-1)
        return torch.where(missing(x), self._drawn(states, factors.to(self.dtype), generator).to(x.dtype), x)

    @torch.no_grad()
    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        posterior = posterior.double()
        factors = posterior.new_zeros(*posterior.shape, self.factors)
        for steps, features, y in self._observed(x):
            factors.view(-1, self.states, self.factors)[steps], _ = self._expected_factors(y, features)
        together = torch.einsum("...sk,sfk->...f", factors * posterior.unsqueeze(-1), self.loading.double())
        return torch.where(missing(x), (posterior @ self.mean.double() + together).to(x.dtype), x)

    def describe(self) -> dict[str, Tensor]:
        return {
            "mean": self.mean.detach(),
            "loading": self.loading.detach(),
            "variance": self.log_variance.detach().exp(),  # of the noise
        }

    @torch.no_grad()
    def project(self) -> None:
        if self.log_variance.requires_grad:
            self.log_variance.clamp_(min=self.floor.log())

    def _projection(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The Cholesky factor of ``I + loading' precision loading`` of some features, and ``loading' precision``."""
        loading = self.loading.double()[:, features]
        projection = (loading * (-self.log_variance.double()[:, features]).exp().unsqueeze(-1)).mT
        identity = torch.eye(self.factors, dtype=loading.dtype, device=loading.device)
        root: Tensor = torch.linalg.cholesky(identity + projection @ loading)
        return root, projection

    def _expected_factors(self, y: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Of each observation ``(n, f)`` of some features, ``(n, S, K)``, and their covariance ``(S, K, K)``."""
        root, projection = self._projection(features)
        spread = torch.cholesky_inverse(root)
        return _projected(y, self.mean.double()[:, features], spread @ projection), spread

    def _observed(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Steps that see the same features, as indices, these features, and what is seen of them ``(n, f)``."""
        y, _, seen = split(x.flatten(0, -2), self.event_shape[0])
        for steps, features in patterns(seen):
            yield steps, features, y[steps][:, features]

    def _noise(self, states: Tensor, size: int, generator: torch.Generator | None) -> Tensor:
        return torch.randn((*states.shape, size), generator=generator, dtype=self.dtype, device=states.device)

    def _drawn(self, states: Tensor, factors: Tensor, generator: torch.Generator | None) -> Tensor:
        """Observations in states ``(...)`` with factors ``(..., K)``."""
        noise = self._noise(states, self.event_shape[0], generator) * (self.log_variance[states] / 2).exp()
        return self.mean[states] + (self.loading[states] @ factors.unsqueeze(-1)).squeeze(-1) + noise


def _projected(x: Tensor, location: Tensor, projection: Tensor) -> Tensor:
    """``projection (S, K, f) (x (n, f) - location (S, f))``, ``(n, S, K)``, as one matrix product."""
    centre = location.detach().mean(0)
    moved: Tensor = ((x - centre) @ projection.flatten(0, 1).T).unflatten(-1, projection.shape[:2])
    return moved - (projection @ (location - centre).unsqueeze(-1)).squeeze(-1)

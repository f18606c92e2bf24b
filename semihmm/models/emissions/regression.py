"""Gaussians whose mean is linear in what stands beside the observation: what regressions share."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models.emissions.base import Emission, missing
from semihmm.models.emissions.learning import learn, met
from semihmm.models.emissions.regressors import begin, design, linear, patterns, products, split


def normal_equations(uu: Tensor, uy: Tensor, weight: Tensor, ridge: Tensor | float = 0.0) -> Tensor:
    """The coefficients ``(..., R)`` of least squares from weighted sums of products.

    Args:
        uu: of regressors with one another, ``(..., R, R)``.
        uy: of regressors with what they explain, ``(..., R)``.
        weight: the sum of weights, ``(...)``.
        ridge: what is added to the diagonal, ``(R,)``.
    Returns:
        The smallest of all solutions, in units in which all regressors are about 1.
    """
    weight = torch.where(weight > 0, weight, 1.0)
    uu = uu / weight[..., None, None] + torch.diag_embed(ridge / weight[..., None] * torch.ones_like(uy))
    size = uu.diagonal(dim1=-2, dim2=-1).sqrt()
    size = torch.where(size > 0, size, 1.0)
    inverse = torch.linalg.pinv(uu / size.unsqueeze(-1) / size.unsqueeze(-2), hermitian=True)
    found: Tensor = (inverse @ (uy / weight[..., None] / size).unsqueeze(-1)).squeeze(-1) / size
    return found


class Regression(Emission):
    """A Gaussian whose mean is linear in regressors: what stands behind the observation, along the last axis.

    Args:
        states: S.
        features: F.
        regressors: how many there are.
        covariance: ``"diag"`` or ``"full"``.
        intercept: whether 1 is one regressor more.
        ridge: the weight of squared coefficients, those of the intercept left out.
        variance_floor: the smallest variance, as a share of that in the data of `fit`.
    """

    apart = True
    floor: Tensor
    centre: Tensor  # of observations and regressors, about which sums are taken

    def __init__(
        self,
        states: int,
        features: int,
        regressors: int,
        covariance: Literal["diag", "full"],
        intercept: bool,
        ridge: float,
        variance_floor: float,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if covariance not in ("diag", "full"):
            raise ShapeError(f"{name}: covariance must be 'diag' or 'full', got {covariance!r}.")
        if ridge < 0 or regressors + intercept < 1:
            raise ShapeError(
                f"{name}: ridge must be at least 0, and there must be a regressor or an intercept; got ridge {ridge}."
            )
        self.states: int = states
        self.event_shape: tuple[int] = (features,)
        self.covariance_type, self.intercept, self.ridge = covariance, intercept, ridge
        self.variance_floor = variance_floor
        full = covariance == "full"
        self.coefficients = nn.Parameter(torch.randn(states, features, regressors + intercept))
        if full:
            self.factor = nn.Parameter(torch.zeros(states, features, features))
        else:
            self.log_variance = nn.Parameter(torch.zeros(states, features))
        self.register_buffer("floor", torch.full(() if full else (features,), variance_floor))
        self.register_buffer("centre", torch.zeros(features + regressors))

    def covariance(self) -> Tensor:
        """Of an observation around its mean, ``(S, F, F)``."""
        if self.covariance_type == "diag":
            return self.log_variance.exp().diag_embed()
        root = self._root()
        return (root @ root.mT).to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        y, u, seen = split(x, self.event_shape[0])
        away = y.unsqueeze(-2) - self._predicted(u)  # (..., S, F)
        if self.covariance_type == "diag":
            log_variance = self.log_variance.double()
            each = away.square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi)
            return (-(each * seen.unsqueeze(-2)).sum(-1) / 2).to(self.dtype)
        away, seen = away.flatten(0, -3), seen.flatten(0, -2)
        found = away.new_zeros(away.shape[:-1])
        root = self._root()
        for steps, features in patterns(seen):
            part = root
            if len(features) < seen.shape[-1]:
                rows = root[:, features]
                part = torch.linalg.cholesky(rows @ rows.mT)
            white = torch.linalg.solve_triangular(part, away[steps][..., features].permute(1, 2, 0), upper=False)
            volume = 2 * part.diagonal(dim1=-2, dim2=-1).log().sum(-1) + len(features) * math.log(2 * math.pi)
            found = found.index_put((steps,), -(white.square().sum(-2).T + volume) / 2)
        # Under a transform, the steps are not told apart by what they see.
        return torch.where(seen.any(-1, keepdim=True), found, 0.0).reshape(*x.shape[:-1], -1).to(self.dtype)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """The most likely of a few mixtures, each fitted for a few steps without regard to time."""
        columns = [column[~column.isnan()].double() for column in x.T]
        spread = torch.stack([c.var(correction=0) for c in columns[: self.event_shape[0]]]).nan_to_num()
        floor = self.variance_floor * torch.where(spread > 0, spread, 1.0)
        self.floor.copy_(floor if self.covariance_type == "diag" else floor.min())
        if self.intercept:
            self.centre.copy_(torch.stack([c.mean() for c in columns]).nan_to_num())
        begin(self, x, generator)

    @torch.no_grad()
    def statistics(self, x: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        y, u, seen = split(x, self.event_shape[0])
        posterior = posterior.double()
        if self.covariance_type == "full":
            return self._expected(y, u, seen, posterior)
        y, u = self._centred(y, u)
        states, features = self.states, self.event_shape[0]
        weight = posterior.unsqueeze(-1) * seen.unsqueeze(-2)  # (N, S, F)
        whole = seen.all(-1, keepdim=True)
        if bool((whole == seen).all()):  # then it is the same for all features
            uu = ((posterior * whole).T @ products(u)).unsqueeze(1).expand(-1, features, -1)
        else:
            uu = (weight.flatten(1).T @ products(u)).unflatten(0, (states, features))
        weighted = weight * y.unsqueeze(-2)
        return {
            "weight": weight.sum(0),
            "uu": uu.unflatten(-1, (u.shape[-1], u.shape[-1])),
            "uy": torch.einsum("nsf,np->sfp", weighted, u),
            "yy": (weighted * y.unsqueeze(-2)).sum(0),
        }

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        weight, uu, uy, yy = (statistics[name].double() for name in ("weight", "uu", "uy", "yy"))
        full = self.covariance_type == "full"
        seen = met(weight)
        penalty = self.ridge * torch.ones(uy.shape[-1], dtype=uy.dtype, device=uy.device)
        if self.intercept:
            penalty[-1] = 0.0
        found = self._moved(self.coefficients.double(), -1)
        if self.coefficients.requires_grad:
            weights, pairs = (weight.unsqueeze(-1), uu.unsqueeze(1)) if full else (weight, uu)
            best = normal_equations(pairs, uy, weights.expand(uy.shape[:-1]), penalty)
            found = torch.where(met(weights).unsqueeze(-1), best, found)
            self.coefficients.copy_(self._moved(found, 1))
        safe = torch.where(seen, weight, 1.0)
        if full:
            if self.factor.requires_grad:
                cross = found @ uy.mT
                left = yy - cross - cross.mT + found @ (uu + penalty.diag()) @ found.mT
                for state in seen.nonzero().squeeze(-1).tolist():
                    self._set(state, left[state] / safe[state])
        else:
            squares = torch.einsum("sfp,sfpq,sfq->sf", found, uu + penalty.diag(), found)
            variance = ((yy - 2 * (found * uy).sum(-1) + squares) / safe).maximum(self.floor.double())
            learn(self.log_variance, torch.where(seen, variance.log(), self.log_variance))

    def log_prior(self) -> Tensor:
        """Of the coefficients: ``-ridge / 2`` times their squares, in units of the variance."""
        if self.ridge == 0:
            return self.coefficients.new_zeros(())
        slopes = self.coefficients[..., :-1] if self.intercept else self.coefficients
        if self.covariance_type == "diag":
            return -self.ridge / 2 * (slopes.square().sum(-1) * (-self.log_variance).exp()).sum()
        white: Tensor = torch.linalg.solve_triangular(self._root(), slopes.double(), upper=False)
        return -self.ridge / 2 * white.square().sum()

    def describe(self) -> dict[str, Tensor]:
        slopes = self.coefficients.detach()
        found = {"coefficients": slopes[..., : -1 if self.intercept else None]}
        if self.intercept:
            found["intercept"] = slopes[..., -1]
        if self.covariance_type == "diag":
            return found | {"variance": self.log_variance.detach().exp()}
        return found | {"covariance": self.covariance().detach()}

    @torch.no_grad()
    def project(self) -> None:
        if self.covariance_type == "diag":
            if self.log_variance.requires_grad:
                self.log_variance.clamp_(min=self.floor.log())
        elif self.factor.requires_grad:
            root = self._root()
            for state, covariance in enumerate(root @ root.mT):
                if torch.linalg.eigvalsh(covariance)[0] < self.floor:
                    self._set(state, covariance)

    def _drawn(self, states: Tensor, regressors: Tensor, noise: Tensor) -> Tensor:
        """Observations in states ``(...)`` at regressors ``(..., R)``, from standard Gaussian noise ``(..., F)``."""
        columns = design(regressors.to(self.dtype), self.intercept)
        middle = (self.coefficients[states] @ columns.unsqueeze(-1)).squeeze(-1)
        if self.covariance_type == "diag":
            return (middle + noise * (self.log_variance[states] / 2).exp()).detach()
        return (middle + (self._root().to(self.dtype)[states] @ noise.unsqueeze(-1)).squeeze(-1)).detach()

    def _noise(self, states: Tensor, generator: torch.Generator | None) -> Tensor:
        shape = (*states.shape, *self.event_shape)
        return torch.randn(shape, generator=generator, dtype=self.dtype, device=states.device)

    def _filled(self, x: Tensor, posterior: Tensor) -> Tensor:
        """Observations ``(..., F)`` with what is missing at its expectation under a posterior ``(..., S)``."""
        posterior = posterior.double().reshape(-1, self.states)
        return self._put(x, lambda steps, middle, left: torch.einsum("ns,nsf->nf", posterior[steps], middle))

    def _completed(self, x: Tensor, states: Tensor, noise: Tensor) -> Tensor:
        """Observations ``(..., F)`` with what is missing drawn, from standard Gaussian noise ``(..., F)``."""
        states, noise = states.reshape(-1), noise.double().reshape(-1, *self.event_shape)

        def drawn(steps: Tensor, middle: Tensor, left: Tensor) -> Tensor:
            size, axes = torch.linalg.eigh(left)  # singular: what is there is certain
            root = axes * size.clamp(min=0.0).sqrt().unsqueeze(-2)
            each = torch.arange(len(steps), device=steps.device)
            moved: Tensor = root[states[steps]] @ noise[steps].unsqueeze(-1)
            return middle[each, states[steps]] + moved.squeeze(-1)

        return self._put(x, drawn)

    def _put(self, x: Tensor, value: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Observations ``(..., F)`` where what is missing is a function of the steps, and of `_given` for them."""
        features = self.event_shape[0]
        y, u, _ = split(x, features)
        flat, y, u = (
            x[..., :features].reshape(-1, features).clone(),
            y.reshape(-1, features),
            u.reshape(-1, u.shape[-1]),
        )
        gone, known = missing(flat), ~missing(x[..., features:]).any(-1).reshape(-1)
        for here in gone.unique(dim=0):
            steps = ((gone == here).all(-1) & known).nonzero().squeeze(-1)
            if len(steps) and bool(here.any()):
                found = value(steps, *self._given(y[steps], u[steps], (~here).nonzero().squeeze(-1)))
                flat[steps] = torch.where(here, found.to(x.dtype), flat[steps])
        return flat.reshape(*x.shape[:-1], features)

    def _given(self, y: Tensor, u: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of observations ``(n, S, F)`` given the named features of each, and the covariance ``(S, F, F)``."""
        middle, covariance = self._predicted(u), self.covariance().double()
        gain = torch.linalg.solve(covariance[:, features][:, :, features], covariance[:, features]).mT  # (S, F, f)
        away = y.unsqueeze(-2)[..., features] - middle[..., features]
        middle = middle + torch.einsum("sfg,nsg->nsf", gain, away)
        left = covariance - gain @ covariance[:, features]
        middle[..., features] = y.unsqueeze(-2)[..., features]
        left[:, features], left[..., features] = 0.0, 0.0
        return middle, left

    def _expected(self, y: Tensor, u: Tensor, seen: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        """The sums of whole observations, in expectation given what is there of each."""
        states, (features,), regressors = self.states, self.event_shape, self.coefficients.shape[-1]
        weight = posterior.new_zeros(states)
        uu = posterior.new_zeros(states, regressors, regressors)
        uy, yy = (posterior.new_zeros(states, features, size) for size in (regressors, features))
        for steps, there in patterns(seen):
            share, part = posterior[steps], y[steps].unsqueeze(-2)
            if len(there) < features:
                part, left = self._given(y[steps], u[steps], there)
                yy += left * share.sum(0)[:, None, None]
            part, columns = self._centred(part, u[steps])
            weighted = share.T.unsqueeze(-1) * part.transpose(0, 1)  # (S, n, F)
            weight += share.sum(0)
            uu += (share.T.unsqueeze(-1) * columns).mT @ columns
            uy += weighted.mT @ columns
            yy += weighted.mT @ part.transpose(0, 1)
        return {"weight": weight, "uu": uu, "uy": uy, "yy": yy}

    def _predicted(self, u: Tensor) -> Tensor:
        """The mean in each state, ``(..., S, F)``."""
        return linear(design(u, self.intercept), self.coefficients.double())

    def _centred(self, y: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Observations and the design, about the centre."""
        of_y, of_u = self.centre.double().split([self.event_shape[0], len(self.centre) - self.event_shape[0]])
        return y - of_y, design(u - of_u, self.intercept)

    def _moved(self, coefficients: Tensor, way: int) -> Tensor:
        """Coefficients for centred data from those for data as they are (way -1), or back (way 1)."""
        if not self.intercept:
            return coefficients
        of_y, of_u = self.centre.double().split([self.event_shape[0], len(self.centre) - self.event_shape[0]])
        slopes, level = coefficients[..., :-1], coefficients[..., -1]
        return torch.cat([slopes, (level + way * (of_y - slopes @ of_u)).unsqueeze(-1)], -1)

    def _root(self) -> Tensor:
        factor = self.factor.double()
        root: Tensor = factor.tril(-1) + factor.diagonal(dim1=-2, dim2=-1).exp().diag_embed()
        return root

    def _set(self, state: int, covariance: Tensor) -> None:
        size, axes = torch.linalg.eigh(covariance)
        root = torch.linalg.cholesky(axes @ size.clamp(min=float(self.floor)).diag() @ axes.mT)
        self.factor[state] = (root.tril(-1) + root.diagonal().log().diag()).to(self.factor.dtype)

"""Mixtures of Gaussians as emissions."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from semihmm._optional import require
from semihmm.errors import ShapeError
from semihmm.estimators.base import Array, Estimator, Prior, RandomState, _utils, distribution, mode
from semihmm.estimators.covariances import (
    LEAST_WEIGHT,
    Covariance,
    checked,
    checked_type,
    floored,
    free_in,
    gaussians,
    least_variance,
    outer,
    scatter,
    spread,
)
from semihmm.models import Emission


@dataclass(eq=False, repr=False)
class GMMHMM(Estimator):
    """Each state has a mixture of Gaussians. Other arguments as of `BaseHMM`.

    Args:
        n_mix: Gaussians of each state.
        min_covar: added to the variances of the data, which those of the Gaussians start from.
        weights_prior: Dirichlet prior of `weights_`, a number or an array that broadcasts to it; 1 for none.
        means_prior, means_weight: mean and precision of the normal prior of `means_`, which broadcast to
            ``(n_components, n_mix, n_features)`` and ``(n_components, n_mix)``.
        covars_prior, covars_weight: of `covars_`: the shape and the scale of an inverse gamma prior for
            ``"spherical"`` and ``"diag"``, the scale and the degrees of freedom of an inverse Wishart prior for
            ``"full"`` and ``"tied"``; None for no prior.
        covariance_type: ``"spherical"``, ``"diag"`` or ``"full"``, of each Gaussian; ``"tied"``, one matrix for all
            Gaussians of a state.
        params, init_params: ``"w"`` for `weights_`, ``"m"`` for `means_`, ``"c"`` for `covars_`.

    Attributes:
        weights_: ``(n_components, n_mix)``.
        means_: ``(n_components, n_mix, n_features)``.
        covars_: ``(n_components, n_mix)``, ``(n_components, n_mix, n_features)``, matrices for each Gaussian, or
            ``(n_components, n_features, n_features)``, by `covariance_type`.

    Example:
        >>> import numpy as np
        >>> X = np.random.RandomState(0).randn(200, 1) + np.repeat([0.0, 9.0, 40.0, 49.0], 50)[:, None]
        >>> model = GMMHMM(n_components=2, n_mix=2, random_state=0, init_params="stmw")
        >>> model.covars_ = np.ones((2, 2, 1))
        >>> model = model.fit(X)
        >>> np.sort(model.means_.ravel()).round().tolist()
        [0.0, 9.0, 40.0, 49.0]
    """

    n_components: int = 1
    n_mix: int = 1
    min_covar: float = 1e-3
    startprob_prior: Prior = 1.0
    transmat_prior: Prior = 1.0
    weights_prior: Prior = 1.0
    means_prior: Prior = 0.0
    means_weight: Prior = 0.0
    covars_prior: Prior | None = None
    covars_weight: Prior | None = None
    algorithm: Literal["viterbi", "map"] = "viterbi"
    covariance_type: Covariance = "diag"
    random_state: RandomState = None
    n_iter: int = 10
    tol: float = 1e-2
    verbose: bool = False
    params: str = "stmcw"
    init_params: str = "stmcw"
    implementation: Literal["log", "scaling"] = "log"

    letters = Estimator.letters | {"w": "weights_", "m": "means_", "c": "covars_"}
    _featured = "means_"
    weights_: Array = field(init=False)
    means_: Array = field(init=False)
    covars_: Array = field(init=False)

    def _shape(self, features: int) -> tuple[int, ...]:
        states, gaussians = self.n_components, self.n_mix
        return {
            "spherical": (states, gaussians),
            "diag": (states, gaussians, features),
            "full": (states, gaussians, features, features),
            "tied": (states, features, features),
        }[self.covariance_type]

    def _emission(self) -> "Mixture":
        tied = self.covariance_type == "tied"
        covars = np.repeat(self.covars_, self.n_mix, 0) if tied else self.covars_.reshape(-1, *self.covars_.shape[2:])
        each = gaussians(self.means_.reshape(-1, self.n_features), covars, "full" if tied else self.covariance_type)
        return Mixture(each, self.weights_)

    def _start(self, X: Array) -> None:
        checked_type(self.covariance_type)
        self._least = least_variance(X)
        if self._needs_init("w"):
            self.weights_ = np.full((self.n_components, self.n_mix), 1 / self.n_mix)
        if self._needs_init("m"):
            self.means_ = self._clusters(X)
        if self._needs_init("c"):
            self.covars_ = spread(X, self.min_covar, self.covariance_type, self._shape(X.shape[1]))

    def _clusters(self, X: Array) -> Array:
        """Clusters of the data for states, and clusters of those for their Gaussians."""
        cluster = require("sklearn.cluster", extra="estimators", purpose="The start of GMMHMM")
        options = {"n_init": 10, "random_state": self.random_state}
        states = cluster.KMeans(self.n_components, **options).fit(X)
        means = []
        for state in range(self.n_components):
            mine = X[states.labels_ == state]
            if len(mine) >= self.n_mix:
                means.append(cluster.KMeans(self.n_mix, **options).fit(mine).cluster_centers_)
            else:
                middle = states.cluster_centers_.mean(0)
                covariance = spread(X, self.min_covar, "full", (X.shape[1],) * 2)
                draw = _utils.check_random_state(self.random_state).multivariate_normal
                means.append(draw(middle, covariance, self.n_mix))
        return np.stack(means)

    def _check(self) -> None:
        super()._check()
        checked_type(self.covariance_type)
        shape = (self.n_components, self.n_mix)
        self.weights_ = distribution("weights_", self.weights_, shape)
        self.means_ = np.asarray(self.means_, dtype=np.float64)
        if self.means_.ndim != 3 or self.means_.shape[:2] != shape:
            raise ShapeError(
                f"means_ must be ({self.n_components}, {self.n_mix}, n_features), got {self.means_.shape}."
            )
        self.covars_ = checked(self.covars_, self.covariance_type, self._shape(self.n_features))

    def _free(self) -> dict[str, int]:
        states, features = self.n_components, self.n_features
        return {
            **super()._free(),
            "m": states * self.n_mix * features,
            "c": free_in(self._shape(features), self.covariance_type),
            "w": states * (self.n_mix - 1),
        }

    def _maximise(self, X: Array, posterior: Array) -> None:
        with torch.no_grad():
            share = self._emission().joint(self._tensor(X)).softmax(-1).numpy()
        share = np.where(posterior[:, :, None] > 0, share * posterior[:, :, None], 0)
        weight = share.sum(0)
        each = share.reshape(len(X), -1)
        before = self.means_
        if "w" in self.params:
            self.weights_ = mode(weight, self.weights_prior, self.weights_)
        if "m" in self.params:
            strength = np.broadcast_to(self.means_weight, weight.shape)[:, :, None]
            total = strength + weight[:, :, None]
            sums = strength * self.means_prior + (each.T @ X).reshape(before.shape)
            self.means_ = np.where(total > LEAST_WEIGHT, sums / np.maximum(total, LEAST_WEIGHT), before)
        if "c" in self.params:
            squares = scatter(X, each, before.reshape(-1, X.shape[1]), self.covariance_type)
            squares = squares.reshape(*weight.shape, *squares.shape[1:])
            self.covars_ = floored(self._covariances(squares, weight), self.covariance_type, self._least)

    def _covariances(self, squares: Array, weight: Array) -> Array:
        """About the means before the step, as hmmlearn has them: where the means come to rest, it is all the same."""
        features = self.n_features
        strength = np.broadcast_to(self.means_weight, weight.shape)[:, :, None]
        away = np.sqrt(strength) * (self.means_ - self.means_prior)
        if self.covariance_type in ("full", "tied"):
            squares, gaussians = squares + outer(away), 1
            if self.covariance_type == "tied":
                squares, weight, gaussians = squares.sum(1), weight.sum(1), self.n_mix
            squares = squares + given(self.covars_prior)
            total = (weight + given(self.covars_weight, gaussians + features + 1))[..., None, None]
        else:
            squares, weight, pooled = squares + away**2, weight[:, :, None], 1
            if self.covariance_type == "spherical":
                squares, weight, pooled = squares.sum(-1), features * weight[:, :, 0], features
            squares = squares + 2 * given(self.covars_weight)
            total = weight + 2 * given(self.covars_prior, 1 + pooled / 2)
        return np.where(total > LEAST_WEIGHT, squares / np.maximum(total, LEAST_WEIGHT), self.covars_)


def given(prior: Prior | None, more: float = 0.0) -> Array:
    """A number of a prior, and more; without one, nothing."""
    return np.asarray(0.0 if prior is None else np.asarray(prior) + more)


class Mixture(Emission):
    """A mixture for each state, of emissions that are counted through: state after state."""

    weights: Tensor

    def __init__(self, each: Emission, weights: Array) -> None:
        super().__init__()
        self.each, self.states, self.event_shape = each, len(weights), each.event_shape
        self.register_buffer("weights", torch.tensor(weights))

    def joint(self, x: Tensor) -> Tensor:
        """``log(weight * density)`` of each component of each state, ``(..., S, C)``."""
        density: Tensor = self.each(x)
        return torch.unflatten(density, -1, self.weights.shape) + self.weights.log()

    def forward(self, x: Tensor) -> Tensor:
        return self.joint(x).logsumexp(-1)

    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """They are where they are."""

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        component = torch.multinomial(self.weights[states], 1, generator=generator).squeeze(-1)
        return self.each.sample(states * self.weights.shape[1] + component, generator)

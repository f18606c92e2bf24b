"""Mixtures of Gaussians as emissions."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from semihmm._optional import require
from semihmm.errors import ShapeError
from semihmm.estimators.base import Array, Estimator, Prior, RandomState, _utils, distribution, mode
from semihmm.estimators.covariances import (
    Covariance,
    Moments,
    checked,
    checked_type,
    floored,
    least_variance,
    mean_of,
    outer,
    spread,
    whole,
)
from semihmm.models import Emission, GaussianMixture
from semihmm.models.moving import building


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

    def _emission(self) -> GaussianMixture:
        covars = {"spherical": self.covars_[..., None], "tied": self.covars_[:, None]}
        spread = building.numbers(covars.get(self.covariance_type, self.covars_))
        numbers = building.numbers
        return building.mixture(numbers(self.weights_), numbers(self.means_), spread, self.covariance_type)

    def _start(self, X: Array) -> None:
        checked_type(self.covariance_type)
        X = whole(X)
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

    def _maximise(self, emission: Emission, sums: dict[str, Array]) -> None:
        assert isinstance(emission, GaussianMixture)
        moments, before = Moments(emission, sums), self.means_
        strength = np.broadcast_to(self.means_weight, self.weights_.shape)[..., None]
        if "w" in self.params:
            self.weights_ = mode(sums["counts"], self.weights_prior, self.weights_)
        if "m" in self.params:
            self.means_ = mean_of(strength * self.means_prior + moments.total, strength + moments.weight, before)
        if "c" in self.params:
            found = self._covariances(moments.about(before), moments.weight, strength)
            self.covars_ = floored(found, self.covariance_type, self._least)

    def _covariances(self, squares: Array, weight: Array, strength: Array) -> Array:
        """About the means before the step, as hmmlearn has them: where the means come to rest, it is all the same."""
        features = self.n_features
        away = np.sqrt(strength) * (self.means_ - self.means_prior)
        if self.covariance_type in ("full", "tied"):
            squares, weight, gaussians = squares + outer(away), weight[..., 0], 1
            if self.covariance_type == "tied":
                squares, weight, gaussians = squares.sum(1), weight.sum(1), self.n_mix
            squares = squares + given(self.covars_prior)
            total = (weight + given(self.covars_weight, gaussians + features + 1))[..., None, None]
        else:
            squares, pooled = squares + away**2, 1
            if self.covariance_type == "spherical":
                squares, weight, pooled = squares.sum(-1), weight.sum(-1), features
            squares = squares + 2 * given(self.covars_weight)
            total = weight + 2 * given(self.covars_prior, 1 + pooled / 2)
        return mean_of(squares, total, self.covars_)


def given(prior: Prior | None, more: float = 0.0) -> Array:
    """A number of a prior, and more; without one, nothing."""
    return np.asarray(0.0 if prior is None else np.asarray(prior) + more)

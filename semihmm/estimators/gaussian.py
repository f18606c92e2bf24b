"""Gaussian emissions."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from semihmm._optional import require
from semihmm.errors import ShapeError
from semihmm.estimators.base import Array, Estimator, Prior, RandomState
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
from semihmm.models import Emission, Gaussian
from semihmm.models.moving import building


class OneGaussian(Estimator):
    """What estimators share whose states have a Gaussian each."""

    covariance_type: Covariance
    _featured = "means_"
    means_: Array
    _covars_: Array

    @property
    def covars_(self) -> Array:
        """Covariance matrices ``(n_components, n_features, n_features)``."""
        states, features = self.n_components, self.n_features
        if self.covariance_type in ("full", "tied"):
            return np.broadcast_to(self._covars_, (states, features, features)).copy()
        variances = np.broadcast_to(self._covars_.reshape(states, -1), (states, features))
        return variances[:, :, None] * np.eye(features)

    @covars_.setter
    def covars_(self, covars: ArrayLike) -> None:
        checked_type(self.covariance_type)
        covars = np.atleast_1d(np.array(covars, dtype=np.float64))
        if self.covariance_type == "spherical" and covars.size:
            covars = covars.reshape(len(covars), -1)
            covars = covars[:, 0] if (covars == covars[:, :1]).all() else covars
        self._covars_ = checked(covars, self.covariance_type, self._shape(covars.shape[-1]))

    def _shape(self, features: int) -> tuple[int, ...]:
        states = self.n_components
        return {
            "spherical": (states,),
            "diag": (states, features),
            "full": (states, features, features),
            "tied": (features, features),
        }[self.covariance_type]

    def _emission(self) -> Gaussian:
        covars = {"spherical": self._covars_[..., None], "tied": self._covars_[None]}
        spread = building.numbers(covars.get(self.covariance_type, self._covars_))
        return building.gaussian(building.numbers(self.means_), spread, self.covariance_type)

    def _clusters(self, X: Array) -> Any:
        """As many clusters of the data as there are states."""
        cluster = require("sklearn.cluster", extra="estimators", purpose=f"The start of {type(self).__name__}")
        return cluster.KMeans(self.n_components, n_init=10, random_state=self.random_state).fit(X)


@dataclass(eq=False, repr=False)
class GaussianHMM(OneGaussian):
    """Each state has a Gaussian. Other arguments as of `BaseHMM`.

    Args:
        covariance_type: ``"spherical"``, a variance for each state; ``"diag"``, one for each feature too; ``"full"``, a
            matrix for each state; ``"tied"``, one matrix for all.
        min_covar: added to the variances of the data, which those of the states start from.
        means_prior, means_weight: mean and precision of the normal prior of `means_`, numbers or arrays that broadcast
            to it.
        covars_prior, covars_weight: scale and shape of the inverse gamma prior (inverse Wishart, of matrices) of
            `covars_`.
        params, init_params: ``"m"`` for `means_`, ``"c"`` for `covars_`.

    Attributes:
        means_: ``(n_components, n_features)``.
        covars_: read as matrices ``(n_components, n_features, n_features)``; set as numbers of the covariance type:
            ``(n_components,)``, ``(n_components, n_features)``, the matrices, or ``(n_features, n_features)``.

    Example:
        >>> import numpy as np
        >>> X = np.concatenate([np.zeros((50, 1)), np.full((50, 1), 9.0)]) + np.random.RandomState(0).randn(100, 1)
        >>> model = GaussianHMM(n_components=2, random_state=0).fit(X)
        >>> np.sort(model.means_.ravel()).round().tolist()
        [0.0, 9.0]
        >>> np.bincount(model.predict(X)).tolist()
        [50, 50]
    """

    n_components: int = 1
    covariance_type: Covariance = "diag"
    min_covar: float = 1e-3
    startprob_prior: Prior = 1.0
    transmat_prior: Prior = 1.0
    means_prior: Prior = 0
    means_weight: Prior = 0
    covars_prior: Prior = 1e-2
    covars_weight: float = 1
    algorithm: Literal["viterbi", "map"] = "viterbi"
    random_state: RandomState = None
    n_iter: int = 10
    tol: float = 1e-2
    verbose: bool = False
    params: str = "stmc"
    init_params: str = "stmc"
    implementation: Literal["log", "scaling"] = "log"

    letters = Estimator.letters | {"m": "means_", "c": "covars_"}
    means_: Array = field(init=False)

    def _start(self, X: Array) -> None:
        checked_type(self.covariance_type)
        X = whole(X)
        self._least = least_variance(X)
        if self._needs_init("m"):
            self.means_ = self._clusters(X).cluster_centers_
        if self._needs_init("c"):
            self._covars_ = spread(X, self.min_covar, self.covariance_type, self._shape(X.shape[1]))

    def _check(self) -> None:
        super()._check()
        checked_type(self.covariance_type)
        self.means_ = np.asarray(self.means_, dtype=np.float64)
        if self.means_.ndim != 2 or len(self.means_) != self.n_components:
            raise ShapeError(f"means_ must be ({self.n_components}, n_features), got {self.means_.shape}.")
        self._covars_ = checked(self._covars_, self.covariance_type, self._shape(self.n_features))

    def _maximise(self, emission: Emission, sums: dict[str, Array]) -> None:
        assert isinstance(emission, Gaussian)
        moments, strength = Moments(emission, sums), np.asarray(self.means_weight)
        if "m" in self.params:
            total = strength * self.means_prior + moments.total
            self.means_ = mean_of(total, strength + moments.weight, self.means_)
        if "c" in self.params:
            self._covars_ = floored(self._covariances(moments), self.covariance_type, self._least)

    def _covariances(self, moments: Moments) -> Array:
        """Huang, Acero & Hon (2001), "Spoken Language Processing", p. 443-445, as hmmlearn reads it."""
        kind = self.covariance_type
        away = np.sqrt(self.means_weight) * (self.means_ - self.means_prior)
        squares, weight = moments.about(self.means_), moments.weight
        if kind in ("spherical", "diag"):
            total = max(self.covars_weight - 1, 0) + weight
            found = (self.covars_prior + squares + away**2) / np.maximum(total, 1e-5)
            return found if kind == "diag" else found.mean(1)
        squares, weight = squares + outer(away), weight[..., None]
        if kind == "tied":
            squares, weight = squares.sum(0), weight.sum()
        total = max(self.covars_weight - self.n_features, 0) + weight
        return mean_of(self.covars_prior + squares, total, self._covars_)

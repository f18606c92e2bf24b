"""Counts of events as emissions."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from semihmm.errors import DataError, ShapeError
from semihmm.estimators.base import Array, Estimator, Prior, RandomState, _utils
from semihmm.estimators.covariances import mean_of
from semihmm.models import Emission
from semihmm.models.moving import building


@dataclass(eq=False, repr=False)
class PoissonHMM(Estimator):
    """Each state has a rate for each feature: independent counts. Other arguments as of `BaseHMM`.

    Args:
        lambdas_prior, lambdas_weight: gamma prior of `lambdas_`: so many events, seen in so many steps.
        params, init_params: ``"l"`` for `lambdas_`.

    Attributes:
        lambdas_: events per step ``(n_components, n_features)``.

    Example:
        >>> import numpy as np
        >>> X = np.random.RandomState(0).poisson(np.repeat([[2.0], [20.0]], 50, axis=0))
        >>> model = PoissonHMM(n_components=2, random_state=0).fit(X)
        >>> np.sort(model.lambdas_.ravel()).round().tolist()
        [2.0, 20.0]
    """

    n_components: int = 1
    startprob_prior: Prior = 1.0
    transmat_prior: Prior = 1.0
    lambdas_prior: Prior = 0.0
    lambdas_weight: Prior = 0.0
    algorithm: Literal["viterbi", "map"] = "viterbi"
    random_state: RandomState = None
    n_iter: int = 10
    tol: float = 1e-2
    verbose: bool = False
    params: str = "stl"
    init_params: str = "stl"
    implementation: Literal["log", "scaling"] = "log"

    letters = Estimator.letters | {"l": "lambdas_"}
    _featured = "lambdas_"
    _counts = True
    lambdas_: Array = field(init=False)

    def _emission(self) -> Emission:
        return building.poisson(building.numbers(self.lambdas_))

    def _start(self, X: NDArray[Any]) -> None:
        if self._needs_init("l"):
            mean, variance = np.nanmean(X), np.nanvar(X)
            draw = _utils.check_random_state(self.random_state).gamma
            spread = variance / mean if mean > 0 and variance > 0 else 1.0
            self.lambdas_ = draw(max(mean, 1e-3) / spread, spread, (self.n_components, X.shape[1]))

    def _check(self) -> None:
        super()._check()
        self.lambdas_ = np.asarray(self.lambdas_, dtype=np.float64)
        if self.lambdas_.ndim != 2 or len(self.lambdas_) != self.n_components:
            raise ShapeError(f"lambdas_ must be ({self.n_components}, n_features), got {self.lambdas_.shape}.")
        if (self.lambdas_ < 0).any():
            raise DataError(f"lambdas_ must be rates of at least 0, got {self.lambdas_.tolist()}.")

    def _maximise(self, emission: Emission, sums: dict[str, Array]) -> None:
        weight = self.lambdas_weight + sums["weight"]
        self.lambdas_ = mean_of(self.lambdas_prior + sums["total"], weight, self.lambdas_)

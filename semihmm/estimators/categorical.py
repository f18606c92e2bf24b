"""Symbols as emissions."""

from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semihmm.errors import DataError
from semihmm.estimators.base import Array, Estimator, Prior, RandomState, _utils, distribution, mode
from semihmm.models import Emission, emissions
from semihmm.models.moving import building


class Symbols(Estimator):
    """What estimators of symbols share, which are one column of X."""

    n_features: int | None  # type: ignore[assignment]  # an argument here
    _counts = True
    emissionprob_: Array

    def _emission(self) -> emissions.Categorical:
        made = building.categorical(building.numbers(self.emissionprob_))
        assert isinstance(made, emissions.Categorical)
        return made

    def _tensor(self, X: NDArray[Any]) -> Tensor:
        if X.shape[1] != 1:
            raise DataError(f"{type(self).__name__}: X must be one column of symbols, got {X.shape[1]} features.")
        column, symbols = X[:, 0], np.shape(self.emissionprob_)[-1]
        if np.nanmax(column, initial=0) >= symbols:
            raise DataError(f"{type(self).__name__}: symbols must be from 0 to {symbols - 1}, got {column.max()}.")
        return torch.from_numpy(np.where(np.isnan(column), -1, column).astype(np.int64))

    def _symbols(self, X: NDArray[Any]) -> int:
        """How many there are."""
        return int(np.nanmax(X)) + 1 if self.n_features is None else self.n_features


@dataclass(eq=False, repr=False)
class CategoricalHMM(Symbols):
    """Each state has a distribution over symbols; X is one column of them. Other arguments as of `BaseHMM`.

    Args:
        emissionprob_prior: Dirichlet prior of each row of `emissionprob_`, a number or an array that broadcasts to it;
            1 for none.
        n_features: number of symbols; None for one more than the largest of the data.
        params, init_params: ``"e"`` for `emissionprob_`.

    Attributes:
        emissionprob_: ``(n_components, symbols)``.

    Example:
        >>> import numpy as np
        >>> model = CategoricalHMM(n_components=2)  # weather: rain, sun; seen: walk, shop, clean
        >>> model.startprob_, model.transmat_ = [0.6, 0.4], [[0.7, 0.3], [0.4, 0.6]]
        >>> model.emissionprob_ = [[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]]
        >>> log_prob, states = model.decode([[0], [1], [2]])
        >>> round(float(np.exp(log_prob)), 5), states.tolist()
        (0.01344, [1, 0, 0])
    """

    n_components: int = 1
    startprob_prior: Prior = 1.0
    transmat_prior: Prior = 1.0
    _: KW_ONLY
    emissionprob_prior: Prior = 1.0
    n_features: int | None = None
    algorithm: Literal["viterbi", "map"] = "viterbi"
    random_state: RandomState = None
    n_iter: int = 10
    tol: float = 1e-2
    verbose: bool = False
    params: str = "ste"
    init_params: str = "ste"
    implementation: Literal["log", "scaling"] = "log"

    letters = Estimator.letters | {"e": "emissionprob_"}
    emissionprob_: Array = field(init=False)

    def _start(self, X: NDArray[Any]) -> None:
        if self._needs_init("e"):
            self.emissionprob_ = rows(self.random_state, self.n_components, self._symbols(X))

    def _check(self) -> None:
        super()._check()
        symbols = np.shape(self.emissionprob_)[-1] if self.n_features is None else self.n_features
        self.emissionprob_ = distribution("emissionprob_", self.emissionprob_, (self.n_components, symbols))

    def _maximise(self, emission: Emission, sums: dict[str, Array]) -> None:
        self.emissionprob_ = mode(sums["counts"], self.emissionprob_prior, self.emissionprob_)


def rows(random_state: RandomState, count: int, size: int) -> Array:
    """Distributions drawn at random."""
    drawn: Array = _utils.check_random_state(random_state).rand(count, size)
    drawn /= drawn.sum(1, keepdims=True)
    return drawn

"""Counts of symbols as emissions."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from semihmm.errors import DataError
from semihmm.estimators.base import Array, Estimator, Prior, RandomState, distribution, mode
from semihmm.estimators.categorical import rows
from semihmm.models import Emission, emissions
from semihmm.models.moving import building


@dataclass(eq=False, repr=False)
class MultinomialHMM(Estimator):
    """Each state has a distribution over symbols, of which a row of X counts several. Other arguments as of `BaseHMM`.

    Args:
        n_trials: the sum of each row of X, or of every row; None for what the data have.
        params, init_params: ``"e"`` for `emissionprob_`.

    Attributes:
        emissionprob_: ``(n_components, n_features)``.

    Example:
        >>> model = MultinomialHMM(n_components=2, n_trials=3)
        >>> model.startprob_, model.transmat_ = [0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]]
        >>> model.emissionprob_ = [[0.8, 0.2], [0.2, 0.8]]
        >>> model.predict([[3, 0], [2, 1], [0, 3], [0, 3]]).tolist()
        [0, 0, 1, 1]
    """

    n_components: int = 1
    n_trials: ArrayLike | None = None
    startprob_prior: Prior = 1.0
    transmat_prior: Prior = 1.0
    algorithm: Literal["viterbi", "map"] = "viterbi"
    random_state: RandomState = None
    n_iter: int = 10
    tol: float = 1e-2
    verbose: bool = False
    params: str = "ste"
    init_params: str = "ste"
    implementation: Literal["log", "scaling"] = "log"

    letters = Estimator.letters | {"e": "emissionprob_"}
    _featured = "emissionprob_"
    _counts = True
    _gaps = False  # of some symbols, the others do not say how likely they are
    emissionprob_: Array = field(init=False)

    def _emission(self) -> emissions.Multinomial:
        return building.multinomial(building.numbers(self.emissionprob_))

    def _start(self, X: NDArray[Any]) -> None:
        self.n_trials_ = np.unique(X.sum(1))
        if self.n_trials is not None and not np.array_equal(X.sum(1), np.broadcast_to(self.n_trials, len(X))):
            raise DataError(f"MultinomialHMM: each row must sum to n_trials, got sums {self.n_trials_.tolist()}.")
        if self._needs_init("e"):
            self.emissionprob_ = rows(self.random_state, self.n_components, X.shape[1])

    def _check(self) -> None:
        super()._check()
        shape = (self.n_components, np.shape(self.emissionprob_)[-1])
        self.emissionprob_ = distribution("emissionprob_", self.emissionprob_, shape)

    def _maximise(self, emission: Emission, sums: dict[str, Array]) -> None:
        self.emissionprob_ = mode(sums["counts"], 1.0, self.emissionprob_)

    def _draw(self, emission: Emission, states: Tensor, generator: torch.Generator) -> NDArray[Any]:
        trials = np.unique(getattr(self, "n_trials_", ()) if self.n_trials is None else self.n_trials)
        if len(trials) != 1:
            raise DataError(f"MultinomialHMM: sample needs one n_trials for all rows, got {trials.tolist()}.")
        assert isinstance(emission, emissions.Multinomial)
        emission.trials = int(trials[0])
        return super()._draw(emission, states, generator)

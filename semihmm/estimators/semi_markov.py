"""States that last: the same families, with a duration law."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from semihmm import structures
from semihmm.errors import DataError
from semihmm.estimators.base import Array, Estimator, distribution
from semihmm.estimators.categorical import CategoricalHMM
from semihmm.estimators.gaussian import GaussianHMM
from semihmm.estimators.poisson import PoissonHMM
from semihmm.models import HSMM, Duration, durations
from semihmm.models.moving import building

LAWS: dict[str, Callable[..., Duration]] = {
    "categorical": durations.Categorical,
    "gamma": durations.Gamma,
    "gaussian": durations.Gaussian,
    "geometric": durations.Geometric,
    "log_normal": durations.LogNormal,
    "negative_binomial": durations.NegativeBinomial,
    "poisson": durations.Poisson,
    "uniform": durations.Uniform,
    "weibull": durations.Weibull,
}
Law = Literal[
    "categorical", "gamma", "gaussian", "geometric", "log_normal", "negative_binomial", "poisson", "uniform", "weibull"
]


@dataclass(eq=False, repr=False)
class SemiMarkov(Estimator):
    """What makes a semi-Markov model of a hidden Markov model: how long each state lasts."""

    _: KW_ONLY
    duration: Law = "negative_binomial"
    max_duration: int = 50
    min_duration: int = 1
    censored: Literal["none", "left", "right", "both"] = "right"

    _own: ClassVar[dict[str, str]] = {"d": "durationprob_"}
    durationprob_: Array = field(init=False)

    def to_model(self) -> HSMM:
        self._ready()
        states, longest = self.durationprob_.shape
        law = durations.Categorical(states, longest)
        allowed = torch.from_numpy(self.transmat_ > 0)
        model = HSMM(states, self._emission(), law, allowed=allowed, censored=self.censored)
        own = {"initial": "initial", "transition": "transition", "duration": "duration__table"}
        return building.filled(model, **{f"{own[name]}__logits": one for name, one in self._laws().items()})

    def _laws(self) -> dict[str, Tensor]:
        return {**super()._laws(), "duration": building.numbers(self.durationprob_).log()}

    def _structure(self, frames: Tensor, lengths: Tensor | None, laws: Mapping[str, Tensor]) -> structures.Structure:
        own = laws["initial"], laws["transition"], laws["duration"]
        return structures.HSMM(*own, frames, lengths=lengths, censored=self.censored)

    def get_stationary_distribution(self) -> Array:
        return self.to_model().stationary_distribution().numpy()

    def _first_transmat(self, random_state: np.random.RandomState) -> Array:
        states = self.n_components
        if states == 1:
            return np.ones((1, 1))
        others = ~np.eye(states, dtype=bool)
        transmat = np.zeros((states, states))
        transmat[others] = random_state.dirichlet(np.ones(states - 1), size=states).ravel()
        return transmat

    def _start(self, X: NDArray[Any]) -> None:
        super()._start(X)
        if self._needs_init("d"):
            possible = np.arange(1, self.max_duration + 1) >= self.min_duration
            self.durationprob_ = chances(self._fitted(np.tile(possible, (self.n_components, 1))))

    def _init(self, X: NDArray[Any], lengths: NDArray[np.int64]) -> None:
        super()._init(X, lengths)
        self._lasting = self._fitted(self.durationprob_)  # where EM is: what no segment says stays there

    def _check(self) -> None:
        super()._check()
        shape = (self.n_components, self.max_duration)
        self.durationprob_ = distribution("durationprob_", self.durationprob_, shape)

    def _law(self) -> Duration:
        """The law as it is before it has seen anything, which is always the same."""
        if self.duration not in LAWS:
            raise DataError(f"duration must be one of {', '.join(LAWS)}, got {self.duration!r}.")
        law = LAWS[self.duration](self.n_components, self.max_duration, min_duration=self.min_duration).double()
        law.initialise(torch.Generator().manual_seed(0))
        return law

    def _fitted(self, counts: ArrayLike) -> Duration:
        """The law that explains these counts best."""
        law = self._law()
        law.update(building.numbers(counts))
        return law

    def _moves(self) -> dict[str, int]:
        law, states = self._law(), self.n_components
        return {"s": states - 1, "t": states * max(states - 2, 0), "d": law.free_parameters}

    def _learn(self, X: NDArray[Any], counts: dict[str, Tensor]) -> None:
        super()._learn(X, counts)
        if "d" in self.params:
            self._lasting.update(counts["duration"])
            self.durationprob_ = chances(self._lasting)


def chances(law: Duration) -> Array:
    """The probability of each duration."""
    with torch.no_grad():
        return np.asarray(law().exp())


@dataclass(eq=False, repr=False)
class GaussianHSMM(SemiMarkov, GaussianHMM):
    """As `GaussianHMM`, but each state lasts as long as its duration law says (a semi-Markov model).

    Args:
        duration: the law: ``"categorical"``, ``"gamma"``, ``"gaussian"``, ``"geometric"``, ``"log_normal"``,
            ``"negative_binomial"``, ``"poisson"``, ``"uniform"`` or ``"weibull"``, of `semihmm.models.durations`.
        max_duration: the greatest number of steps; time and memory are proportional to it.
        min_duration: the least.
        censored: which ends of a sequence cut a segment short: ``"right"`` where sequences just stop.
        params, init_params: ``"d"`` for `durationprob_`; the others as of the HMM.

    Attributes:
        durationprob_: probabilities of 1 to `max_duration` steps, ``(n_components, max_duration)``.
        transmat_: of the next segment's state: the diagonal is 0.

    Example:
        >>> import numpy as np
        >>> X = np.random.RandomState(0).randn(120, 1) + 9 * (np.arange(120)[:, None] // 6 % 2)
        >>> model = GaussianHSMM(n_components=2, max_duration=20, random_state=0).fit(X)
        >>> (model.durationprob_ @ np.arange(1, 21)).round().tolist()
        [6.0, 6.0]
    """

    params: str = "stmcd"
    init_params: str = "stmcd"
    letters = GaussianHMM.letters | SemiMarkov._own


@dataclass(eq=False, repr=False)
class PoissonHSMM(SemiMarkov, PoissonHMM):
    """As `PoissonHMM`, but each state lasts as long as its duration law says. Arguments as of `GaussianHSMM`.

    Example:
        >>> import numpy as np
        >>> X = np.random.RandomState(0).poisson(2 + 20 * (np.arange(120)[:, None] // 6 % 2))
        >>> model = PoissonHSMM(n_components=2, max_duration=20, random_state=0).fit(X)
        >>> np.bincount(model.predict(X)).tolist()
        [60, 60]
    """

    params: str = "stld"
    init_params: str = "stld"
    letters = PoissonHMM.letters | SemiMarkov._own


@dataclass(eq=False, repr=False)
class CategoricalHSMM(SemiMarkov, CategoricalHMM):
    """As `CategoricalHMM`, but each state lasts as long as its duration law says. Arguments as of `GaussianHSMM`.

    Example:
        >>> import numpy as np
        >>> X = np.arange(120)[:, None] // 6 % 2
        >>> model = CategoricalHSMM(n_components=2, max_duration=20, random_state=0).fit(X)
        >>> np.bincount(model.predict(X)).tolist()
        [60, 60]
    """

    params: str = "sted"
    init_params: str = "sted"
    letters = CategoricalHMM.letters | SemiMarkov._own

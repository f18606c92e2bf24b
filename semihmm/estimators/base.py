"""What every estimator answers: hmmlearn's methods and scikit-learn's, on a model."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from semihmm import inference, structures
from semihmm._optional import require
from semihmm.errors import DataError, ShapeError
from semihmm.estimators.grouping import Group, groups
from semihmm.estimators.monitor import LOG, ConvergenceMonitor
from semihmm.models import Emission, Model, Neural
from semihmm.models.describing import stationary
from semihmm.models.moving import building

if TYPE_CHECKING:
    from typing_extensions import Self

_base = require("sklearn.base", extra="estimators", purpose="semihmm.estimators")
_utils = require("sklearn.utils", extra="estimators", purpose="semihmm.estimators")
_validation = require("sklearn.utils.validation", extra="estimators", purpose="semihmm.estimators")

Array = NDArray[np.float64]
Lengths = ArrayLike | None
Prior = float | Array  # an array broadcasts to what it is a prior of
RandomState = int | np.random.RandomState | None
_TORCH: list[Literal["C", "W"]] = ["C", "W"]  # what PyTorch asks of an array whose memory it is to share
_LAWS = "std"  # the letters of what is not the emission's


class Estimator(_base.DensityMixin, _base.BaseEstimator):  # type: ignore[misc, name-defined]
    """The face that all estimators share.

    The parameters are NumPy arrays, among the attributes; each question is asked of the model that they make. A family
    says which parameters it has, where they start, how EM updates them, and which emission they are.
    """

    n_components: int
    startprob_prior: Prior
    transmat_prior: Prior
    algorithm: Literal["viterbi", "map"]
    random_state: RandomState
    n_iter: int
    tol: float
    verbose: bool
    params: str
    init_params: str

    letters: ClassVar[dict[str, str]] = {"s": "startprob_", "t": "transmat_"}  # in params and init_params
    _featured: ClassVar[str] = ""  # the parameter whose last axis is the features
    _counts: ClassVar[bool] = False  # whether observations are counts or symbols
    _gaps: ClassVar[bool] = True  # whether NaN is taken, as a value that is missing

    startprob_: Array
    transmat_: Array

    @property
    def n_features(self) -> int:
        """The number of features, as the parameters have it."""
        return int(np.shape(getattr(self, self._featured))[-1])

    @n_features.setter
    def n_features(self, value: int) -> None:
        """Nothing to do: hmmlearn must be told where parameters are set by hand, and here they say it."""

    # What a family says.

    def _emission(self) -> Emission:
        """The parameters as an emission in float64."""
        return Neural(torch.nn.Identity())

    def _start(self, X: NDArray[Any]) -> None:
        """Set those of its parameters that `_needs_init`."""

    def _maximise(self, emission: Emission, sums: dict[str, Array]) -> None:
        """EM's second step for those of its parameters that are in ``params``, from the emission's statistics."""

    def _moves(self) -> dict[str, int]:
        """The number of free parameters that are not the emission's, by letter."""
        return {"s": self.n_components - 1, "t": self.n_components * (self.n_components - 1)}

    def _check(self) -> None:
        """Refuse parameters that are none."""
        states = self.n_components
        self.startprob_ = distribution("startprob_", self.startprob_, (states,))
        self.transmat_ = distribution("transmat_", self.transmat_, (states, states))

    # Learning.

    @property
    def monitor_(self) -> ConvergenceMonitor:
        """The history of the fit. Set one of your own before `fit` to say when it stops."""
        if not hasattr(self, "_monitor"):
            self._monitor = ConvergenceMonitor(self.tol, self.n_iter, self.verbose)
        return self._monitor

    @monitor_.setter
    def monitor_(self, monitor: ConvergenceMonitor) -> None:
        self._monitor = monitor

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, lengths: Lengths = None) -> Self:
        """Learn the parameters by EM.

        Args:
            X: observations ``(n_samples, n_features)``, one sequence after the other; or a list of sequences.
            y: ignored, as scikit-learn's, if it has an entry for each row; else the lengths, as hmmlearn's.
            lengths: of the sequences; None for one.
        """
        rows, sequences = self._sequences(X, y, lengths, reset=True)
        self._init(rows, sequences)
        if type(self.monitor_) is ConvergenceMonitor:
            self.monitor_ = ConvergenceMonitor(self.tol, self.n_iter, self.verbose)
        self.monitor_._reset()
        each = groups(sequences)
        for _ in range(self.n_iter):
            self.monitor_.report(self._iterate(rows, each))
            if self.monitor_.converged:
                break
        return self

    def _iterate(self, X: NDArray[Any], each: list[Group]) -> float:
        """An iteration of EM; the objective before it."""
        log_prob, counts = self._expected_counts(self._frames(X), self._laws(), each)
        if (impossible := ~log_prob.isfinite()).any():
            raise DataError(
                f"{type(self).__name__}: the parameters make sequence {int(impossible.nonzero()[0])} impossible. "
                "Give those that are 0 a little probability, or cut the sequence out.",
                see="no-path",
            )
        self._learn(X, counts)
        return float(log_prob.sum())

    def _learn(self, X: NDArray[Any], counts: dict[str, Tensor]) -> None:
        """EM's second step, given how often each potential was used."""
        for letter, potential, priors in (
            ("s", "initial", self.startprob_prior),
            ("t", "transition", self.transmat_prior),
        ):
            if letter in self.params:
                now = getattr(self, self.letters[letter])
                prior = np.where(now > 0, priors, 1.0)
                setattr(self, self.letters[letter], mode(counts[potential].numpy(), prior, now))
        if self._emission_learns():
            emission = self._emission()
            sums = emission.statistics(self._tensor(X), counts["emission"])
            self._maximise(emission, {name: one.numpy() for name, one in sums.items()})

    def _emission_learns(self) -> bool:
        return bool((set(self.letters) - set(_LAWS)).intersection(self.params))

    def _init(self, X: NDArray[Any], lengths: NDArray[np.int64]) -> None:
        """Set the parameters to start from, where ``init_params`` says so or there are none."""
        random_state = _utils.check_random_state(self.random_state)
        if self._needs_init("s"):
            self.startprob_ = random_state.dirichlet(np.full(self.n_components, 1 / self.n_components))
        if self._needs_init("t"):
            self.transmat_ = self._first_transmat(random_state)
        self._start(X)
        self._check()
        self._warn_of_little(X)

    def _warn_of_little(self, X: NDArray[Any]) -> None:
        free = sum(number for letter, number in self._moves().items() if letter in self.params)
        free += self._emission().free_parameters if self._emission_learns() else 0
        if X.size < free:
            LOG.warning("%d numbers cannot tell %d parameters: expect a degenerate solution.", X.size, free)

    def _first_transmat(self, random_state: np.random.RandomState) -> Array:
        drawn: Array = random_state.dirichlet(np.full(self.n_components, 1 / self.n_components), self.n_components)
        return drawn

    def _needs_init(self, letter: str) -> bool:
        name = self.letters[letter]
        if letter in self.init_params and hasattr(self, name):
            LOG.warning("%s will be overwritten, because init_params contains %r.", name, letter)
        return letter in self.init_params or not hasattr(self, name)

    # Questions.

    def score(self, X: ArrayLike, y: ArrayLike | None = None, lengths: Lengths = None) -> float:
        """The log-likelihood of all sequences together, in nats; arguments as of `fit`."""
        self._ready()
        rows, sequences = self._sequences(X, y, lengths)
        frames, laws = self._frames(rows), self._laws()
        each = (self._structure(group.cut(frames), group.lengths, laws) for group in groups(sequences))
        return float(sum(inference.log_partition(one).sum() for one in each))

    def score_samples(self, X: ArrayLike, lengths: Lengths = None) -> tuple[float, Array]:
        """The log-likelihood, and the posterior of each state at each step ``(n_samples, n_components)``."""
        self._ready()
        rows, sequences = self._sequences(X, None, lengths)
        frames, laws = self._frames(rows), self._laws()
        log_prob, counts = self._expected_counts(frames, laws, groups(sequences), ("emission",))
        return float(log_prob.sum()), counts["emission"].numpy()

    def predict_proba(self, X: ArrayLike, lengths: Lengths = None) -> Array:
        """The posterior of each state at each step, ``(n_samples, n_components)``."""
        return self.score_samples(X, lengths)[1]

    def decode(
        self, X: ArrayLike, lengths: Lengths = None, algorithm: Literal["viterbi", "map"] | None = None
    ) -> tuple[float, NDArray[np.int64]]:
        """States that explain the observations.

        Args:
            algorithm: ``"viterbi"`` for the most probable paths, with the log of their joint probability; ``"map"`` for
                the most probable state of each step, with the expected number of those that are right.
        """
        algorithm = algorithm or self.algorithm
        if algorithm not in ("viterbi", "map"):
            raise DataError(f"{type(self).__name__}: algorithm must be 'viterbi' or 'map', got {algorithm!r}.")
        if algorithm == "map":
            posterior = self.predict_proba(X, lengths)
            return float(posterior.max(1).sum()), posterior.argmax(1)
        self._ready()
        rows, sequences = self._sequences(X, None, lengths)
        frames, laws, score = self._frames(rows), self._laws(), 0.0
        states = torch.empty(len(rows), dtype=torch.int64)
        for group in groups(sequences):
            paths = inference.viterbi(self._structure(group.cut(frames), group.lengths, laws))
            score += float(paths.score.sum())
            states = group.put(states, paths.states)
        return score, states.numpy()

    def predict(self, X: ArrayLike, lengths: Lengths = None) -> NDArray[np.int64]:
        """The states that `decode` finds, ``(n_samples,)``."""
        return self.decode(X, lengths)[1]

    def sample(
        self, n_samples: int = 1, random_state: RandomState = None, currstate: int | None = None
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Draw a sequence of observations, and the states that they came from.

        Args:
            random_state: None for the estimator's.
            currstate: the first state; None to draw it.
        """
        self._ready()
        seed = _utils.check_random_state(self.random_state if random_state is None else random_state).randint(2**31 - 1)
        generator = torch.Generator().manual_seed(int(seed))
        laws = self._laws()
        if currstate is not None:
            laws["initial"] = building.numbers(np.eye(self.n_components)[currstate]).log()
        silent = torch.zeros(1, n_samples, self.n_components, dtype=torch.float64)
        drawn = inference.sample(self._structure(silent, None, laws), generator=generator)
        if not drawn.valid:
            raise DataError(f"{type(self).__name__}: no path of the model has {n_samples} steps.")
        return self._draw(self._emission(), drawn.states[0], generator), drawn.states[0].numpy()

    def _draw(self, emission: Emission, states: Tensor, generator: torch.Generator) -> NDArray[Any]:
        drawn = emission.sample(states, generator).reshape(len(states), -1).numpy()
        return drawn.astype(np.int64) if self._counts else drawn

    def get_stationary_distribution(self) -> Array:
        """The share of time that each state has in the long run, ``(n_components,)``."""
        _validation.check_is_fitted(self, "transmat_")
        return np.asarray(stationary(building.numbers(self.transmat_)))

    def aic(self, X: ArrayLike, lengths: Lengths = None) -> float:
        """Akaike's criterion; lower is better."""
        return 2 * (self._free() - self.score(X, lengths=lengths))

    def bic(self, X: ArrayLike, lengths: Lengths = None) -> float:
        """Schwarz's criterion; lower is better."""
        steps = len(self._sequences(X, None, lengths)[0])
        return float(self._free() * np.log(steps) - 2 * self.score(X, lengths=lengths))

    def _free(self) -> int:
        self._ready()
        return sum(self._moves().values()) + self._emission().free_parameters

    def to_model(self) -> Model[Any]:
        """A model of `semihmm.models` with these parameters, in float64: for every other question, and to save."""
        self._ready()
        return building.hmm(building.numbers(self.startprob_), building.numbers(self.transmat_), self._emission())

    # Between the two worlds.

    def _ready(self) -> None:
        _validation.check_is_fitted(self, list(self.letters.values()))
        self._check()

    def _laws(self) -> dict[str, Tensor]:
        """The log-probabilities that are potentials of the structure, whatever is observed."""
        laws = {"initial": self.startprob_, "transition": self.transmat_}
        return {name: building.numbers(probability).log() for name, probability in laws.items()}

    def _structure(self, frames: Tensor, lengths: Tensor | None, laws: Mapping[str, Tensor]) -> structures.Structure:
        return structures.HMM(laws["initial"], laws["transition"], frames, lengths=lengths)

    def _frames(self, X: NDArray[Any]) -> Tensor:
        """The log-likelihood of each row in each state ``(n_samples, n_components)``."""
        return torch.from_numpy(np.require(self._compute_log_likelihood(X), np.float64, _TORCH))

    def _expected_counts(
        self, frames: Tensor, laws: Mapping[str, Tensor], each: list[Group], names: Sequence[str] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `semihmm.expected_counts`, of all sequences; for the emission, the posterior of each row."""
        log_prob = frames.new_empty(sum(group.size for group in each))
        posterior = torch.empty_like(frames)
        total: dict[str, Tensor] = {}
        for group in each:
            structure = self._structure(group.cut(frames), group.lengths, laws)
            log_prob[group.sequences], counts = inference.expected_counts(structure, names)
            posterior = group.put(posterior, counts.pop("emission"))
            total = {name: count + total.get(name, 0) for name, count in counts.items()}
        return log_prob, total | {"emission": posterior}

    def _compute_log_likelihood(self, X: NDArray[Any]) -> Array:
        """Log-likelihoods ``(n_samples, n_components)`` of rows; a class of your own may say this alone."""
        with torch.no_grad():
            found: Array = self._emission()(self._tensor(X)).numpy()
        return found

    def _tensor(self, X: NDArray[Any]) -> Tensor:
        """Rows as the emission takes them."""
        if self._featured and X.shape[1] != self.n_features:
            name = type(self).__name__
            raise ShapeError(f"{name}: {self._featured} is of {self.n_features} features, X of {X.shape[1]}.")
        return torch.from_numpy(X)

    def _sequences(self, X: Any, y: Any, lengths: Any, reset: bool = False) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Valid rows, and the length of each sequence."""
        name = type(self).__name__
        listed = isinstance(X, list | tuple) and len(X) > 0 and all(np.ndim(x) == 2 for x in X)
        sizes = [len(x) for x in X] if listed else None
        X = np.concatenate(X) if listed else X
        X = _validation.validate_data(
            self,
            X,
            reset=reset,
            dtype="numeric" if self._counts else np.float64,
            ensure_all_finite="allow-nan" if self._gaps else True,
        )
        lengths = _lengths(name, y, lengths, len(X) if sizes is None else len(sizes))
        if sizes is not None and lengths is not None:
            raise DataError(f"{name}: a list of sequences says their lengths, so give none, got {lengths}.")
        if self._counts:
            _validation.check_non_negative(X, name)
            if (broken := np.floor(X) < X).any():
                raise DataError(f"{name}: observations must be integers, got {X[broken][0]}.")
            X = X if np.isnan(X).any() else X.astype(np.int64)
        X = np.require(X, requirements=_TORCH)
        lengths = np.asarray((sizes or [len(X)]) if lengths is None else lengths)
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or lengths.min() < 1 or lengths.sum() != len(X):
            raise DataError(
                f"{name}: lengths must be positive integers that sum to the {len(X)} rows of X, got {lengths.tolist()}."
            )
        return X, lengths.astype(np.int64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = tags.input_tags.categorical = self._counts
        tags.input_tags.allow_nan = self._gaps
        return tags


@dataclass(eq=False, repr=False)
class BaseHMM(Estimator):
    """An estimator without a family: a subclass says how likely each row is in each state.

    Args:
        n_components: number of states.
        startprob_prior: Dirichlet prior of `startprob_`, a number or an array that broadcasts to it; 1 for none.
        transmat_prior: that of each row of `transmat_`.
        algorithm: what `decode` does unless told: ``"viterbi"`` or ``"map"``.
        random_state: of the start, and of `sample`.
        n_iter: EM iterations at most.
        tol: EM stops after an iteration that gains less than this, in nats of all data together.
        verbose: whether each iteration is printed.
        params: the letters of what EM updates: ``"s"`` for `startprob_`, ``"t"`` for `transmat_`, and the family's.
        init_params: the letters of what is set before EM, from the data and `random_state`; the rest starts from the
            attributes that are set, if they are.
        implementation: ``"log"`` or ``"scaling"``; taken for hmmlearn's sake. The engine chooses, and its answers are
            those of ``"log"``.

    Attributes:
        startprob_: probabilities of the first state ``(n_components,)``.
        transmat_: of the next state ``(n_components, n_components)``, ``[from, to]``. What is 0 stays 0.
        monitor_: the history of the fit, a `ConvergenceMonitor`.

    Example:
        >>> import numpy as np
        >>> class Said(BaseHMM):
        ...     def _compute_log_likelihood(self, X):
        ...         return np.log(X)
        >>> model = Said(2)
        >>> model.startprob_, model.transmat_ = [0.5, 0.5], [[0.7, 0.3], [0.3, 0.7]]
        >>> model.predict([[0.9, 0.2], [0.9, 0.2], [0.1, 0.8], [0.9, 0.2], [0.9, 0.2]]).tolist()
        [0, 0, 1, 0, 0]
    """

    n_components: int = 1
    startprob_prior: Prior = 1.0
    transmat_prior: Prior = 1.0
    algorithm: Literal["viterbi", "map"] = "viterbi"
    random_state: RandomState = None
    n_iter: int = 10
    tol: float = 1e-2
    verbose: bool = False
    params: str = string.ascii_letters
    init_params: str = string.ascii_letters
    implementation: Literal["log", "scaling"] = "log"

    _gaps = False

    def _draw(self, emission: Emission, states: Tensor, generator: torch.Generator) -> Array:
        return np.empty((len(states), 0))


def _lengths(name: str, y: Any, lengths: Any, rows: int) -> Any:
    """The lengths: `fit` and `score` take them where scikit-learn passes a y, which has an entry for each row."""
    if y is None or lengths is not None:
        return lengths
    if np.ndim(y) == 0 or len(y) != rows:
        return y
    if rows > 1 and np.array_equal(y, np.ones(rows)):
        raise DataError(f"{name}: is the second argument y, or {rows} sequences of 1 step? Say y= or lengths=.")
    return None


def distribution(name: str, value: ArrayLike, shape: Sequence[int]) -> Array:
    """The value, if its last axis holds distributions."""
    value = np.asarray(value, dtype=np.float64)
    if value.shape != tuple(shape):
        raise ShapeError(f"{name} must be {tuple(shape)}, got {value.shape}.")
    if (value < 0).any() or not np.allclose(value.sum(-1), 1):
        raise DataError(f"{name} must be probabilities that sum to 1 along the last axis, got {value.tolist()}.")
    return value


def mode(counts: Array, prior: Prior, otherwise: Array) -> Array:
    """Distributions along the last axis: the most probable ones given counts and a Dirichlet prior.

    Those without a count stay what they were otherwise.
    """
    counts = np.maximum(counts + (np.asarray(prior) - 1), 0)  # a count of 1e-20 is no zero: what is 0 stays 0
    total = counts.sum(-1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1), otherwise)

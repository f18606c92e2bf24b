"""Variational Bayes with hmmlearn's names: a posterior of the parameters in place of their values."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from semihmm.errors import DataError, ShapeError
from semihmm.estimators.base import Array, Estimator, RandomState, _utils
from semihmm.estimators.categorical import Symbols
from semihmm.estimators.covariances import Covariance, checked_type, spread
from semihmm.estimators.gaussian import OneGaussian
from semihmm.estimators.grouping import Group
from semihmm.models.bayes import CategoricalBelief, EmissionBelief, FullGaussianBelief, GaussianBelief, TableBelief
from semihmm.models.moving import building
from semihmm.models.table import Table

Given = ArrayLike | None
_MIN_COVAR = 1e-3  # added to the variances of the data, which a fit starts from; and what the prior expects


class Variational(Estimator):
    """What variational estimators share.

    Each quantity has two attributes: ``..._prior_``, what is believed before the data, and ``..._posterior_``, after.
    The parameters of the questions are what the posterior expects.
    """

    quantities: ClassVar[dict[str, tuple[str, ...]]] = {"s": ("startprob",), "t": ("transmat",)}  # by letter
    letters: ClassVar[dict[str, str]] = {"s": "startprob_posterior_", "t": "transmat_posterior_"}
    _gaps = False  # a posterior counts every feature of a state as often

    startprob_prior: Given  # type: ignore[assignment]  # None for a default
    transmat_prior: Given  # type: ignore[assignment]
    startprob_posterior_: Array
    transmat_posterior_: Array

    # What a family says.

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each quantity."""
        states = self.n_components
        return {"startprob": (states,), "transmat": (states, states)}

    def _positive(self, quantity: str, value: Array) -> bool:
        """Whether it may have this value, which has the right shape."""
        return bool((value > 0).all())

    def _expected(self) -> dict[str, Array]:
        """The parameters by their names, as the posterior expects them."""
        return {"startprob_": normalised(self.startprob_posterior_), "transmat_": normalised(self.transmat_posterior_)}

    def _settle(self) -> None:
        for name, value in self._expected().items():
            if not np.array_equal(getattr(self, name, ()), value):  # a question leaves its attributes alone
                setattr(self, name, value)

    @abstractmethod
    def _belief(self) -> EmissionBelief:
        """What is believed of the emission's parameters."""

    @abstractmethod
    def _believe(self, belief: EmissionBelief) -> None:
        """Take over the posterior."""

    # Learning.

    def _init(self, X: NDArray[Any], lengths: NDArray[np.int64]) -> None:
        states, random_state = self.n_components, _utils.check_random_state(self.random_state)
        even = np.full(states, 1 / states)
        if self._needs_init("s"):
            self._set("startprob", self.startprob_prior, 1 / states, random_state.dirichlet(even) * len(lengths))
        if self._needs_init("t"):
            drawn = random_state.dirichlet(even, size=states) * (len(X) / states)
            self._set("transmat", self.transmat_prior, 1 / states, drawn)
        self._start(X)
        self._check()
        self._warn_of_little(X)

    def _needs_init(self, letter: str) -> bool:
        known = all(hasattr(self, attribute) for attribute in both(*self.quantities[letter]))
        return super()._needs_init(letter) or not known

    def _set(self, quantity: str, prior: Given, otherwise: ArrayLike, posterior: ArrayLike) -> None:
        """Say what is believed of a quantity."""
        posterior = np.asarray(posterior, dtype=np.float64)
        prior = np.asarray(otherwise if prior is None else prior, dtype=np.float64)
        try:
            setattr(self, f"{quantity}_prior_", np.broadcast_to(prior, posterior.shape).copy())
        except ValueError:
            raise ShapeError(f"{quantity}_prior must broadcast to {posterior.shape}, got {prior.shape}.") from None
        setattr(self, f"{quantity}_posterior_", posterior)

    def _check(self) -> None:
        for quantity, shape in self._shapes().items():
            for attribute in both(quantity):
                value = np.asarray(getattr(self, attribute), dtype=np.float64)
                if value.shape != shape:
                    raise ShapeError(f"{attribute} must be {shape}, got {value.shape}.")
                if not self._positive(quantity, value):
                    raise DataError(f"{attribute} is of no distribution: it must be greater, got {value.tolist()}.")
                setattr(self, attribute, value)
        self._settle()

    @torch.no_grad()
    def _iterate(self, X: NDArray[Any], each: list[Group]) -> float:
        """An iteration of variational Bayes (Beal 2003, chapter 3); the bound of the log-evidence before it."""
        start, moves, seen = dirichlet(self, "startprob"), dirichlet(self, "transmat"), self._belief()
        x = self._tensor(X)
        laws = {"initial": start.expected_log(), "transition": moves.expected_log()}
        log_prob, counts = self._expected_counts(seen.expected_log(x), laws, each)
        bound = log_prob.sum() - sum(one.divergence() for one in (start, moves, seen))
        if "s" in self.params:
            start.observe({"counts": counts["initial"]})
            self.startprob_posterior_ = start.concentration.numpy()
        if "t" in self.params:
            moves.observe({"counts": counts["transition"]})
            self.transmat_posterior_ = moves.concentration.numpy()
        if self._emission_learns():
            seen.observe(self._emission().statistics(x, counts["emission"]))
            self._believe(seen)
        self._settle()
        return float(bound)


@dataclass(eq=False, repr=False)
class VariationalCategoricalHMM(Symbols, Variational):
    """As `CategoricalHMM`, with a Dirichlet posterior of each distribution (MacKay 1997).

    States that the data do not need keep their prior, so that a model with more states than there are finds out how
    many. Other arguments as of `BaseHMM`.

    Args:
        startprob_prior, transmat_prior: concentrations of the Dirichlet priors, numbers or arrays that broadcast;
            None for 1 / n_components.
        emissionprob_prior: those of the symbols of each state; None for 1 / symbols.
        n_features: number of symbols; None for one more than the largest of the data.
        params, init_params: ``"e"`` for the symbols.

    Attributes:
        startprob_posterior_, transmat_posterior_, emissionprob_posterior_: concentrations of the posterior; with
            ``_prior_`` in their names, those of the prior.
        startprob_, transmat_, emissionprob_: what the posterior expects.
        monitor_: its history is of the lower bound of the log-evidence.

    Example:
        >>> import numpy as np
        >>> X = np.arange(60)[:, None] // 5 % 2
        >>> model = VariationalCategoricalHMM(n_components=4, random_state=0).fit(X)
        >>> model.emissionprob_posterior_.shape, bool((np.diff(model.monitor_.history) > -1e-8).all())
        ((4, 2), True)
    """

    n_components: int = 1
    startprob_prior: Given = None
    transmat_prior: Given = None
    emissionprob_prior: Given = None
    n_features: int | None = None  # type: ignore[assignment]
    algorithm: Literal["viterbi", "map"] = "viterbi"
    random_state: RandomState = None
    n_iter: int = 100
    tol: float = 1e-6
    verbose: bool = False
    params: str = "ste"
    init_params: str = "ste"
    implementation: Literal["log", "scaling"] = "log"

    quantities = Variational.quantities | {"e": ("emissionprob",)}
    letters = Variational.letters | {"e": "emissionprob_posterior_"}

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        symbols = np.shape(self.emissionprob_posterior_)[-1] if self.n_features is None else self.n_features
        return super()._shapes() | {"emissionprob": (self.n_components, symbols)}

    def _expected(self) -> dict[str, Array]:
        return super()._expected() | {"emissionprob_": normalised(self.emissionprob_posterior_)}

    def _start(self, X: NDArray[Any]) -> None:
        if self._needs_init("e"):
            shape = self.n_components, self._symbols(X)
            prior = 1 / shape[1] if self.emissionprob_prior is None else self.emissionprob_prior
            draw = _utils.check_random_state(self.random_state).dirichlet
            drawn = [draw(row) for row in np.broadcast_to(prior, shape)]
            self._set("emissionprob", prior, prior, np.stack(drawn) * (len(X) / len(drawn)))

    def _belief(self) -> CategoricalBelief:
        belief = CategoricalBelief(self._emission(), self.emissionprob_prior_)
        belief.own = dirichlet(self, "emissionprob")
        return belief

    def _believe(self, belief: EmissionBelief) -> None:
        assert isinstance(belief, CategoricalBelief)
        self.emissionprob_posterior_ = belief.own.concentration.numpy()


@dataclass(eq=False, repr=False)
class VariationalGaussianHMM(OneGaussian, Variational):
    """As `GaussianHMM`, with a posterior of means and precisions: normal-Wishart, or normal-gamma without correlations.

    States that the data do not need keep their prior. Other arguments as of `BaseHMM`.

    Args:
        covariance_type: as of `GaussianHMM`.
        startprob_prior, transmat_prior: concentrations of the Dirichlet priors; None for 1 / n_components.
        means_prior, beta_prior: the expected mean, and how many observations of it that is worth; None for the mean of
            the data, and 1.
        dof_prior, scale_prior: degrees of freedom, and the inverse scale, of the Wishart prior of precisions: what
            ``dof`` observations would have as their sum of squares. None for n_features, and 1e-3 in each direction.
            Variances have the gamma distributions that this means of each by itself.
        params, init_params: ``"m"`` for means, ``"c"`` for covariances. A fit learns both or neither.

    Attributes:
        startprob_posterior_, transmat_posterior_: concentrations.
        means_posterior_, beta_posterior_: ``(n_components, n_features)`` and ``(n_components,)``.
        dof_posterior_: ``(n_components,)``; one number where the covariance is tied.
        scale_posterior_: in the shape of the covariance type. Each of these with ``_prior_`` in its name is the prior.
        startprob_, transmat_, means_: what the posterior expects.
        covars_: the inverses of the precisions that it expects, as matrices for each state.
        monitor_: its history is of the lower bound of the log-evidence.

    Example:
        >>> import numpy as np
        >>> X = np.random.RandomState(0).randn(200, 1) + 9.0 * (np.arange(200)[:, None] // 20 % 2)
        >>> model = VariationalGaussianHMM(n_components=2, random_state=0).fit(X)
        >>> np.sort(model.means_posterior_.ravel()).round().tolist()
        [0.0, 9.0]
        >>> np.sort(model.dof_posterior_).round().tolist()  # 1 of the prior, and 100 steps
        [101.0, 101.0]
    """

    n_components: int = 1
    covariance_type: Covariance = "full"
    startprob_prior: Given = None
    transmat_prior: Given = None
    means_prior: Given = None
    beta_prior: Given = None
    dof_prior: Given = None
    scale_prior: Given = None
    algorithm: Literal["viterbi", "map"] = "viterbi"
    random_state: RandomState = None
    n_iter: int = 100
    tol: float = 1e-6
    verbose: bool = False
    params: str = "stmc"
    init_params: str = "stmc"
    implementation: Literal["log", "scaling"] = "log"

    quantities = Variational.quantities | {"m": ("means", "beta"), "c": ("dof", "scale")}
    letters = Variational.letters | {"m": "means_posterior_", "c": "scale_posterior_"}
    _featured = "means_posterior_"

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        checked_type(self.covariance_type)
        states, features = self.n_components, self.n_features
        dof = () if self.covariance_type == "tied" else (states,)
        own = {"means": (states, features), "beta": (states,), "dof": dof, "scale": self._shape(features)}
        return super()._shapes() | own

    @property
    def _matrices(self) -> bool:
        return self.covariance_type in ("full", "tied")

    def _positive(self, quantity: str, value: Array) -> bool:
        if quantity == "means":
            return True
        if quantity == "dof" and self._matrices:
            return bool((value > self.n_features - 1).all())
        axes = quantity == "scale" and self._matrices
        return super()._positive(quantity, np.asarray(np.linalg.eigvalsh(value)) if axes else value)

    def _expected(self) -> dict[str, Array]:
        covars = (self.scale_posterior_.T / self.dof_posterior_).T
        return super()._expected() | {"means_": self.means_posterior_, "_covars_": covars}

    def _start(self, X: Array) -> None:
        checked_type(self.covariance_type)
        if ("m" in self.params) != ("c" in self.params):
            raise DataError(
                "VariationalGaussianHMM: means and covariances have one posterior together, so params must have both "
                f"'m' and 'c', or neither; got {self.params!r}."
            )
        needed = [letter for letter in "mc" if self._needs_init(letter)]
        if not needed:
            return
        clusters, features = self._clusters(X), X.shape[1]
        counts = np.bincount(clusters.labels_, minlength=self.n_components)
        if "m" in needed:
            self._set("means", self.means_prior, X.mean(0), clusters.cluster_centers_)
            self._set("beta", self.beta_prior, 1.0, counts)
        if "c" in needed:
            covars = spread(X, _MIN_COVAR, self.covariance_type, self._shape(features))
            dof = len(X) if self.covariance_type == "tied" else np.maximum(counts, features if self._matrices else 1)
            least = _MIN_COVAR * np.eye(features) if self._matrices else _MIN_COVAR
            self._set("dof", self.dof_prior, features, dof)
            self._set("scale", self.scale_prior, least, (covars.T * dof).T)

    def _belief(self) -> GaussianBelief | FullGaussianBelief:
        emission = self._emission()
        one = torch.ones(self.n_features, dtype=torch.float64)
        belief = (FullGaussianBelief if self._matrices else GaussianBelief)(emission, one, one)
        belief.prior, belief.now = (self._hyper(side, emission.centre) for side in ("prior", "posterior"))
        return belief

    def _hyper(self, side: str, centre: Tensor) -> dict[str, Tensor]:
        """What the belief has as its prior, or as its posterior."""
        names = ("means", "beta", "dof", "scale")
        mean, weight, dof, scale = (building.numbers(getattr(self, f"{name}_{side}_")) for name in names)
        mean = mean - centre
        if self._matrices:
            return {
                "mean": mean,
                "weight": weight,
                "degrees": dof.reshape(-1),
                "scale": scale.reshape(-1, *scale.shape[-2:]),
            }
        half = self._half()
        shape, scale = half * dof.unsqueeze(-1), half * scale.reshape(len(scale), -1)
        return {
            "mean": mean,
            "weight": weight.unsqueeze(-1).expand_as(mean),
            "shape": shape.expand_as(scale),
            "scale": scale,
        }

    def _half(self) -> float:
        """What a degree of freedom adds to the shape of a precision's gamma distribution."""
        return self.n_features / 2 if self.covariance_type == "spherical" else 1 / 2

    def _believe(self, belief: EmissionBelief) -> None:
        assert isinstance(belief, GaussianBelief | FullGaussianBelief)
        now = {name: value.numpy() for name, value in belief.now.items()}
        self.means_posterior_ = now["mean"] + belief.emission.centre.numpy()
        if self._matrices:
            self.beta_posterior_, dof, scale = now["weight"], now["degrees"], now["scale"]
        else:
            self.beta_posterior_, dof, scale = (
                now["weight"][:, 0],
                now["shape"][:, 0] / self._half(),
                now["scale"] / self._half(),
            )
        shapes = self._shapes()
        self.dof_posterior_, self.scale_posterior_ = dof.reshape(shapes["dof"]), scale.reshape(shapes["scale"])


def both(*quantities: str) -> list[str]:
    """The attributes of quantities."""
    return [f"{quantity}_{side}_" for quantity in quantities for side in ("prior", "posterior")]


def dirichlet(estimator: Estimator, quantity: str) -> TableBelief:
    """What is believed of distributions along the last axis."""
    prior, posterior = (building.numbers(getattr(estimator, attribute)) for attribute in both(quantity))
    rows = torch.arange(prior.numel() // prior.shape[-1]).reshape(*prior.shape[:-1], 1).expand(prior.shape)
    belief = TableBelief(Table(rows).double(), prior)
    belief.concentration = posterior
    return belief


def normalised(concentration: Array) -> Array:
    """The mean of Dirichlet distributions along the last axis."""
    return np.asarray(concentration / concentration.sum(-1, keepdims=True))

"""Generalised linear models on inputs."""

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from semihmm.engine.tracing import traced
from semihmm.errors import DataError, ShapeError
from semihmm.models.climbing import newton
from semihmm.models.emissions.base import Emission, missing
from semihmm.models.emissions.independent import counted
from semihmm.models.emissions.learning import learn, met
from semihmm.models.emissions.regressors import begin, beside, design, inputs_of, linear, products, split
from semihmm.models.emissions.solving import root

_LEAST_SHAPE, _LARGEST_SHAPE = 1e-4, 1e4


class GLM(Emission):
    """Each state has a generalised linear model of each feature on inputs (Nelder & Wedderburn 1972).

    Args:
        states: S.
        features: F, independent of one another given the state and the inputs.
        inputs: how many there are.
        family: ``"bernoulli"``, with the logistic function (logistic regression); ``"poisson"`` or ``"gamma"``, with
            the exponential one, the latter with a shape between 1e-4 and 1e4. For real numbers there is
            `LinearRegression`, for symbols `LogisticRegression`.
        intercept: whether 1 is one input more.
        ridge: the weight of a penalty on all coefficients, ``ridge / 2`` times the sum of their squares (`log_prior` is
            its negative); above 0, so that the best ones are finite whatever the data.

    Observations are ``(..., T, F)``, of inputs ``(..., T, inputs)``; the expected one is the function of
    ``coefficients @ inputs``. Parameters: ``coefficients (S, F, inputs + 1)``, the last of which is the intercept, and
    ``log_shape (S, F)`` of ``"gamma"``. EM step: Newton's method (iteratively reweighted least squares), each step of
    which is halved until it raises the likelihood; it needs all data at once. A value that is missing counts for
    nothing; a step counts for nothing if one of its inputs is missing.

    Example:
        >>> emission = GLM(states=1, features=1, inputs=1, family="poisson")
        >>> u, x = torch.tensor([[0.0], [0.0], [1.0], [1.0]]), torch.tensor([[1], [3], [9], [11]])
        >>> emission.update(emission.observed(x, u), torch.ones(4, 1))
        >>> rates = (emission.coefficients @ torch.tensor([[0.0, 1.0], [1.0, 1.0]])).exp()
        >>> rates.round(decimals=2).tolist()
        [[[2.0, 10.0]]]
    """

    apart = True

    def __init__(
        self,
        states: int,
        features: int,
        inputs: int,
        family: Literal["bernoulli", "poisson", "gamma"] = "bernoulli",
        intercept: bool = True,
        ridge: float = 1e-4,
    ) -> None:
        super().__init__()
        if family not in _FAMILIES:
            other = {"gaussian": " Take LinearRegression.", "categorical": " Take LogisticRegression."}.get(family, "")
            raise ShapeError(f"GLM: family must be one of {', '.join(_FAMILIES)}, got {family!r}.{other}")
        check_ridge("GLM", ridge)
        self.states: int = states
        self.event_shape: tuple[int] = (features,)
        self.inputs, self.family, self.intercept, self.ridge = inputs, family, intercept, ridge
        self.filler = 1.0 if family == "gamma" else 0.0
        self.coefficients = nn.Parameter(0.1 * torch.randn(states, features, inputs + intercept))
        if family == "gamma":
            self.log_shape = nn.Parameter(torch.zeros(states, features))

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "features": self.event_shape[0],
            "inputs": self.inputs,
            "family": self.family,
            "intercept": self.intercept,
            "ridge": self.ridge,
        }

    def observed(self, x: Tensor, inputs: Tensor | None = None) -> Tensor:
        return beside(self, x, inputs)

    def forward(self, x: Tensor) -> Tensor:
        y, u, seen = self._split(x)
        family, y = _FAMILIES[self.family], y.unsqueeze(-2)
        each = self._shape() * family.kernel(y, self._linear(u)) + family.base(y, self._shape())
        return (each * seen.unsqueeze(-2)).sum(-1).to(self.dtype)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """The most likely of a few mixtures, each fitted for a few steps without regard to time."""
        y, _, seen = self._split(x)
        start = torch.zeros_like(self.coefficients)
        if self.intercept:
            average = torch.where(seen, y, 0.0).sum(0) / seen.sum(0).clamp(min=1)
            start[..., -1] = _FAMILIES[self.family].link(average)
        learn(self.coefficients, start)
        begin(self, x, generator)

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        y, u, seen = self._split(x)
        family, columns = _FAMILIES[self.family], design(u, self.intercept)
        weight = posterior.double().unsqueeze(-1) * seen.unsqueeze(-2)  # (N, S, F)
        total, y = weight.sum(0), y.unsqueeze(-2)
        ridge = (self.ridge / self._shape() * torch.ones_like(total)).unsqueeze(-1)
        pairs = products(columns)

        def penalised(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            where = linear(columns, at)
            value = (weight * family.kernel(y, where)).sum(0) - (ridge * at.square()).sum(-1) / 2
            gradient = torch.einsum("nsf,nr->sfr", weight * family.slope(y, where), columns) - ridge * at
            curvature = (weight * family.curve(y, where)).flatten(1).T @ pairs
            square = curvature.unflatten(-1, (at.shape[-1], -1)).unflatten(0, at.shape[:2])
            return value, gradient, square + torch.diag_embed(ridge.expand_as(at))

        if self.coefficients.requires_grad:
            found = newton(penalised, self.coefficients.double())
            learn(self.coefficients, torch.where(met(total).unsqueeze(-1), found, self.coefficients.double()))
        if self.family == "gamma":
            away = y.log() - self._linear(u)
            known = (weight * (away.exp() - 1 - away)).sum(0) / torch.where(met(total), total, 1.0)

            def lack(log_shape: Tensor) -> tuple[Tensor, Tensor]:
                shape = log_shape.exp()
                return log_shape - torch.digamma(shape) - known, 1 - shape * torch.polygamma(1, shape)

            low, high = (torch.full_like(known, math.log(end)) for end in (_LEAST_SHAPE, _LARGEST_SHAPE))
            learn(self.log_shape, torch.where(met(total), root(lack, low, high), self.log_shape.double()))

    def log_prior(self) -> Tensor:
        """Of the coefficients: ``-ridge / 2`` times their squares."""
        return -self.ridge / 2 * self.coefficients.square().sum()

    @torch.no_grad()
    def expected(self) -> Tensor:
        """The expected observation where all inputs are 0, ``(S, F)``."""
        return self._expected(self.coefficients.new_zeros(self.inputs).double()).to(self.dtype)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None, inputs: Tensor | None = None) -> Tensor:
        columns = design(inputs_of(self, states, inputs), self.intercept)
        where = (self.coefficients[states] @ columns.unsqueeze(-1)).squeeze(-1)
        shape = self.log_shape.exp()[states] if self.family == "gamma" else torch.ones_like(where)
        return _FAMILIES[self.family].draw(where, shape, generator)

    @torch.no_grad()
    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Observations ``(..., F)`` with what is missing drawn; where inputs are missing, it stays so."""
        y, u = x[..., : self.event_shape[0]], x[..., self.event_shape[0] :]
        drawn = self.sample(states, generator, torch.where(missing(u), 0.0, u))
        return torch.where(missing(y) & ~missing(u).any(-1, keepdim=True), drawn.to(x.dtype), y)

    @torch.no_grad()
    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        """Observations ``(..., F)`` with what is missing at its expectation; where inputs are missing, it stays so."""
        y, u = x[..., : self.event_shape[0]], x[..., self.event_shape[0] :]
        expected = (posterior.double().unsqueeze(-1) * self._expected(u.double())).sum(-2)
        return torch.where(missing(y), expected.to(x.dtype), y)

    def describe(self) -> dict[str, Tensor]:
        found = {"coefficients": self.coefficients.detach()[..., : self.inputs]}
        if self.intercept:
            found["intercept"] = self.coefficients.detach()[..., -1]
        return found | ({"shape": self.log_shape.detach().exp()} if self.family == "gamma" else {})

    @torch.no_grad()
    def project(self) -> None:
        if self.family == "gamma" and self.log_shape.requires_grad:
            self.log_shape.clamp_(math.log(_LEAST_SHAPE), math.log(_LARGEST_SHAPE))

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `split`, with what is missing replaced by what can be observed."""
        y, u, seen = split(x, self.event_shape[0])
        y = torch.where(seen, y, self.filler)
        family = _FAMILIES[self.family]
        if not traced() and not bool((inside := family.inside(y)).all()):
            at = tuple(int(i) for i in (~inside).nonzero()[0])
            raise DataError(f"GLM: {self.family} observations must be {family.support}, got {y[at].item()} at {at}.")
        return y, u, seen

    def _shape(self) -> Tensor | float:
        return self.log_shape.double().exp() if self.family == "gamma" else 1.0

    def _linear(self, u: Tensor) -> Tensor:
        """What the mean is a function of, ``(..., S, F)``."""
        return linear(design(u, self.intercept), self.coefficients.double())

    def _expected(self, u: Tensor) -> Tensor:
        return _FAMILIES[self.family].mean(self._linear(u))


def check_ridge(name: str, ridge: float) -> None:
    """Refuse a penalty that bounds nothing."""
    if ridge <= 0:
        raise ShapeError(f"{name}: ridge must be above 0, so that no best coefficient is infinite, got {ridge}.")


class _Family(ABC):
    """Densities ``exp(shape * kernel(y, linear) + base(y, shape))``, the kernel concave in the linear predictor."""

    support: str

    @abstractmethod
    def inside(self, y: Tensor) -> Tensor:
        """Which values can be observed."""

    @abstractmethod
    def kernel(self, y: Tensor, linear: Tensor) -> Tensor: ...

    @abstractmethod
    def slope(self, y: Tensor, linear: Tensor) -> Tensor:
        """The derivative of the kernel."""

    @abstractmethod
    def curve(self, y: Tensor, linear: Tensor) -> Tensor:
        """Its second derivative, negated."""

    @abstractmethod
    def base(self, y: Tensor, shape: Tensor | float) -> Tensor: ...

    @abstractmethod
    def link(self, mean: Tensor) -> Tensor:
        """The linear predictor of a mean in the data; finite."""

    @abstractmethod
    def mean(self, linear: Tensor) -> Tensor:
        """The expected observation."""

    @abstractmethod
    def draw(self, linear: Tensor, shape: Tensor, generator: torch.Generator | None) -> Tensor: ...


class _Bernoulli(_Family):
    support = "0 or 1"

    def inside(self, y: Tensor) -> Tensor:
        return (y == 0) | (y == 1)

    def kernel(self, y: Tensor, linear: Tensor) -> Tensor:
        return y * linear - nn.functional.softplus(linear)

    def slope(self, y: Tensor, linear: Tensor) -> Tensor:
        return y - linear.sigmoid()

    def curve(self, y: Tensor, linear: Tensor) -> Tensor:
        return linear.sigmoid() * (-linear).sigmoid()

    def base(self, y: Tensor, shape: Tensor | float) -> Tensor:
        return torch.zeros_like(y)

    def link(self, mean: Tensor) -> Tensor:
        return mean.logit(1e-3)

    def mean(self, linear: Tensor) -> Tensor:
        return linear.sigmoid()

    def draw(self, linear: Tensor, shape: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch.bernoulli(linear.sigmoid(), generator=generator)


class _Poisson(_Family):
    support = "counts"

    def inside(self, y: Tensor) -> Tensor:
        return counted(y)

    def kernel(self, y: Tensor, linear: Tensor) -> Tensor:
        return y * linear - linear.exp()

    def slope(self, y: Tensor, linear: Tensor) -> Tensor:
        return y - linear.exp()

    def curve(self, y: Tensor, linear: Tensor) -> Tensor:
        return linear.exp()

    def base(self, y: Tensor, shape: Tensor | float) -> Tensor:
        return -torch.lgamma(y + 1)

    def link(self, mean: Tensor) -> Tensor:
        return mean.clamp(min=1e-3).log()

    def mean(self, linear: Tensor) -> Tensor:
        return linear.exp()

    def draw(self, linear: Tensor, shape: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch.poisson(linear.exp(), generator)


class _Gamma(_Family):
    support = "greater than 0"

    def inside(self, y: Tensor) -> Tensor:
        return (y > 0) & y.isfinite()

    def kernel(self, y: Tensor, linear: Tensor) -> Tensor:
        return -y * (-linear).exp() - linear

    def slope(self, y: Tensor, linear: Tensor) -> Tensor:
        return y * (-linear).exp() - 1

    def curve(self, y: Tensor, linear: Tensor) -> Tensor:
        return y * (-linear).exp()

    def base(self, y: Tensor, shape: Tensor | float) -> Tensor:
        shape = torch.as_tensor(shape, dtype=y.dtype, device=y.device)
        return shape * shape.log() - torch.lgamma(shape) + (shape - 1) * y.log()

    def link(self, mean: Tensor) -> Tensor:
        return mean.log()

    def mean(self, linear: Tensor) -> Tensor:
        return linear.exp()

    def draw(self, linear: Tensor, shape: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch._standard_gamma(shape, generator=generator) / shape * linear.exp()


_FAMILIES: dict[str, _Family] = {"bernoulli": _Bernoulli(), "poisson": _Poisson(), "gamma": _Gamma()}

"""Proportions."""

import torch
from torch import Tensor, nn

from semihmm.models.emissions.independent import ExponentialFamily
from semihmm.models.emissions.learning import learn, mean_of
from semihmm.models.emissions.solving import root

_LEAST = 1e-4
_STEPS, _HALVINGS, _CLOSE = 50, 30, 1e-7


class Beta(ExponentialFamily):
    """Each state has a beta distribution for each feature, independent of the others.

    Args:
        states: S.
        features: F.
        max_concentration: the largest sum of the two shapes, which bounds the variance from below; it makes the
            likelihood bounded.

    Observations lie between 0 and 1, both excluded, ``(..., T, F)``. Parameters: ``log_alpha`` and ``log_beta``,
    ``(S, F)``. ``log p(x) = (alpha - 1) log x + (beta - 1) log(1 - x) - log B(alpha, beta)``, summed over features.
    EM step, exact: Newton's method on a concave function; where its maximum lies beyond the bound, the best on it.

    Example:
        >>> emission = Beta(states=1, features=1)
        >>> emission.update(torch.tensor([[0.2], [0.8]]), torch.ones(2, 1))
        >>> torch.allclose(emission.log_alpha, emission.log_beta)
        True
    """

    support = "between 0 and 1, both excluded"
    filler = 0.5

    def __init__(self, states: int, features: int, max_concentration: float = 1e4) -> None:
        super().__init__(states, features)
        self.max_concentration = max_concentration
        self.log_alpha = nn.Parameter(torch.rand(states, features))
        self.log_beta = nn.Parameter(torch.rand(states, features))

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "features": self.event_shape[0],
            "max_concentration": self.max_concentration,
        }

    def inside(self, x: Tensor) -> Tensor:
        return (x > 0) & (x < 1)

    def sufficient(self, x: Tensor) -> dict[str, Tensor]:
        return {"log": x.log(), "log_rest": (-x).log1p()}

    def natural(self) -> tuple[Tensor, Tensor]:
        return self.log_alpha.double().exp(), self.log_beta.double().exp()

    def log_normaliser(self) -> Tensor:
        return _log_normaliser(*self.natural())

    def base(self, x: Tensor) -> Tensor:
        return -x.log() - (-x).log1p()

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        weight = statistics["weight"]
        first, second = (mean_of(statistics[name], weight) for name in ("log", "log_rest"))
        for one, other, mean in ((self.log_alpha, self.log_beta, first), (self.log_beta, self.log_alpha, second)):
            if not other.requires_grad:
                learn(one, self._given(other.detach().double().exp(), mean).log(), weight)
                return
        bound = torch.full_like(first, self.max_concentration)

        def lean(alpha: Tensor) -> tuple[Tensor, Tensor]:
            beta = bound - alpha
            slope = -torch.polygamma(1, alpha) - torch.polygamma(1, beta)
            return first - second - torch.digamma(alpha) + torch.digamma(beta), slope

        alpha = root(lean, torch.full_like(bound, _LEAST), bound - _LEAST)  # with a sum of shapes at the bound
        outward = first - torch.digamma(alpha) + torch.digamma(bound) > 0
        highest = _highest(torch.where(outward, -1.0, first), torch.where(outward, -1.0, second))
        learn(self.log_alpha, torch.where(outward, alpha, highest[0]).log(), weight)
        learn(self.log_beta, torch.where(outward, bound - alpha, highest[1]).log(), weight)

    def _given(self, other: Tensor, mean: Tensor) -> Tensor:
        """The best of one shape given the other, and the mean of its logarithm."""

        def slope(shape: Tensor) -> tuple[Tensor, Tensor]:
            both = shape + other
            return (
                mean - torch.digamma(shape) + torch.digamma(both),
                torch.polygamma(1, both) - torch.polygamma(1, shape),
            )

        high = (self.max_concentration - other).clamp(min=_LEAST)
        return root(slope, torch.full_like(high, _LEAST), high)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        shapes = torch.stack([self.log_alpha, self.log_beta], -1).exp()[states]
        x = torch._sample_dirichlet(shapes, generator)[..., 0]
        limits = torch.finfo(x.dtype)
        return x.clamp(limits.tiny, 1 - limits.eps)

    @torch.no_grad()
    def project(self) -> None:
        excess = (self.log_alpha.exp() + self.log_beta.exp()) / self.max_concentration
        for parameter in (self.log_alpha, self.log_beta):
            learn(parameter, parameter.detach() - excess.clamp(min=1.0).log())

    def expected(self) -> Tensor:
        return (self.log_alpha - self.log_beta).sigmoid()

    def describe(self) -> dict[str, Tensor]:
        return {"alpha": self.log_alpha.detach().exp(), "beta": self.log_beta.detach().exp()}


def _log_normaliser(alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)


def _highest(first: Tensor, second: Tensor) -> Tensor:
    """The shapes ``(2, ...)`` that make ``alpha * first + beta * second - log B(alpha, beta)`` greatest.

    Newton's method; a step that does not go up is halved.
    """
    spread = 1 - first.exp() - second.exp()
    at = torch.stack([0.5 + first.exp() / spread / 2, 0.5 + second.exp() / spread / 2])  # Johnson, Kotz & Balakrishnan
    wanted = torch.stack([first, second])

    def value(at: Tensor) -> Tensor:
        return (wanted * at).sum(0) - _log_normaliser(at[0], at[1])

    for _ in range(_STEPS):
        gradient = wanted - torch.digamma(at) + torch.digamma(at.sum(0))
        own, common = -torch.polygamma(1, at), torch.polygamma(1, at.sum(0))
        # The Hessian is diag(own) + common, which Sherman & Morrison invert.
        step = -(gradient - (gradient / own).sum(0) / (1 / common + (1 / own).sum(0))) / own
        last = (step.abs() <= _CLOSE * at).all(0)  # which squares the error
        size, here = torch.ones_like(first), value(at)
        for _ in range(_HALVINGS):
            after = at + size * step
            good = last | ((after > 0).all(0) & (value(after.abs()) >= here))
            if bool(good.all()):
                break
            size = torch.where(good, size, size / 2)
        at = torch.where(good, after, at)
        if bool(last.all()):
            break
    return at

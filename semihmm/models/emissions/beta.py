"""Proportions."""

import torch
from torch import Tensor, nn

from semihmm.models.emissions.independent import ExponentialFamily, learn, mean_of
from semihmm.models.emissions.solving import root

_LEAST = 1e-4
_STEPS, _HALVINGS = 50, 30


class Beta(ExponentialFamily):
    """Each state has a beta distribution for each feature, independent of the others.

    Args:
        states: S.
        features: F.
        max_concentration: the largest sum of the two shapes, which bounds the variance from below; it makes the
            likelihood bounded.

    Observations lie between 0 and 1, both excluded, ``(..., T, F)``. Parameters: ``log_alpha`` and ``log_beta``,
    ``(S, F)``. ``log p(x) = (alpha - 1) log x + (beta - 1) log(1 - x) - log B(alpha, beta)``, summed over features.
    EM step, exact: Newton's method on a concave function; where it leaves the bound, the best on the bound.

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

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.log(), (-x).log1p()

    def natural(self) -> tuple[Tensor, Tensor]:
        return self.log_alpha.double().exp(), self.log_beta.double().exp()

    def log_normaliser(self) -> Tensor:
        return _log_normaliser(*self.natural())

    def base(self, x: Tensor) -> Tensor:
        return -x.log() - (-x).log1p()

    def maximise(self, weight: Tensor, *sums: Tensor) -> None:
        first, second = (mean_of(total, weight) for total in sums)
        # Where the total is at its bound, one number is left.
        bound = torch.full_like(first, self.max_concentration)

        def lean(alpha: Tensor) -> tuple[Tensor, Tensor]:
            beta = bound - alpha
            slope = -torch.polygamma(1, alpha) - torch.polygamma(1, beta)
            return first - second - torch.digamma(alpha) + torch.digamma(beta), slope

        at_bound = root(lean, torch.full_like(bound, _LEAST), bound - _LEAST)
        alpha, beta = _highest(first, second, self.max_concentration)
        outside = alpha + beta > bound
        learn(self.log_alpha, torch.where(outside, at_bound, alpha).log(), weight)
        learn(self.log_beta, torch.where(outside, bound - at_bound, beta).log(), weight)

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
            parameter.sub_(excess.clamp(min=1.0).log())


def _log_normaliser(alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)


def _highest(first: Tensor, second: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """The shapes that make ``alpha * first + beta * second - log B(alpha, beta)`` greatest.

    Newton's method; a step that does not go up is halved. If the sum comes out greater than the bound, it is inexact.
    """
    spread = (1 - first.exp() - second.exp()).clamp(min=1 / bound)
    at = torch.stack([0.5 + first.exp() / spread / 2, 0.5 + second.exp() / spread / 2])  # Johnson, Kotz & Balakrishnan
    wanted = torch.stack([first, second])

    def value(at: Tensor) -> Tensor:
        return (wanted * at).sum(0) - _log_normaliser(at[0], at[1])

    for _ in range(_STEPS):
        gradient = wanted - torch.digamma(at) + torch.digamma(at.sum(0))
        own, common = -torch.polygamma(1, at), torch.polygamma(1, at.sum(0))
        # The Hessian is diag(own) + common, which Sherman & Morrison invert.
        step = -(gradient - (gradient / own).sum(0) / (1 / common + (1 / own).sum(0))) / own
        there = (step.abs() <= 1e-12 * at).all(0)
        if bool(there.all()):
            break
        size, here = torch.ones_like(first), value(at)
        for _ in range(_HALVINGS):
            after = at + size * step
            good = (after > 0).all(0) & (value(after.abs()) >= here)
            if bool((good | there).all()):
                break
            size = torch.where(good, size, size / 2)
        at = torch.where(good, after, at)
    return at[0], at[1]

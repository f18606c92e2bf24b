"""Expectation semirings: moments of additive features under the path distribution (Eisner 2002; Li & Eisner 2009).

Li & Eisner carry ``(p, r)``, a mass and the mass times the mean. Such numbers underflow, and in log space a mean has
a sign to be kept apart. Here a value is ``(log p, r / p)``: the log-mass and the *conditional mean*, the coordinates
of their semiring in which nothing under- or overflows. One path after another then adds both parts, since
means add; one of several adds the masses and mixes the means by their shares. In the same way the second
moment ``s`` becomes the covariance ``s / p - (r / p)(t / p)``: covariances of what is independent
add, and mix by the law of total covariance. No term is the small difference of large ones.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.errors import SemiringError
from semihmm.semirings.base import Semiring
from semihmm.semirings.log import mixture


@dataclass(frozen=True)
class Expectation(Semiring):
    """The log-partition and the means of m features that add up along a path: ``(1 + m, ...)``.

    Component 0 is `Log`'s value, the others are means under the distribution over paths. Where no path is possible
    they are 0. The gradient of a mean with respect to the log-weights is a covariance with the arcs' counts.

    Args:
        m: how many features; at least 1.
    Example:
        >>> e = Expectation(1)
        >>> arcs = e.lift(torch.tensor([0.25, 0.75]).log(), torch.tensor([8.0, 4.0]))
        >>> e.sum(arcs, -1)[1]
        tensor(5.)
    """

    m: int = 1

    scalable = True

    def __post_init__(self) -> None:
        if self.m < 1:
            raise SemiringError(f"Expectation: m counts features, so it is at least 1; got {self.m}. None? Use Log().")

    @property
    def zero(self) -> tuple[float, ...]:
        return (-math.inf, *(0.0,) * self.m)

    @property
    def one(self) -> tuple[float, ...]:
        return (0.0,) * (1 + self.m)

    @property
    def inputs(self) -> int:
        return 1 + self.m

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        """The log-weight, then the features; 0 where the log-weight is ``-inf``."""
        return _lift(self, log_weight, features)

    def lower(self, value: Tensor) -> Tensor:
        """The value itself, ``(1 + m, ...)``: the log-partition, then the means."""
        return value

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        """``a + b``: log-masses add, and so do means."""
        a, b = self.align(a, b)
        return a + b

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """``log sum exp`` of the masses, and the means weighted by the masses' softmax."""
        if not x.shape[dim]:
            return self.empty(x, dim)
        mass, share = mixture(x[0], dim)
        return torch.cat([mass.unsqueeze(0), (share * x[1:]).sum(dim)])

    def magnitude(self, value: Tensor) -> Tensor:
        return value[0]

    def scale(self, value: Tensor, log_factor: Tensor) -> Tensor:
        """The log-mass changes, the means do not."""
        return _scale(value, log_factor)


@dataclass(frozen=True)
class SecondOrderExpectation(Semiring):
    """The log-partition, the means of two features f and g, and their covariance: ``(4, ...)``.

    With ``f = g`` the last is the variance; with f the log-weights' own direction v and g the counts of an arc it is
    a row of a Hessian product.

    Example:
        >>> s = SecondOrderExpectation()
        >>> f = torch.tensor([8.0, 4.0])
        >>> s.sum(s.lift(torch.zeros(2), f, f), -1)  # log 2, the mean twice, the variance
        tensor([0.6931, 6.0000, 6.0000, 4.0000])
    """

    zero = (-math.inf, 0.0, 0.0, 0.0)
    one = (0.0, 0.0, 0.0, 0.0)
    inputs = 3
    scalable = True

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        """The log-weight, f and g, and 0: one arc does not vary."""
        value = _lift(self, log_weight, features)
        return torch.cat([value, torch.zeros_like(value[:1])])

    def lower(self, value: Tensor) -> Tensor:
        """The value itself, ``(4, ...)``: the log-partition, the means of f and g, their covariance."""
        return value

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        """``a + b``: what comes first and what comes after are independent, so covariances add too."""
        a, b = self.align(a, b)
        return a + b

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """Masses and means as in `Expectation`; the covariance within the arguments plus that between them."""
        if not x.shape[dim]:
            return self.empty(x, dim)
        mass, share = mixture(x[0], dim)
        means = (share * x[1:3]).sum(dim)
        off = x[1:3] - means.unsqueeze(dim)
        covariance = (share * (x[3] + off[0] * off[1])).sum(dim)
        return torch.cat([mass.unsqueeze(0), means, covariance.unsqueeze(0)])

    def magnitude(self, value: Tensor) -> Tensor:
        return value[0]

    def scale(self, value: Tensor, log_factor: Tensor) -> Tensor:
        """The log-mass changes, the moments do not."""
        return _scale(value, log_factor)


def _lift(semiring: Semiring, log_weight: Tensor, features: tuple[Tensor, ...]) -> Tensor:
    if len(features) != semiring.inputs - 1:
        raise SemiringError(
            f"{semiring}: an arc has a log-weight and {semiring.inputs - 1} feature(s), got {len(features)} feature(s)."
        )
    kept = (torch.where(log_weight == -math.inf, 0.0, feature) for feature in features)
    return torch.stack(torch.broadcast_tensors(log_weight, *kept))


def _scale(value: Tensor, log_factor: Tensor) -> Tensor:
    return torch.cat([(value[0] + log_factor).unsqueeze(0), value[1:]])

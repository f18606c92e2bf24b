"""Log semiring ``(logaddexp, +, -inf, 0)``: its totals are log-partitions, in nats (Goodman 1999)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.semirings.base import Semiring


def shifted(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The peak along ``dim`` (kept; 0 where all is ``-inf``; no gradient), and ``exp(x - peak)``."""
    peak = x.detach().amax(dim, keepdim=True)
    peak = torch.where(peak.isinf(), 0.0, peak)  # a row of -inf has no peak
    return peak, (x - peak).exp()


def mixture(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """``log sum exp`` along ``dim``, and the softmax weights; these are 0 where all is ``-inf``."""
    peak, share = shifted(x, dim)
    mass = share.sum(dim, keepdim=True)
    empty = mass == 0  # not `~(mass > 0)`: a NaN must stay a NaN
    # Two `where`s: the inner one keeps log(0) and 0/0 out of the backward pass.
    mass = torch.where(empty, 1.0, mass)
    return torch.where(empty, -math.inf, mass.log() + peak).squeeze(dim), share / mass


@dataclass(frozen=True)
class Log(Semiring):
    """Adds up path weights in log space; the gradient of a total is a marginal.

    ``zero`` is a true ``-inf``: a forbidden arc stays forbidden however long the chain is, and
    its gradient is 0. So `sum` is not ``torch.logsumexp``, whose gradient there is NaN.

    Example:
        >>> Log().sum(torch.zeros(2), -1)
        tensor(0.6931)
    """

    zero = -math.inf
    one = 0.0
    temperature = 1.0
    scalable = True

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        return log_weight

    def lower(self, value: Tensor) -> Tensor:
        return value

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def sum(self, x: Tensor, dim: int) -> Tensor:
        if not x.shape[dim]:
            return self.empty(x, dim)
        peak, share = shifted(x, dim)
        mass = share.sum(dim)
        empty = mass == 0  # not `~(mass > 0)`: a NaN must stay a NaN
        # Two `where`s: the inner one keeps log(0) out of the backward pass.
        log_mass = torch.where(empty, 1.0, mass).log() + peak.squeeze(dim)
        return torch.where(empty, self.zero, log_mass)

    def magnitude(self, value: Tensor) -> Tensor:
        return value

    def scale(self, value: Tensor, log_factor: Tensor) -> Tensor:
        return value + log_factor

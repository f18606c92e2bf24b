"""Log semiring ``(logaddexp, +, -inf, 0)``: its totals are log-partitions, in nats (Goodman 1999)."""

import math
from dataclasses import dataclass, field

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


def product(vector: Tensor, matrix: Tensor) -> Tensor:
    """``log(exp(vector) @ exp(matrix))``, ``(..., S)`` by ``(..., S, R)``, as a product of matrices that loses nothing.

    Entries are held below their peaks (the vector's, each column's), and above 2 ** 26 of the smallest normal number,
    so that an arc is never 0 and no arc always is. Where a sum is so small that this could change it by more than
    2 ** -20 (in float32, for 100 states, 51 nats below the peaks), this step is a sum in log space.

    Example:
        >>> product(torch.tensor([0.0, -200.0]), torch.tensor([[-200.0, -torch.inf], [0.0, -torch.inf]]))
        tensor([-199.3069,      -inf])
    """
    floor = torch.finfo(matrix.dtype).tiny * 2**26
    top, weight = shifted(matrix, -2)
    weight = torch.where(matrix > -math.inf, weight.clamp(min=floor), 0.0)
    peak, share = shifted(vector, -1)
    rows = torch.stack([share, (vector > -math.inf).to(share.dtype)])
    if weight.shape[:-2].numel() == 1:
        mass, reach = rows @ weight.reshape(weight.shape[-2:])
    else:
        mass, reach = (rows.unsqueeze(-2) @ weight).squeeze(-2)
    there = reach > 0
    small = there & (mass < floor * 2**20 * matrix.shape[-2])

    def quick(vector: Tensor, matrix: Tensor, mass: Tensor) -> Tensor:
        return torch.where(there, torch.where(there, mass, 1.0).log() + peak + top.squeeze(-2), -math.inf)

    def slow(vector: Tensor, matrix: Tensor, mass: Tensor) -> Tensor:
        return mixture(vector.unsqueeze(-1) + matrix, -2)[0]

    given = (vector, matrix, mass)
    if torch.compiler.is_exporting():
        found: Tensor = torch.cond(small.any(), slow, quick, given)
        return found
    return (slow if bool(small.any()) else quick)(*given)


@dataclass(frozen=True)
class Log(Semiring):
    """Adds up path weights in log space; the gradient of a total is a marginal.

    ``zero`` is a true ``-inf``: a forbidden arc stays forbidden however long the chain is, and
    its gradient is 0. So `sum` is not ``torch.logsumexp``, whose gradient there is NaN.

    Args:
        products: whether `vecmat` is a product of matrices, to rounding the same (see `product`), in programs that are
            exported. It has no derivative.

    Example:
        >>> Log().sum(torch.zeros(2), -1)
        tensor(0.6931)
    """

    products: bool = field(default=False, repr=False)
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

    def vecmat(self, vector: Tensor, matrix: Tensor) -> Tensor:
        return product(vector, matrix) if self.products else super().vecmat(vector, matrix)

    def magnitude(self, value: Tensor) -> Tensor:
        return value

    def scale(self, value: Tensor, log_factor: Tensor) -> Tensor:
        return value + log_factor

"""How many paths there are (Count), and whether there is one (Boolean)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.semirings.base import Semiring


@dataclass(frozen=True)
class Count(Semiring):
    """``(+, *, 0, 1)`` on int64: the exact number of paths without an arc of ``-inf``.

    From 2**63 on it wraps around, as int64 does; the log of larger numbers is a `Log` total of log-weights
    that are 0 where an arc exists (`semihmm.log_count`).

    Example:
        >>> Count().sum(Count().lift(torch.tensor([-2.5, -torch.inf, 0.0])), -1)
        tensor(2)
    """

    zero = 0.0
    one = 1.0
    value_dtype = torch.int64

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        """1 where the log-weight is more than ``-inf``."""
        return (log_weight > -torch.inf).long()

    def lower(self, value: Tensor) -> Tensor:
        return value

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def sum(self, x: Tensor, dim: int) -> Tensor:
        return x.sum(dim)


@dataclass(frozen=True)
class Boolean(Semiring):
    """``(or, and, False, True)``: whether a path without an arc of ``-inf`` exists; `choose` gives the first such.

    Example:
        >>> Boolean().lift(torch.tensor([-2.5, -torch.inf]))
        tensor([ True, False])
    """

    zero = 0.0
    one = 1.0
    value_dtype = torch.bool
    idempotent = True
    selective = True

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        """True where the log-weight is more than ``-inf``."""
        return log_weight > -torch.inf

    def lower(self, value: Tensor) -> Tensor:
        return value

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        return a & b

    def sum(self, x: Tensor, dim: int) -> Tensor:
        return x.any(dim)

    def choose(self, x: Tensor, dim: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Any, and the lowest index that is True, ``(1, ...)``."""
        return x.any(dim), x.byte().argmax(dim).unsqueeze(0)

"""Lexicographic semiring: ties of one criterion are settled, or added up, by a second."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.errors import SemiringError
from semihmm.semirings.pair import Pair


@dataclass(frozen=True)
class Lexicographic(Pair):
    """Best by ``first``; among equals there, the sum of ``second``.

    ``Lexicographic(Max(), Max(), own_weights=True)`` is the best score and, of the paths that reach it, the best second
    score; with `Log` second, the log-mass of all of them, and on log-weights of 0 the log of their number. Equal means
    equal to the last bit, so rounding may break a tie: first's log-weights should add up exactly (integers, say).

    Args:
        first: selects by a total order, and times keeps strict preference: `Max` or `Min`. (`Bottleneck` does
            not: after a narrow arc wide and wider are equal, and the pair would not distribute.)
        second: any semiring with first's dtype; `choose` works where it is selective (Max, TopK, Sample).
            For three criteria make it another Lexicographic.
        own_weights: False: second is lifted from the same log-weight as first. True: `lift` takes second's
            log-weight as its first feature.
    References:
        Gurney & Griffin (2007), "Lexicographic Products in Metarouting": when such a product distributes.
    Example:
        >>> from semihmm.semirings import Max
        >>> s = Lexicographic(Max(), Max(), own_weights=True)
        >>> s.sum(s.lift(torch.tensor([1.0, 2.0, 2.0]), torch.tensor([9.0, 3.0, 4.0])), -1)
        tensor([2., 4.])
    """

    own_weights: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        first = self.first
        if not (first.selective and first.idempotent and first.additive) or first.components or first.inputs > 1:
            raise SemiringError(
                f"{self}: first must pick the one best of its arguments by a strict order that times keeps "
                f"(selective, idempotent and additive, without components or features), like Max() or Min(); "
                f"{first} does not."
            )

    @property
    def associative(self) -> bool:
        return self.second.associative

    @property
    def idempotent(self) -> bool:
        return self.second.idempotent

    @property
    def selective(self) -> bool:
        return self.second.selective

    @property
    def additive(self) -> bool:
        return self.second.additive

    @property
    def scalable(self) -> bool:
        """Where both are; a second with its own weights is not rescaled, only its ``lift(0)`` must be `one`."""
        return self.first.scalable and (self.second.additive if self.own_weights else self.second.scalable)

    @property
    def inputs(self) -> int:
        """The log-weight, second's log-weight if it has its own, second's features."""
        return self.second.inputs + self.own_weights

    @property
    def rows(self) -> int:
        return self.second.rows

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        """Both values; both `zero` where the log-weight is ``-inf``."""
        if len(features) != self.inputs - 1:
            raise SemiringError(
                f"{self}: an arc has a log-weight and {self.inputs - 1} feature(s), got {len(features)} feature(s)."
            )
        weight = log_weight
        if self.own_weights:
            weight = torch.where(log_weight == -math.inf, -math.inf, features[0])
            features = features[1:]
        return self.join(self.first.lift(log_weight), self.second.lift(weight, *features))

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """The best of first, and the sum of second over the arguments that reach it."""
        if not x.shape[dim]:
            return self.empty(x, dim)
        a, b = self.split(x)
        best = self.first.sum(a, dim)
        return self.join(best, self.second.sum(self._tied(a, b, best, dim), dim))

    def choose(self, x: Tensor, dim: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """`sum`, and what second chooses among the arguments that are best by first."""
        a, b = self.split(x)
        best, index = self.first.choose(a, dim)
        total, chosen = self.second.choose(self._tied(a, b, best, dim), dim, generator)
        # Where second forbids all that first likes best, it has nothing to choose from: first's choice stands.
        nowhere = self._is_zero(total)
        return self.join(best, total), torch.where(nowhere, index * self.rows, chosen)

    def magnitude(self, value: Tensor) -> Tensor:
        return self.first.magnitude(value[0])

    def scale(self, value: Tensor, log_factor: Tensor) -> Tensor:
        """First, and second unless its weights are its own."""
        a, b = self.split(value)
        b = b if self.own_weights else self.second.scale(b, log_factor)
        return self.join(self.first.scale(a, log_factor), b)

    def _tied(self, a: Tensor, b: Tensor, best: Tensor, dim: int) -> Tensor:
        """Second's values where first is at its best, `zero` elsewhere."""
        zero = self.second.full(self.second.zero, (1,) * a.dim(), like=b)
        return torch.where(a == best.unsqueeze(dim), b, zero)

    def _is_zero(self, b: Tensor) -> Tensor:
        zero = b == self.second.full(self.second.zero, (1,) * (b.dim() - self.second.components), like=b)
        return zero.all(0) if self.second.components else zero

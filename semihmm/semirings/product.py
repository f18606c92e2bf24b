"""Product semiring: two questions in one pass."""

from dataclasses import dataclass

from torch import Tensor

from semihmm.semirings.pair import Pair


@dataclass(frozen=True)
class Product(Pair):
    """Both totals from one pass; a value holds first's components, then second's, along one leading axis.

    It costs what the two cost one after the other; it saves the scan's own overhead and a second pass over the data.

    Args:
        first, second: any two whose values have one dtype (not Count with Log).
    Example:
        >>> import torch
        >>> from semihmm.semirings import Log, Max
        >>> both = Product(Log(), Max())
        >>> both.split(both.sum(both.lift(torch.zeros(2)), -1))
        (tensor(0.6931), tensor(0.))
    """

    @property
    def associative(self) -> bool:
        return self.first.associative and self.second.associative

    @property
    def idempotent(self) -> bool:
        return self.first.idempotent and self.second.idempotent

    @property
    def additive(self) -> bool:
        return self.first.additive and self.second.additive

    @property
    def scalable(self) -> bool:
        return self.first.scalable and self.second.scalable

    @property
    def inputs(self) -> int:
        """The log-weight, first's features, then second's."""
        return self.first.inputs + self.second.inputs - 1

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        """Both lifted from the log-weight, each with its own features."""
        own = self.first.inputs - 1
        a = self.first.lift(log_weight, *features[:own])
        return self.join(a, self.second.lift(log_weight, *features[own:]))

    def sum(self, x: Tensor, dim: int) -> Tensor:
        a, b = self.split(x)
        return self.join(self.first.sum(a, dim), self.second.sum(b, dim))

    def magnitude(self, value: Tensor) -> Tensor:
        return self.first.magnitude(self.split(value)[0])

    def scale(self, value: Tensor, log_factor: Tensor) -> Tensor:
        a, b = self.split(value)
        return self.join(self.first.scale(a, log_factor), self.second.scale(b, log_factor))

"""Real semiring ``(+, *, 0, 1)`` on non-negative numbers: totals are partition functions, in probability."""

from dataclasses import dataclass

from torch import Tensor

from semihmm.semirings.base import Semiring


@dataclass(frozen=True)
class Real(Semiring):
    """Adds up path weights as they are.

    The fastest semiring, and the first to leave the range of its numbers: a float32 holds log-weights between
    -103 and 88 nats, summed over the whole path. `Log` answers the same question at any length.

    Example:
        >>> import torch
        >>> Real().sum(Real().lift(torch.tensor([0.25, 0.5]).log()), -1)
        tensor(0.7500)
    """

    zero = 0.0
    one = 1.0

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        """``exp``, whose gradient at ``-inf`` is 0."""
        return log_weight.exp()

    def lower(self, value: Tensor) -> Tensor:
        """The value itself: a probability if the log-weights are normalised."""
        return value

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def sum(self, x: Tensor, dim: int) -> Tensor:
        return x.sum(dim)

    def vecmat(self, vector: Tensor, matrix: Tensor) -> Tensor:
        return (vector.unsqueeze(-2) @ matrix).squeeze(-2)

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b

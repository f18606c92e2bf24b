"""Top-k semiring: the k best scores, best first (Goodman 1999, section 3.2, "k-best")."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.errors import SemiringError
from semihmm.semirings.base import Semiring


@dataclass(frozen=True)
class TopK(Semiring):
    """The scores of the k best paths: a value is a list ``(k, ...)``, best first, ``-inf`` where there are fewer.

    `lift` returns a list of one, ``(1, ...)``: `times` with it is one addition, where two lists of k take k * k
    sums. `sum` accepts lists of any length and returns k. It costs k rounds over the n arguments, since their
    lists are sorted already, against a sort of all n * k.

    Args:
        k: how many; at least 1.
    Example:
        >>> TopK(2).sum(TopK(2).lift(torch.tensor([1.0, 3.0, 2.0])), -1)
        tensor([3., 2.])
    """

    k: int

    selective = True
    scalable = True

    def __post_init__(self) -> None:
        if self.k < 1:
            raise SemiringError(f"TopK: k says how many paths to keep, so it is at least 1; got {self.k}.")

    @property
    def zero(self) -> tuple[float, ...]:
        return (-math.inf,) * self.k

    @property
    def one(self) -> tuple[float, ...]:
        return (0.0, *self.zero[1:])

    @property
    def idempotent(self) -> bool:
        """Only for k = 1: two copies of a path are two of the k best."""
        return self.k == 1

    @property
    def rows(self) -> int:
        return self.k

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        """A list of one, ``(1, ...)``: the log-weight."""
        return log_weight.unsqueeze(0)

    def lower(self, value: Tensor) -> Tensor:
        """The list of scores itself, ``(k, ...)``."""
        return value

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        """The best of all pairs; where one is a list of one, as many as the other has."""
        a, b = self.align(a, b)
        if a.shape[0] == 1 or b.shape[0] == 1:
            return a + b
        if len(a) < len(b):
            a, b = b, a
        few = math.isqrt(self.k)  # a pair past it in both lists has (few + 1)^2 - 1 >= k others that are as good
        ours, theirs = a.unsqueeze(1) + b[:few], a[:few] + b[few:].unsqueeze(1)
        theirs = torch.cat([theirs, theirs.new_full((len(ours) - len(theirs), *theirs.shape[1:]), -math.inf)])
        return _merge(torch.cat([ours, theirs], 1), self.k)[0]

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """The k best of all lists; of equals, the gradient goes to the lowest argument, then the lowest rank."""
        return _merge(x.movedim(dim, 1), self.k)[0] if x.shape[dim] else self.empty(x, dim)

    def choose(self, x: Tensor, dim: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """The k best ``(k, ...)``, and where each was: ``argument * k + rank`` in that argument's list."""
        best, argument, rank = _merge(x.movedim(dim, 1), self.k)
        return best, torch.where(best == -math.inf, 0, argument * self.k + rank)

    def magnitude(self, value: Tensor) -> Tensor:
        return value[0]

    def scale(self, value: Tensor, log_factor: Tensor) -> Tensor:
        return value + log_factor


def _merge(lists: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Merges n sorted lists ``(c, n, ...)`` into their k best: values, arguments and ranks, each ``(k, ...)``.

    Each round takes the best of the lists' heads and moves that list on. Of equal heads the first wins, so ties go
    to the lowest argument, then the lowest rank.
    """
    length, arguments = lists.shape[:2]
    padded = torch.cat([lists, torch.full_like(lists[:1], -math.inf)]).flatten(0, 1)
    scores = padded.detach()
    heads = scores[:arguments]
    ranks = torch.zeros_like(heads, dtype=torch.int64)
    picked: list[tuple[Tensor, Tensor]] = []
    for _ in range(k):
        argument = heads.max(0, keepdim=True).indices  # as argmax, of which PyTorch is slow along a first axis
        rank = ranks.gather(0, argument)
        picked.append((argument, rank))
        rank = (rank + 1).clamp(max=length)
        ranks = ranks.scatter(0, argument, rank)
        heads = heads.scatter(0, argument, scores.gather(0, rank * arguments + argument))
    argument, rank = (torch.cat(part) for part in zip(*picked, strict=True))
    best = padded.gather(0, rank * arguments + argument)
    return torch.where(best == -math.inf, -math.inf, best), argument, rank

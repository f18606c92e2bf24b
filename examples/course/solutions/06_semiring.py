"""Exercise 6: a semiring of your own.

Exercises 1 to 3 are one algorithm with other operations. What the algorithm needs is a *semiring*: an addition that
joins alternatives, a multiplication that puts one thing after another, a zero, a one, and the law that lets sums share
work:

    a * (b + c) = a * b + a * c

Whatever keeps these laws answers a question about all paths of any structure.

How many paths are the best one? A value is a pair: the best score, and the log of how many reach it.

    one                     = (0, 0)          the empty path, once
    zero                    = (-inf, -inf)    no path
    (x, m) times (y, n)     = (x + y, m + n)
    (x, m) plus (y, n)      = (x, m) if x > y,   (y, n) if y > x,   (x, logaddexp(m, n)) if x == y

The pair is the *first* axis of a tensor (2, ...). `lift` makes a value of a log-weight; one of -inf is `zero`. `sum`
adds up all along an axis ``dim``, which is counted from the right (-1: the last). Three things help:

- `self.align(a, b)` lets vectors and matrices of pairs broadcast.
- `Max().sum(x, dim)` and `Log().sum(x, dim)` are max and logsumexp of plain log-weights. Where all of them are -inf,
  their gradients are 0.
- `self.empty(x, dim)` is the sum where there is nothing along ``dim``.

Fill in `BestCount`, then run this file. `semihmm.testing.check_semiring` tries its laws.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.semirings import Log, Max, Semiring


@dataclass(frozen=True)
class BestCount(Semiring):
    """The best score, and the log of the number of paths that have it."""

    zero = (-math.inf, -math.inf)
    one = (0.0, 0.0)

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        """One path of this score: (2, ...)."""
        return torch.stack([log_weight, torch.where(log_weight == -math.inf, -math.inf, 0.0).to(log_weight)])

    def lower(self, value: Tensor) -> Tensor:
        """The answer that a total stands for: the pair itself."""
        return value

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        """One after the other."""
        a, b = self.align(a, b)
        return a + b

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """Either of all along ``dim``."""
        if not x.shape[dim]:
            return self.empty(x, dim)
        score, count = x
        best = Max().sum(score, dim)
        tied = torch.where(score == best.unsqueeze(dim), count, -math.inf)
        return torch.stack([best, Log().sum(tied, dim)])


if __name__ == "__main__":  # checks this file
    import runpy
    import sys
    from pathlib import Path

    sys.argv = ["check.py", __file__]
    runpy.run_path(str(Path(__file__).parents[1] / "check.py"), run_name="__main__")

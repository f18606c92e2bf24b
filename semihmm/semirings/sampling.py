"""Sampling semiring: Log, whose `choose` draws an argument with its posterior probability."""

from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.errors import SemiringError
from semihmm.semirings.base import Semiring
from semihmm.semirings.log import Log, shifted


@dataclass(frozen=True)
class Sample(Semiring):
    """Draws n independent paths from one forward pass (forward filtering, backward sampling; Frühwirth-Schnatter 1994).

    Values and totals are those of `Log`. `choose` draws, for each of n rows and each entry of the batch apart,
    one argument with probability ``softmax(x)``; following a row's pointers back gives an exact posterior sample.

    Args:
        n: how many; at least 1.
    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> Sample(3).choose(torch.tensor([-torch.inf, 0.0]), -1, g)  # argument 1, rows 0, 1, 2
        (tensor(0.), tensor([3, 4, 5]))
    """

    n: int

    zero = Log.zero
    one = Log.one
    temperature = Log.temperature
    selective = True
    scalable = True

    def __post_init__(self) -> None:
        if self.n < 1:
            raise SemiringError(f"Sample: n says how many paths to draw, so it is at least 1; got {self.n}.")

    @property
    def rows(self) -> int:
        return self.n

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        return log_weight

    def lower(self, value: Tensor) -> Tensor:
        return value

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def sum(self, x: Tensor, dim: int) -> Tensor:
        return Log().sum(x, dim)

    def choose(self, x: Tensor, dim: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """``log sum exp``, and n draws ``(n, ...)``: ``argument * n + row``, where draw ``row`` continues row ``row``.

        By inverting the cumulative distribution, in float64: O(S + n log S) for S arguments. An argument of
        probability 0 is never drawn, not even where rounding puts a uniform number at the edge of its interval.
        """
        _, share = shifted(x.detach().movedim(dim, -1), -1)
        cumulative = share.cumsum(-1, dtype=torch.float64)
        # A parallel cumsum may round up across an argument that adds nothing: its interval must be empty.
        cumulative = torch.where(share > 0, cumulative, 0.0).cummax(-1).values
        total = cumulative[..., -1:]
        uniform = torch.rand((*total.shape[:-1], self.n), generator=generator, dtype=total.dtype, device=x.device)
        point = (uniform * total).minimum(total.nextafter(torch.zeros_like(total)))  # below the top end
        argument = torch.searchsorted(cumulative, point, right=True).movedim(-1, 0)
        argument = torch.where(argument < x.shape[dim], argument, 0)  # nothing to draw from: all -inf
        row = torch.arange(self.n, device=x.device).view(-1, *(1,) * (x.dim() - 1))
        return Log().sum(x, dim), argument * self.n + row

    def magnitude(self, value: Tensor) -> Tensor:
        return value

    def scale(self, value: Tensor, log_factor: Tensor) -> Tensor:
        return value + log_factor

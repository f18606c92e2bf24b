"""Pairs of series under dynamic time warping, where that is compiled: no matrix of costs is made."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.engine.tensors import MODULE, THREADS_FROM

METRICS = {"squared": 0, "manhattan": 1, "euclidean": 2}
Arcs = tuple[tuple[float, int], tuple[float, int], tuple[float, int]]
LONG = 1024  # items from which sums in float32 would lose digits


@dataclass(frozen=True)
class Warper:
    """What is compiled for two sets of series; `made` says whether it is.

    Args:
        x, y: series ``(A, N, F)`` and ``(B, M, F)``, of ``x_length (A)`` and ``y_length (B)`` items.
        metric: a name in `METRICS`.
        arcs: how often the cost of a cell counts that is reached from its left, from above, from between; and which of
            them comes first, where they tie.
        open_begin: whether paths may begin at any item of ``y``.
        window: of each item of ``x`` the first item of ``y`` and the last but one, int64 ``(N, 2)``; or ``"itakura"``.

    Example:
        >>> two = torch.tensor([2])
        >>> arcs = ((1.0, 1), (1.0, 2), (1.0, 0))
        >>> warper = Warper.made(torch.zeros(1, 2, 1), two, torch.ones(1, 2, 1), two, "squared", arcs)
        >>> warper is None or warper.costs(torch.tensor([[0, 0]]))[0].tolist() == [2.0]
        True
    """

    x: Tensor
    x_length: Tensor
    y: Tensor
    y_length: Tensor
    metric: str
    arcs: Arcs
    open_begin: bool = False
    window: Tensor | str | None = None

    @staticmethod
    def made(
        x: Tensor,
        x_length: Tensor,
        y: Tensor,
        y_length: Tensor,
        metric: str,
        arcs: Arcs,
        open_begin: bool = False,
        window: Tensor | str | None = None,
    ) -> Warper | None:
        """In a dtype that sums are exact enough in; None where nothing is compiled for such series."""
        kinds = (torch.float32, torch.float64)
        if MODULE is None or not (x.is_cpu and y.is_cpu) or x.dtype not in kinds or min(arcs)[0] <= 0:
            return None
        long = not open_begin and max(x.shape[1], y.shape[1]) > LONG
        wide = torch.float64 if x.dtype == torch.float64 or long else torch.float32
        a, b = (each.detach().to(wide).contiguous() for each in (x, y))
        return Warper(a, x_length.contiguous(), b, y_length.contiguous(), metric, arcs, open_begin, window)

    def costs(self, pairs: Tensor, most: Tensor | None = None, ends: bool = False) -> tuple[Tensor, Tensor | None]:
        """What the best path of each pair ``(P, 2)`` costs ``(P)``, in float64; inf if there is none.

        Args:
            most: float64 ``(P)``: what costs more is inf, and is given up as soon as that is known.
            ends: also return what the best path to each item of ``y`` costs, ``(P, M)``.
        """
        out = torch.empty(len(pairs), dtype=torch.float64)
        last = torch.empty(len(pairs), self.y.shape[1], dtype=torch.float64) if ends else None
        cells = len(pairs) * self.x.shape[1] * self.y.shape[1]
        MODULE.warp(*self._given(cells), pairs.contiguous(), most, out, last)  # type: ignore[union-attr]
        return out, last

    def nearest(self, order: Tensor, least: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k series of ``y`` nearest to each of ``x``: their numbers, int64 ``(A, k)``, and costs, in float64.

        Args:
            order: all of ``y``, by what they cost at least, int64 ``(A, B)``.
            least: that, float64 ``(A, B)``, from the least on.
        """
        shape = len(self.x), k
        index, cost = torch.empty(shape, dtype=torch.int64), torch.empty(shape, dtype=torch.float64)
        cells = order.numel() * self.x.shape[1] * self.y.shape[1]
        MODULE.nearest(*self._given(cells), order.contiguous(), least.contiguous(), index, cost)  # type: ignore[union-attr]
        return index, cost

    def gathered(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What lies on the items of the only series of ``y`` by the best paths of all of ``x``, in float64.

        Args:
            weight: of each path, float64 ``(A)``.
        Returns:
            What the paths cost ``(A)``, inf where there is none; the sum of the items on each ``(M, F)``, times the
            weight and as often as the pair counts; and how much that is ``(M)``.
        """
        count, items, features = len(self.x), *self.y.shape[1:]
        cost, total, mass = (torch.empty(size, dtype=torch.float64) for size in ((count,), (items, features), (items,)))
        given = self._given(count * self.x.shape[1] * items)
        MODULE.gather_on(*given, weight.contiguous(), cost, total, mass)  # type: ignore[union-attr]
        return cost, total, mass

    def _given(self, cells: int) -> tuple[object, ...]:
        threads = torch.get_num_threads() if cells >= THREADS_FROM else 1
        series = self.x, self.x_length, self.y, self.y_length
        counts, ranks = (list(each) for each in zip(*self.arcs, strict=True))
        itakura, wide = isinstance(self.window, str), self.x.dtype == torch.float64
        window = None if itakura else self.window
        return *series, METRICS[self.metric], counts, ranks, self.open_begin, window, itakura, wide, threads

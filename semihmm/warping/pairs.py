"""All pairs of many series, and the nearest of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semihmm.engine.pairs import METRICS, Arcs, Warper
from semihmm.errors import ShapeError
from semihmm.inference import total
from semihmm.semirings import Max
from semihmm.structures import DTW, StepPattern
from semihmm.warping import bounds
from semihmm.warping.series import (
    Metric,
    Series,
    check_metric,
    collection,
    compatible,
    costs,
    count_of,
    directions,
    root,
)

CELLS = 1 << 18  # of cost matrices that are held at a time, where there are any: they stay in cache
FEW = 1 << 20  # pairs whose numbers are held at a time


class Neighbors(NamedTuple):
    """The nearest series to each of some: their numbers, int64 ``(A, k)``, and their distances, nearest first.

    Example:
        >>> indices, distances = nearest([[0.0, 1.0]], [[5.0, 5.0], [0.0, 2.0]], k=2)
        >>> indices.tolist()
        [[1, 0]]
    """

    indices: Tensor
    distance: Tensor


def cdist(
    x: Any,
    y: Any = None,
    *,
    metric: Metric = "squared",
    step_pattern: StepPattern | str = "symmetric1",
    window: int | str | Tensor | None = None,
) -> Tensor:
    """The distances of all pairs of many series, ``(A, B)``; on all threads, and with no cost matrix in memory.

    That is so on the CPU for metrics that have a name, step patterns of single steps (``symmetric1``, ``symmetric2``)
    and all windows but masks with gaps in a row or of each pair; else matrices of costs are made, some pairs at a time.

    Args:
        x, y: series of one feature ``(A, N)``, of several ``(A, N, F)``, or a list of series of any lengths. Without
            ``y``, all pairs of ``x``.
        metric, step_pattern, window: as of `dtw`.
    Returns:
        Distances as `dtw` has them, in the dtype of the series; inf where no path stays in the window. Without
        gradients: a loss is `dtw` or `soft_dtw` of the pairs that count.

    Example:
        >>> cdist([[0.0, 1.0, 2.0], [0.0, 0.0, 2.0], [3.0, 3.0, 3.0]]).round(decimals=1).tolist()
        [[0.0, 1.0, 3.7], [1.0, 0.0, 4.4], [3.7, 4.4, 0.0]]
    """
    check_metric("cdist", metric)
    a = collection("cdist", "x", x)
    a, b = (a, a) if y is None else compatible("cdist", a, collection("cdist", "y", y))
    pairs = Pairs("cdist", a, b, metric, step_pattern, window)
    if y is not None or not pairs.symmetric:
        rows = torch.arange(len(a.items)).split(max(FEW // len(b.items), 1))
        found = torch.cat([pairs.costs(torch.cartesian_prod(part, torch.arange(len(b.items)))) for part in rows])
        return pairs.distance(found.unflatten(0, (len(a.items), -1)))
    each = a.items.new_zeros(len(a.items), len(a.items))
    for some in torch.triu_indices(*each.shape).T.split(FEW):
        i, j = some.unbind(-1)
        each[i, j] = each[j, i] = pairs.costs(some).to(each)
    return pairs.distance(each)


def nearest(
    x: Any,
    y: Any,
    k: int = 1,
    *,
    metric: Metric = "squared",
    step_pattern: StepPattern | str = "symmetric1",
    window: int | str | Tensor | None = None,
) -> Neighbors:
    """The k series of ``y`` that are nearest to each of ``x``; the same as by `cdist`, with most pairs never warped.

    Candidates come by what they cost at least (LB_Kim and LB_Keogh); once that is more than the k-th best found, the
    search is over, and a pair is given up as soon as all of its paths cost more.

    Args:
        x, y, metric, step_pattern, window: as of `cdist`.
    Returns:
        `Neighbors`; of equally near ones, the lowest number first; number -1 and distance inf where fewer than k can be
        reached inside the window.

    Example:
        >>> nearest([[0.0, 1.0, 2.0]], [[5.0, 5.0, 5.0], [0.0, 0.0, 2.0]]).indices.tolist()
        [[1]]
    """
    check_metric("nearest", metric)
    a, b = compatible("nearest", collection("nearest", "x", x), collection("nearest", "y", y))
    k = count_of("nearest", "k", k)
    if k > len(b.items):
        raise ShapeError(f"nearest: k must be from 1 to the {len(b.items)} series of y, got {k}.")
    pairs = Pairs("nearest", a, b, metric, step_pattern, window)
    if pairs.warper is None:
        found = cdist(a, b, metric=metric, step_pattern=step_pattern, window=window).sort(dim=-1, stable=True)
        index = torch.where(found.values.isinf(), -1, found.indices)
        return Neighbors(index[:, :k], found.values[:, :k])
    size = max(bounds.SMALL // len(b.items), 8)  # queries at a time
    parts = [_nearest(pairs, first, first + size, k) for first in range(0, len(a.items), size)]
    index, cost = (torch.cat(part) for part in zip(*parts, strict=True))
    return Neighbors(index, pairs.distance(cost))


def _nearest(pairs: Pairs, first: int, stop: int, k: int) -> tuple[Tensor, Tensor]:
    """The nearest to some of the queries, and what they cost."""
    window = pairs.form.window if isinstance(pairs.form.window, int) else None
    some, warper = pairs.part(first, stop)
    kim = bounds.kim(some, pairs.y, pairs.named)
    least = torch.maximum(kim, bounds.keogh(some, pairs.y, window, pairs.named))
    slack = 1 - 64 * torch.finfo(least.dtype).eps  # what both round differently is no reason to stop
    ordered = (least.double() * min(1.0, min(warper.arcs)[0]) * slack).sort(dim=-1, stable=True)
    return warper.nearest(ordered.indices, ordered.values, k)


class Pairs:
    """Pairs of two sets of series, to be warped one way."""

    def __init__(
        self,
        owner: str,
        x: Series,
        y: Series,
        metric: Metric,
        step_pattern: StepPattern | str,
        window: int | str | Tensor | None,
    ) -> None:
        self.owner, self.metric = owner, metric
        shape = x.items.shape[-2], y.items.shape[-2]
        self.form = DTW(x.items.new_zeros(()).expand(shape), step_pattern, window)  # which checks them
        self.scale = 1.0
        if metric == "cosine":
            x, y = (Series(directions(owner, "xy"[k], each), each.lengths) for k, each in enumerate((x, y)))
            self.metric, self.scale = "squared", 0.5
        self.x, self.y, self.root = x, y, metric == "squared"
        self.warper = self._warper()

    @property
    def symmetric(self) -> bool:
        """Whether a pair costs as much the other way round."""
        moves = set(self.form.pattern.moves)
        turned = {tuple((right, down, count) for down, right, count in move) for move in moves}
        return moves == turned and not isinstance(self.form.window, Tensor) and not callable(self.metric)

    @property
    def named(self) -> str:
        """The metric, which has a name."""
        assert isinstance(self.metric, str)
        return self.metric

    def part(self, first: int, stop: int) -> tuple[Series, Warper]:
        """Some of x, and what is compiled for them."""
        assert self.warper is not None
        some = Series(self.x.items[first:stop], self.x.sizes[first:stop])
        return some, replace(self.warper, x=self.warper.x[first:stop], x_length=some.sizes)

    def distance(self, cost: Tensor) -> Tensor:
        """Of what the compiled code or `costs` found."""
        cost = cost.to(self.x.items)
        return root(cost) if self.root else cost * self.scale

    def costs(self, pairs: Tensor) -> Tensor:
        """What the best path of each pair ``(P, 2)`` costs."""
        if self.warper is not None:
            return self.warper.costs(pairs)[0]
        height, width = self.form.cost.shape
        return torch.cat([self._made(some) for some in pairs.split(max(CELLS // (height * width), 1))])

    def _made(self, pairs: Tensor) -> Tensor:
        """By matrices of costs."""
        i, j = pairs.to(self.x.items.device).unbind(-1)
        x, y = self.x.some(i), self.y.some(j)
        cost = costs(self.owner, x, y, self.metric)
        form = replace(self.form, cost=cost.detach(), query_lengths=x.lengths, reference_lengths=y.lengths)
        return -total(form, Max())

    def _warper(self) -> Warper | None:
        """Where that is compiled for these."""
        x, y, form = self.x, self.y, self.form
        arcs, window = arcs_of(form), form.window
        if arcs is None or self.metric not in METRICS:
            return None
        if window is not None and window != "itakura":
            mask = form.window_mask()
            if mask is None or mask.ndim != 2:
                return None
            edges = torch.nn.functional.pad(mask.int(), (1, 1)).diff(dim=-1)  # 1 where a row begins, -1 where it stops
            if bool(((edges > 0).sum(-1) > 1).any()):
                return None  # a row with a gap
            window = torch.stack([(edges > 0).int().argmax(-1), (edges < 0).int().argmax(-1)], -1)
        return Warper.made(x.items, x.sizes, y.items, y.sizes, self.named, arcs, window=window)


def arcs_of(form: DTW) -> Arcs | None:
    """The arcs into a cell as `Warper` has them; None for other step patterns than those of single steps."""
    arcs = {
        span: (move[0][2], k) for k, (span, move) in enumerate(zip(form.pattern.spans, form.pattern.moves, strict=True))
    }
    if any(len(move) > 1 for move in form.pattern.moves) or set(arcs) != {(0, 1), (1, 0), (1, 1)}:
        return None
    return arcs[0, 1], arcs[1, 0], arcs[1, 1]

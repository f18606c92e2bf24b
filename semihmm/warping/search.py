"""Where in a long series a short one is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from semihmm.engine.pairs import METRICS, Warper
from semihmm.errors import ShapeError
from semihmm.inference import viterbi
from semihmm.structures import DTW, StepPattern
from semihmm.warping.alignment import ends
from semihmm.warping.pairs import arcs_of
from semihmm.warping.series import (
    Metric,
    Series,
    check_metric,
    compatible,
    costs,
    count_of,
    directions,
    one_or_more,
    root,
)

CELLS = 1 << 18  # of cost matrices that are held at a time, where there are any: they stay in cache
CLOSE = 1e-9  # costs that differ by so much of themselves are the same, rounded differently


class Matches(NamedTuple):
    """Stretches ``series[start:stop]``, the nearest first, and how far they are from the query; each ``(k,)``.

    Example:
        >>> start, stop, distance = search([1.0, 2.0], [0.0, 1.0, 2.0, 0.0])
        >>> start.tolist(), stop.tolist(), distance.tolist()
        ([1], [3], [0.0])
    """

    start: Tensor
    stop: Tensor
    distance: Tensor


def search(
    query: Any,
    series: Any,
    k: int = 1,
    *,
    metric: Metric = "squared",
    step_pattern: StepPattern | str = "symmetric1",
) -> Matches:
    """The k stretches of a long series that are nearest to a query, of whatever length, and do not overlap.

    The first one is the nearest of all; each further one is the nearest of those that have no item in common with the
    ones before it.

    Args:
        query: ``(N,)`` or ``(N, F)``.
        series: ``(M,)`` or ``(M, F)``.
        metric, step_pattern: as of `dtw`. Costs of ``(N, M)`` pairs are found in the kernel where `cdist` has no matrix
            of them; else they are made for some items at a time, and a function is called on those.
    Returns:
        At most k `Matches`: fewer where nothing is left that has the slopes of the step pattern. ``dtw`` of the query
        and a match has its path. Distances are in float64.
    Raises:
        ShapeError, DataError: series of other features, without items, not finite.

    Example:
        >>> found = search([1.0, 2.0], [0.0, 1.0, 2.0, 0.0, 1.0, 1.0, 2.5], k=2)
        >>> found.start.tolist(), found.stop.tolist(), found.distance.tolist()
        ([1, 5], [3, 7], [0.0, 0.5])
    """
    k = count_of("search", "k", k)
    check_metric("search", metric)
    x, y = compatible("search", one_or_more("search", "query", query), one_or_more("search", "series", series))
    if x.items.ndim != 2 or y.items.ndim != 2:
        raise ShapeError(
            f"search: query and series must be one series each, (N,) or (N, F), got {tuple(x.items.shape)} and "
            f"{tuple(y.items.shape)}. Several? Search for one after the other."
        )
    items = [each.items.detach().double().cpu() for each in (x, y)]
    found = _Search(items[0], items[1], metric, step_pattern).best(k)
    start, stop = torch.tensor([[m.start, m.stop] for m in found], dtype=torch.int64).reshape(-1, 2).unbind(-1)
    cost = torch.tensor([m.cost for m in found], dtype=torch.float64)
    distance = root(cost) if metric == "squared" else cost / 2 if metric == "cosine" else cost
    return Matches(start, stop, distance)


@dataclass(frozen=True)
class _Match:
    start: int
    stop: int
    cost: float


def _same(a: float, b: float) -> bool:
    """Whether costs are of one path, rounded differently."""
    return abs(a - b) <= CLOSE * b  # not where both are infinite


class _Search:
    def __init__(self, query: Tensor, series: Tensor, metric: Metric, step_pattern: StepPattern | str) -> None:
        self.metric = metric
        if metric == "cosine":
            query, series = (
                directions("search", name, Series(x, None)) for name, x in (("query", query), ("series", series))
            )
            self.metric = "squared"
        self.query, self.series, self.step_pattern = query, series, step_pattern
        form = DTW(query.new_zeros(1, 1), step_pattern)
        self.arcs = arcs_of(form)
        # Paths of steps to cells beside meet where they cross: if the best one to some item begins behind another item,
        # so do those to later items. With other moves, only slopes say how far a match may reach.
        spans, moves = form.pattern.spans, form.pattern.moves
        self.crossing = all(max(span) == len(move) == 1 for span, move in zip(spans, moves, strict=True))
        slope = max(right / down if down else np.inf for down, right in spans)
        self.reach = slope * (len(query) - 1) + 1 if len(query) > 1 else 1 if slope < np.inf else np.inf

    def best(self, k: int) -> list[_Match]:
        """The best match, then the best of what it leaves, and so on."""
        items = len(self.series)
        cost = self.ends(0, items).numpy()  # of the best match that ends at each item and overlaps none that was found
        found: list[_Match] = []
        while len(found) < k:
            end = int(cost.argmin())
            if np.isinf(cost[end]):
                break
            left = max((m.stop for m in found if m.stop <= end), default=0)
            right = min((m.start for m in found if m.start > end), default=items)
            match = self.match(left, end, float(cost[end]))
            found.append(match)
            cost[match.start : match.stop] = np.inf
            self._renew(cost, match.stop, right)
        return found

    def _renew(self, cost: npt.NDArray[np.float64], left: int, right: int) -> None:
        """The costs of ends between two matches, the left one new: of those that may have reached into it."""
        span = 4 * len(self.query) if self.crossing else self.reach
        while left < right:
            stop = int(min(left + span, right))
            new = self.ends(left, stop).numpy()
            if stop == right or not self.crossing or _same(float(new[-1]), float(cost[stop - 1])):
                cost[left:stop] = new
                return
            span *= 2

    def ends(self, start: int, stop: int) -> Tensor:
        """The cost of the best match of ``series[start:stop]`` that ends at each of its items."""
        x, y = self.query[None], self.series[None, start:stop]
        warper = None
        if self.arcs is not None and self.metric in METRICS:
            sizes = (torch.tensor([each.shape[1]]) for each in (x, y))
            warper = Warper.made(x, next(sizes), y, next(sizes), str(self.metric), self.arcs, open_begin=True)
        if warper is None:
            return self._made(start, stop)
        found = warper.costs(torch.zeros(1, 2, dtype=torch.int64), ends=True)[1]
        assert found is not None
        return found[0]

    def _made(self, start: int, stop: int) -> Tensor:
        """The same by matrices of costs, of some items at a time and of those before that a match may reach back to."""
        size = max(CELLS // len(self.query), 4 * len(self.query))
        back = 2 * len(self.query) if self.crossing else self.reach
        found = torch.empty(0, dtype=torch.float64)
        while (at := start + len(found)) < stop:
            left = int(max(start, at - back))
            new = ends(self._structure(left, min(at + size, stop)))
            if left > start and self.crossing and not _same(float(new[at - left - 1]), float(found[-1])):
                back *= 2
            else:
                found = torch.cat([found, new[at - left :]])
        return found

    def match(self, left: int, end: int, cost: float) -> _Match:
        """The best match that ends at an item, and what it costs; it begins where twice as far goes no further."""
        span = 2 * len(self.query)
        while True:
            start = max(left, end + 1 - span)
            best = viterbi(self._structure(start, end + 1))
            value = 0.0 - float(best.score)
            if start == left or value <= cost * (1 + CLOSE):
                return _Match(start + int(best.event[0, 1]), end + 1, value)
            span *= 2

    def _structure(self, start: int, stop: int) -> DTW:
        cost = costs("search", Series(self.query, None), Series(self.series[start:stop], None), self.metric)
        return DTW(cost, self.step_pattern, open_begin=True)

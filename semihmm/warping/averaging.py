"""The mean of series that differ in tempo: the series that is least far from all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from semihmm.engine.pairs import Warper
from semihmm.engine.tensors import finite
from semihmm.errors import DataError, ShapeError
from semihmm.inference import expected_counts, total, viterbi
from semihmm.inference.options import check_options
from semihmm.semirings import SmoothMax
from semihmm.structures import DTW, StepPattern, squared_distances
from semihmm.warping.alignment import check_reached
from semihmm.warping.pairs import Pairs
from semihmm.warping.series import Series, collection, compatible, count_of, dense, number_of, one_or_more
from semihmm.warping.soft import check_gamma

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from semihmm.inference.options import Options

CELLS = 1 << 18  # of cost matrices that are held at a time: they stay in cache
FEW_CELLS = (1 << 15) - 1  # fewer than PyTorch starts threads for, which take longer to meet than to compute
MEMORY = 8  # steps that acceleration looks back on


class Barycenter(NamedTuple):
    """The mean of some series under warping.

    Args:
        series: ``(M,)`` where the series are ``(N,)``, else ``(M, F)``.
        cost: the weighted mean of what it costs to warp the series onto it.
        converged: whether it moved by no more than the tolerance at the end.

    Example:
        >>> barycenter([[0.0, 4.0], [2.0, 8.0]]).cost.item()
        5.0
    """

    series: Tensor
    cost: Tensor
    converged: bool


def barycenter(
    x: Any,
    size: int | None = None,
    *,
    init: Any = None,
    weights: Any = None,
    step_pattern: StepPattern | str = "symmetric1",
    window: int | str | Tensor | None = None,
    max_iter: int = 30,
    tol: float = 1e-4,
    **options: Unpack[Options],
) -> Barycenter:
    """The series whose squared DTW distances from some series have the least mean (DBA; Petitjean et al. 2011).

    Each step aligns all series with it, and replaces each of its items by the mean of those that lie on it. No step
    makes it worse; where it ends depends on where it starts.

    Args:
        x: series of one feature ``(B, N)``, of several ``(B, N, F)``, or a list of series of any lengths.
        size: items of the barycenter; None for as many as the series have on average.
        init: where to start ``(M,)`` or ``(M, F)``, in place of the mean of the series, each stretched to ``size``.
        weights: of each series ``(B)``, not below 0; None for equal ones. They need not sum to 1.
        step_pattern, window: as of `dtw`, the series as query; the metric is ``"squared"``.
        max_iter: steps at most.
        tol: it has converged when no item moves by more than this, in standard deviations of all items.
        options: as of every question.
    Returns:
        Its `Barycenter`. Differentiable in ``x`` and ``weights``, exactly if converged: items are means of items.
    Raises:
        ShapeError, DataError: series of other features, without items, not finite; weights that are not one a series.
        StructureError: no path stays inside the window.

    Example:
        >>> barycenter([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 4.0, 5.0]]).series.tolist()
        [1.0, 2.0, 3.5, 4.5]
    """
    way = _Way("barycenter", 0.0, step_pattern, window, options)
    return _averaged(way, x, size, init, weights, max_iter, tol)


def soft_barycenter(
    x: Any,
    size: int | None = None,
    gamma: float = 1.0,
    *,
    init: Any = None,
    weights: Any = None,
    step_pattern: StepPattern | str = "symmetric1",
    window: int | str | Tensor | None = None,
    max_iter: int = 100,
    tol: float = 1e-4,
    **options: Unpack[Options],
) -> Barycenter:
    """The series whose soft-DTW from some series has the least mean (Cuturi & Blondel 2017): smooth, and less stuck.

    A step is as in `barycenter`, but each item is the mean of all items, as likely as they lie on it. No step makes it
    worse, since soft-DTW is concave in the costs; they are accelerated by what the last ones did (Anderson 1965).

    Args:
        gamma: temperature, in the units of the cost, as of `soft_dtw`.
        x, size, init, weights, step_pattern, window, max_iter, tol, options: as of `barycenter`.
    Returns:
        Its `Barycenter`. Differentiable in ``x`` and ``weights``, once, and exactly if converged: by what the minimum
        does when they change (the implicit function theorem), with second derivatives of soft-DTW.
    Raises:
        StructureError: ``gamma`` is not above 0; no path stays inside the window.

    Example:
        >>> soft_barycenter([[0.0, 4.0], [2.0, 8.0]], gamma=0.1).series.round(decimals=2).tolist()
        [1.0, 6.0]
    """
    check_gamma("soft_barycenter", gamma, "barycenter")
    way = _Way("soft_barycenter", float(gamma), step_pattern, window, options)
    return _averaged(way, x, size, init, weights, max_iter, tol)


class _Way(NamedTuple):
    """How series are aligned; ``gamma`` is 0 where the best path counts alone."""

    owner: str
    gamma: float
    step_pattern: StepPattern | str
    window: int | str | Tensor | None
    options: Options
    warper: Warper | None = None  # for all series, where that is compiled

    def structure(self, x: Series, mean: Tensor) -> DTW:
        cost = squared_distances(x.items, mean.expand(len(x.items), -1, -1))
        sizes = None if x.lengths is None else torch.full_like(x.lengths, len(mean))
        return DTW(cost, self.step_pattern, self.window, query_lengths=x.lengths, reference_lengths=sizes)

    def cost(self, x: Series, mean: Tensor) -> Tensor:
        """What each series costs, ``(B)``. Differentiable, unless compiled."""
        if self.warper is not None:
            pairs = torch.stack([torch.arange(len(x.items)), torch.zeros(len(x.items), dtype=torch.int64)], -1)
            return replace(self.warper, y=mean[None].to(self.warper.y)).costs(pairs)[0].to(mean)
        structure = self.structure(x, mean)
        if self.gamma:
            return -total(structure, SmoothMax(self.gamma), **self.options)
        return -viterbi(structure, **self.options).score

    def sums(self, x: Series, weight: Tensor, mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the series cost; the sum of the items that lie on each item of the mean ``(M, F)``; their mass ``(M)``.

        A pair counts as often as the cost grows with that of the pair. Differentiable in items and weights, unless
        compiled; the alignments are taken as they are.
        """
        if self.warper is not None:
            share = weight.double()
            cost, total, mass = replace(self.warper, y=mean[None].to(self.warper.y)).gathered(share)
            if not finite(cost):
                check_reached(self.owner, cost.isfinite(), self.structure(x, mean))
            return cost @ share, total.to(mean), mass.to(mean)
        with torch.no_grad():
            options: Options = {"validate": False, **self.options}  # the series were
            if self.gamma:
                scale = self.gamma**-0.5  # of items, which are fewer than costs
                structure = self.structure(Series(x.items * scale, x.lengths), mean * scale)
                log_partition, counts = expected_counts(structure, **options)
                cost = -self.gamma * log_partition
            else:
                structure = self.structure(x, mean)
                best = viterbi(structure, **options)
                cost = -best.score
            check_reached(self.owner, cost.isfinite(), structure)
        if self.gamma:
            share = weight[:, None, None].expand(*x.items.shape[:2], 1)
            columns = torch.cat([x.items * share, share], -1).flatten(0, 1)
            found = mean.new_zeros(len(mean), columns.shape[-1])
            few = max(FEW_CELLS // len(mean), 1)
            for some, on in zip(columns.split(few), counts["cost"].flatten(0, 1).split(few), strict=True):
                found += torch.stack([on.T.mv(column) for column in some.unbind(-1)], -1)
            total, mass = found[:, :-1], found[:, -1]
        else:
            at, on, count = counted(structure.pattern, best.event)
            count = (count * weight.unsqueeze(-1)).flatten()
            items = x.items.gather(1, at.unsqueeze(-1).expand(-1, -1, x.items.shape[-1])).flatten(0, 1)
            total = torch.zeros_like(mean).index_add(0, on.flatten(), items * count.unsqueeze(-1))
            mass = mean.new_zeros(len(mean)).index_add(0, on.flatten(), count)
        return (cost * weight.detach()).sum(), total, mass


def counted(pattern: StepPattern, path: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs that paths ``(B, L, 2)`` pay for, those inside moves too: query items, reference items, how often.

    Each is ``(B, L + inner cells)``; what is no pair counts 0 times.

    Example:
        >>> pattern = semihmm.StepPattern((((1, 1, 2.0),), ((0, 1, 1.0),), ((1, 0, 1.0),)))
        >>> query, reference, count = counted(pattern, torch.tensor([[[0, 0], [1, 1], [1, 2], [-1, -1]]]))
        >>> query.tolist(), reference.tolist(), count.tolist()
        ([[0, 1, 1, 0]], [[0, 1, 2, 0]], [[1.0, 2.0, 1.0, 0.0]])
    """
    row, column = path.unbind(-1)
    on_path = row >= 0
    if all(len(move) == 1 and move[0][2] == 1 for move in pattern.moves):
        return row * on_path, column * on_path, on_path
    down, right, used = row.diff(dim=-1), column.diff(dim=-1), on_path[:, 1:]
    arriving = torch.zeros(down.shape, device=path.device)
    pairs = []
    for move, (far, wide) in zip(pattern.moves, pattern.spans, strict=True):
        here = used & (down == far) & (right == wide)
        arriving = arriving + here * move[-1][2]
        i, j = row[:, :-1], column[:, :-1]
        for below, beside, times in move[:-1]:
            i, j = i + below, j + beside
            pairs.append((i * here, j * here, here * times))
    first = torch.ones_like(arriving[:, :1])
    pairs.append((row * on_path, column * on_path, torch.cat([first, arriving], -1)))
    query, reference, count = (torch.cat(parts, -1) for parts in zip(*pairs, strict=True))
    return query, reference, count


def _averaged(way: _Way, x: Any, size: int | None, init: Any, weights: Any, max_iter: int, tol: float) -> Barycenter:
    owner = way.owner
    check_options(way.options)
    series = collection(owner, "x", x)
    flat = not isinstance(x, Series) and np.ndim(x[0]) == 1
    weight = _weights(owner, weights, series)
    fixed, share = Series(series.items.detach(), series.lengths), weight.detach()
    mean = _start(owner, fixed, share, size, init)
    max_iter = count_of(owner, "max_iter", max_iter)
    near = number_of(owner, "tol", tol) * float(_spread(fixed))
    if not way.gamma and not way.options.keys() - {"validate"}:
        pairs = Pairs(owner, fixed, Series(mean[None], None), "squared", way.step_pattern, way.window)
        way = way._replace(warper=pairs.warper)
    step = lambda at: _mean(way, fixed, share, at)  # noqa: E731
    mean, converged = (_accelerated if way.gamma else _repeated)(step, mean, max_iter, near)
    if torch.is_grad_enabled() and (series.items.requires_grad or weight.requires_grad):
        way = way._replace(warper=None)
        mean = _implicit(way, series, weight, mean) if way.gamma else _mean(way, series, weight, mean)[1]
    # At a minimum the cost does not change with the mean.
    cost = sum((w * way.cost(part, mean.detach())).sum() for part, w in _parts(way, series, weight, len(mean)))
    assert isinstance(cost, Tensor)
    return Barycenter(mean.squeeze(-1) if flat else mean, cost, converged)


Step = Callable[[Tensor], tuple[float, Tensor, Tensor]]


def _mean(way: _Way, x: Series, weight: Tensor, at: Tensor) -> tuple[float, Tensor, Tensor]:
    """What a barycenter costs; the means of the items that lie on its items ``(M, F)``; and their masses ``(M, 1)``."""
    each = [way.sums(part, w, at) for part, w in _parts(way, x, weight, len(at))]
    cost, total, mass = (torch.stack(parts).sum(0) for parts in zip(*each, strict=True))
    mass = mass.unsqueeze(-1)
    return float(cost), torch.where(mass > 0, total / torch.where(mass > 0, mass, 1.0), at), mass.detach()


def _repeated(step: Step, mean: Tensor, max_iter: int, near: float) -> tuple[Tensor, bool]:
    """One step after the other."""
    for _ in range(max_iter):
        last = mean
        _, mean, _ = step(mean)
        if float((mean - last).abs().max()) <= near:
            return mean, True
    return mean, False


def _accelerated(step: Step, mean: Tensor, max_iter: int, near: float) -> tuple[Tensor, bool]:
    """Steps to where the combination of the last ones would leave nothing to move (Anderson 1965; Walker & Ni 2011).

    Moves are measured in the metric of the masses, in which the cost is nearly round. Where one goes too far, so that
    the cost rises, the plain step is taken instead.
    """
    least, plain = torch.inf, mean
    places: list[Tensor] = []
    moves: list[Tensor] = []
    for _ in range(max_iter):
        cost, after, mass = step(mean)
        if cost > least:
            places, moves, mean = [], [], plain
            cost, after, mass = step(mean)
        least, plain = cost, after
        if float((after - mean).abs().max()) <= near:
            return after, True
        places, moves = [*places[-MEMORY:], mean], [*moves[-MEMORY:], after - mean]
        mean = after
        if len(moves) > 1:
            turns, ways = (torch.stack([(b - a).flatten() for a, b in pairwise(x)], -1) for x in (moves, places))
            share = _least_squares(turns, moves[-1].flatten(), mass.expand_as(mean).flatten())
            mean = after - (ways + turns).mv(share).view_as(mean)
    return plain, False


def _least_squares(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """The combination of a few columns nearest to ``y``, by NumPy: PyTorch's threads would take longer to meet."""
    columns, right, measure = x.cpu().numpy(), y.cpu().numpy(), np.sqrt(weight.cpu().numpy())
    return torch.from_numpy(np.linalg.lstsq(measure[:, None] * columns, measure * right, rcond=None)[0]).to(x)


def _implicit(way: _Way, x: Series, weight: Tensor, mean: Tensor) -> Tensor:
    """A minimum with the gradient of where it lies: the slope there stays 0, so it moves by -H^-1 times the slope."""
    at = mean.detach().requires_grad_()
    cost = sum((w * way.cost(part, at)).sum() for part, w in _parts(way, x, weight, len(at)))
    assert isinstance(cost, Tensor)
    (slope,) = torch.autograd.grad(cost, at, create_graph=True)
    curve = lambda v: torch.autograd.grad(slope, at, v, retain_graph=True)[0]  # noqa: E731
    moved = slope - slope.detach()
    moved.register_hook(lambda gradient: _solved(curve, gradient))
    return mean - moved


def _solved(curve: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
    """What a symmetric map brings to a value, by conjugate gradients (Hestenes & Stiefel 1952)."""
    found, left = torch.zeros_like(right), right.clone()
    way, size = left, (left * left).sum()
    end = torch.finfo(right.dtype).eps ** 2 * size
    for _ in range(2 * right.numel()):
        turned = curve(way)
        bend = (way * turned).sum()
        if size <= end or bend <= 0:  # flat, where no series lies
            break
        step = size / bend
        found, left = found + step * way, left - step * turned
        size, before = (left * left).sum(), size
        way = left + size / before * way
    return found


def _parts(way: _Way, x: Series, weight: Tensor, size: int) -> Iterator[tuple[Series, Tensor]]:
    """Some series at a time, and their weights."""
    if way.warper is not None:
        yield x, weight
        return
    count = max(CELLS // (x.items.shape[1] * size), 1)
    for start in range(0, len(x.items), count):
        some = slice(start, start + count)
        yield x.some(some), weight[some]


def _weights(owner: str, weights: Any, x: Series) -> Tensor:
    """Those of the series, summing to 1."""
    count = len(x.items)
    if weights is None:
        return x.items.new_full((count,), 1 / count)
    weight = dense(owner, "weights", weights).to(x.items)
    if weight.shape != (count,):
        raise ShapeError(f"{owner}: weights must be one for each series, ({count},), got {tuple(weight.shape)}.")
    if not bool((weight.isfinite() & (weight >= 0)).all() & (weight > 0).any()):
        raise DataError(f"{owner}: weights must be finite, not below 0, and not all 0, got {weight.tolist()}.")
    return weight / weight.sum()


def _start(owner: str, x: Series, weight: Tensor, size: int | None, init: Any) -> Tensor:
    """The series to start from, ``(M, F)``."""
    if init is None:
        size = round(float(x.sizes.double().mean())) if size is None else count_of(owner, "size", size)
        return torch.einsum("b,bmf->mf", weight, stretched(x, size))
    if size is not None:
        raise ShapeError(f"{owner}: init says how many items there are, so give no size, got {size}.")
    given = one_or_more(owner, "init", init)
    if given.items.ndim != 2:
        raise ShapeError(f"{owner}: init must be one series, (M,) or (M, F), got {tuple(given.items.shape)}.")
    return compatible(owner, x, given)[1].items.detach().to(x.items)


def stretched(x: Series, size: int) -> Tensor:
    """Each series at ``size`` places that lie evenly from its first item to its last, on lines: ``(B, size, F)``.

    Example:
        >>> stretched(Series(torch.tensor([[[0.0], [2.0]]]), None), 3).flatten().tolist()
        [0.0, 1.0, 2.0]
    """
    place = torch.linspace(0, 1, size, device=x.items.device, dtype=x.items.dtype) * (x.sizes - 1).unsqueeze(-1)
    low = place.floor().long()
    high = torch.minimum(low + 1, (x.sizes - 1).unsqueeze(-1))
    below, above = (x.items.gather(1, at.unsqueeze(-1).expand(-1, -1, x.items.shape[-1])) for at in (low, high))
    return torch.lerp(below, above, (place - low).unsqueeze(-1))


def _spread(x: Series) -> Tensor:
    """The standard deviation of the items, over features."""
    used = torch.arange(x.items.shape[1], device=x.items.device) < x.sizes.unsqueeze(-1)
    items = x.items[used]
    return (items - items.mean(0)).square().mean().sqrt()

"""Two series aligned: how far apart they are, and which item lies on which."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from semihmm import engine
from semihmm.errors import ShapeError, StructureError
from semihmm.inference import viterbi
from semihmm.inference.total import prepare
from semihmm.semirings import Max
from semihmm.structures import DTW, StepPattern
from semihmm.warping.series import Metric, compatible, costs, dense, one_or_more, root

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from semihmm.inference.options import Options


@dataclass(frozen=True)
class Warping:
    """The best way to warp a query onto a reference.

    Attributes:
        cost: what its pairs cost, times their multipliers, added up: ``(...)``. Differentiable.
        path: the pairs ``(query item, reference item)`` in order, int64 ``(..., L, 2)``; in batches, -1 after the end.
        metric: what `cost` adds up.
        structure: the `DTW` that it is the best path of; ask it for more: ``semihmm.topk(warping.structure, 5)``.

    Example:
        >>> dtw([0.0, 1.0, 2.0], [0.0, 2.0, 2.0]).path.tolist()
        [[0, 0], [1, 1], [2, 2]]
    """

    cost: Tensor
    path: Tensor
    metric: Metric | None
    structure: DTW

    @property
    def distance(self) -> Tensor:
        """The cost; of squared differences its root, as in dtaidistance and tslearn."""
        return root(self.cost) if self.metric == "squared" else self.cost

    @property
    def normalized_distance(self) -> Tensor:
        """The distance, of the cost divided by what the step pattern counts: N, M or N + M items.

        dtw-python's, whose metric is ``"euclidean"``, if that is the metric here; of squared differences, the root of
        theirs. Where the step pattern counts no fixed number (``symmetric1``), by how many pairs there are.
        """
        used = self.path[..., 0] >= 0
        last = torch.where(used.unsqueeze(-1), self.path, -1).amax(-2)
        n, m = (last + 1 - self.path[..., 0, :]).unbind(-1)  # of the reference, what the path spans
        counted = {"N": n, "M": m, "N+M": n + m, None: used.sum(-1)}[self.structure.pattern.normalization]
        return replace(self, cost=self.cost / counted).distance

    @property
    def to_reference(self) -> Tensor:
        """The warping function: the reference item that each query item lies on, ``(..., N)``, a mean if on several.

        Between pairs that are further apart, on a line; NaN behind a query's end.
        """
        return self._function(0)

    @property
    def to_query(self) -> Tensor:
        """Its inverse: the query item on each reference item, ``(..., M)``; NaN beside open ends."""
        return self._function(1)

    def _function(self, of: int) -> Tensor:
        size = self.structure.cost.shape[of - 2]
        at, on = self.path[..., of], self.path[..., 1 - of]
        place = torch.where(at < 0, size, at)  # what is no pair goes one place too far
        empty = self.cost.detach().new_zeros((*at.shape[:-1], size + 1))
        count = empty.scatter_add(-1, place, torch.ones_like(place).to(empty))[..., :size]
        mean = empty.scatter_add(-1, place, on.to(empty))[..., :size] / count
        return _interpolated(mean, count > 0)


def _interpolated(values: Tensor, known: Tensor) -> Tensor:
    """On straight lines between the known ones ``(..., N)``; NaN before the first and after the last."""
    size = values.shape[-1]
    i = torch.arange(size, device=values.device)
    before = torch.where(known, i, -1).cummax(-1).values
    after = torch.where(known, i, size).flip(-1).cummin(-1).values.flip(-1)
    inside = (before >= 0) & (after < size)
    low, high = values.gather(-1, before.clamp(min=0)), values.gather(-1, after.clamp(max=size - 1))
    share = (i - before) / (after - before).clamp(min=1)
    return torch.where(inside, low + (high - low) * share.to(values), torch.nan)


def dtw(
    x: Any,
    y: Any = None,
    *,
    metric: Metric = "squared",
    step_pattern: StepPattern | str = "symmetric1",
    window: int | str | Tensor | None = None,
    open_begin: bool = False,
    open_end: bool = False,
    **options: Unpack[Options],
) -> Warping:
    """The best way to warp a query onto a reference (Sakoe & Chiba 1978).

    Args:
        x, y: query and reference: ``(N,)`` and ``(M,)`` of one feature, ``(N, F)`` and ``(M, F)`` of several, batches
            ``(B, N, F)`` and ``(B, M, F)``, or two lists of as many series of any lengths. Or ``y`` is None, and ``x``
            a cost matrix ``(..., N, M)``.
        metric: the cost of a pair: ``"squared"`` (Euclidean distance), ``"euclidean"``, ``"manhattan"``, ``"cosine"``
            (1 less the cosine); or a function of items that broadcast, ``(..., F)`` to ``(...)``.
        step_pattern, window, open_begin, open_end: as of `DTW`, but every step counts once (``symmetric1``), as in most
            packages.
        options: as of every question.

    An open end is where the cost, divided by what `StepPattern.normalization` says, is least, as in dtw-python; where
    that does not say, or the beginning is open too, where the cost is least.

    Returns:
        Its `Warping`. ``distance`` is a root where costs are squared distances, as in dtaidistance and tslearn.
    Raises:
        StructureError: no path stays inside the window, or has such slopes.
        ShapeError, DataError: series of other features, without items, not finite.

    Example:
        >>> found = dtw([0.0, 2.0, 4.0], [0.0, 0.5, 2.0, 4.0])
        >>> float(found.distance), found.to_reference.tolist()
        (0.5, [0.5, 2.0, 3.0])
    """
    structure, used = structure_of("dtw", x, y, metric, step_pattern, window, open_begin, open_end)
    if open_end and not open_begin and structure.pattern.normalization in ("M", "N+M"):
        structure = _ended(structure, options)
    best = viterbi(structure, **options)
    check_reached("dtw", best.valid, structure)
    path = best.event
    return Warping(-best.score, path[path[:, 0] >= 0] if path.ndim == 2 else path, used, structure)


def structure_of(
    owner: str,
    x: Any,
    y: Any,
    metric: Metric,
    step_pattern: StepPattern | str,
    window: int | str | Tensor | None,
    open_begin: bool = False,
    open_end: bool = False,
) -> tuple[DTW, Metric | None]:
    """The structure of two series, or of a cost matrix, and the metric, if one was used."""
    if y is None:
        return DTW(dense(owner, "x", x), step_pattern, window, open_begin, open_end), None
    a, b = compatible(owner, one_or_more(owner, "x", x), one_or_more(owner, "y", y))
    batch = a.items.shape[:-2]
    if batch != b.items.shape[:-2]:
        raise ShapeError(
            f"{owner}: x and y must be one series each or as many, got {tuple(batch)} and "
            f"{tuple(b.items.shape[:-2])}. All pairs? Ask semihmm.warping.cdist."
        )
    lengths = (None, None) if a.lengths is b.lengths is None else (a.sizes, b.sizes)
    return DTW(costs(owner, a, b, metric), step_pattern, window, open_begin, open_end, *lengths), metric


def check_reached(owner: str, valid: Tensor, structure: DTW) -> None:
    """Refuse a pair of series that no path joins."""
    if bool(valid.all()):
        return
    pair = tuple((~valid).nonzero()[0].tolist())
    n, m = (int(x[pair]) for x in structure.sizes())
    window = structure.window
    if isinstance(window, int) and abs(n - m) > window:
        why = f"a window of {window} keeps |i - j| <= {window}: make it at least {abs(n - m)}"
    elif window is not None:
        why = "make the window wider, or take a step pattern of other slopes"
    else:
        why = f"the slopes of step pattern {structure.step_pattern!r} do not allow it: take another one"
    which = f" of pair {pair[0] if len(pair) == 1 else pair}" if pair else ""
    raise StructureError(
        f"{owner}: no path leads from the first items to the last{which}, {n} and {m} long; {why}.", see="no-path"
    )


def ends(structure: DTW, **options: Unpack[Options]) -> Tensor:
    """The cost of the best path to each item of the reference ``(..., M)``, where the end of the query may lie there.

    Example:
        >>> ends(semihmm.DTW(torch.tensor([[1.0, 1.0], [2.0, 1.0]]), "symmetric1")).tolist()
        [3.0, 2.0]
    """
    chain, plan = prepare(structure, Max(), options)
    n, _ = structure.sizes()
    time = n.unsqueeze(-1) + torch.arange(structure.cost.shape[-1], device=n.device)
    return -engine.vectors(plan, Max(), chain, n - 1).gather(-1, time)


def _ended(structure: DTW, options: Options) -> DTW:
    """With the end where the normalised cost is least, and closed."""
    n, m = structure.sizes()
    fixed = replace(structure, cost=structure.cost.detach(), window=structure.window_mask(), open_end=False)
    item = torch.arange(1, structure.cost.shape[-1] + 1, device=n.device)
    counted = item + (n.unsqueeze(-1) if structure.pattern.normalization == "N+M" else 0)
    found = ends(replace(fixed, query_lengths=n, reference_lengths=m), **options) / counted
    end = found.masked_fill(item > m.unsqueeze(-1), torch.inf).argmin(-1) + 1
    return replace(fixed, cost=structure.cost, query_lengths=n, reference_lengths=end)

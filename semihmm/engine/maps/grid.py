"""A two-dimensional lattice, one anti-diagonal at a time: DTW, edit distance, RNN-T."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.engine.maps.form import (
    FORBIDDEN,
    Form,
    Transitions,
    as_index,
    check_range,
    check_shared,
    check_weight,
    pick,
    remembered,
    unchecked,
)
from semihmm.engine.maps.sparse import Sparse, which_arc
from semihmm.engine.tracing import numbers
from semihmm.errors import ShapeError


@dataclass(frozen=True)
class Grid(Form):
    """Each of N slots sums up at most K predecessors, whose weights are read from matrices where they lie.

    A slot lies in a row of the grid; step ``t`` is at its column ``t + first - row``, so all slots together move along
    anti-diagonals. `Grid.of` makes the usual tables, in which slot ``i`` is row ``i``.

    Args:
        weight: log-weights of the cells, ``(..., P, I, J)``, in P planes. None is copied: a view will do.
        row: the row that each slot lies in, int64 ``(N,)``.
        source: where each slot's k-th arc comes from, as in `Sparse`: int64 ``(N, K)``; -1 where there is none.
        plane: the plane that its log-weight is read from, int64 ``(N, K)``; -1 for an arc of log-weight 0.
        factor: how many times that counts, float64 ``(N, K)``: -1 where ``weight`` is a cost. An infinite weight that
            counts 0 times still forbids.
        low, high: the arc is there in columns ``low <= column < high``, int64 ``(N, K)``. Where it reads a plane, the
            columns must be the plane's.
        memory: the longest delay.
        first: the anti-diagonal ``row + column`` of step 0. There are I + J - 1 - first steps.

    Whatever goes step by step does so on `unrolled`, which holds N K log-weights for each step.

    Example:
        >>> corner, count = torch.tensor([0.0, -torch.inf, -torch.inf]), semihmm.semirings.Count()
        >>> end = torch.tensor([-torch.inf, -torch.inf, 0.0])
        >>> chain = semihmm.engine.Chain((corner,), Grid.of(((1, 0), (0, 1)), torch.zeros(2, 3, 3)), (end,))
        >>> int(semihmm.engine.total(semihmm.engine.plan(chain, count), count, chain))  # ways from corner to corner
        6
    """

    weight: Tensor
    row: Tensor
    source: Tensor
    plane: Tensor
    factor: Tensor
    low: Tensor
    high: Tensor
    memory: int
    first: int = 1
    ranks = (2,)  # the planes stand where other maps have time

    def __post_init__(self) -> None:
        check_weight("Grid", "weight", self.weight, ("P", "I", "J"))
        for name in ("row", "source", "plane", "low", "high"):
            object.__setattr__(self, name, as_index("Grid", name, getattr(self, name)))
        for name in ("row", "source", "plane", "factor", "low", "high"):
            check_shared("Grid", name, getattr(self, name))
        tables = {name: getattr(self, name) for name in ("source", "plane", "factor", "low", "high")}
        shapes = {x.shape for x in tables.values()}
        fits = self.row.ndim == 1 and len(shapes) == 1 and self.source.ndim == 2 and len(self.row) == len(self.source)
        if not fits or self.factor.dtype != torch.float64 or self.memory < 1 or self.first < 0:
            raise ShapeError(
                "Grid: row must be (N,), and source, plane, factor (float64), low and high (N, K); memory at least 1 "
                f"and first at least 0. Got row {tuple(self.row.shape)}, "
                f"{', '.join(f'{n} {tuple(x.shape)}' for n, x in tables.items())}, factor of {self.factor.dtype}, "
                f"memory {self.memory} and first {self.first}."
            )
        self._check_ranges()

    def _check_ranges(self) -> None:
        planes, height, width = self.weight.shape[-3:]
        most = self.memory * len(self.row) - 1
        check_range("Grid", "row", self.row, 0, height - 1, f"the {height} rows of weight")
        check_range("Grid", "source", self.source, -1, most, "the slots of the latest steps (-1: no arc)")
        check_range("Grid", "plane", self.plane, -1, planes - 1, f"the {planes} planes of weight (-1: none)")
        source, plane, low, high = (numbers(x) for x in (self.source, self.plane, self.low, self.high))
        if source is None or plane is None or low is None or high is None:
            return
        outside = (source >= 0) & (plane >= 0) & (low < high) & ((low < 0) | (high > width))
        if bool(outside.any()):
            slot, k = outside.nonzero()[0].tolist()
            raise ShapeError(
                f"Grid: an arc that reads a plane may be there in its columns alone, 0 <= low <= column < high <= "
                f"{width}, got low {int(low[slot, k])} and high {int(high[slot, k])} for arc {k} of slot {slot}."
            )

    @staticmethod
    def of(moves: Sequence[tuple[int, int]], weight: Tensor, factor: float = 1.0) -> Grid:
        """One slot for each row; at time ``i + j`` slot ``i`` holds cell ``(i, j)``, and time 0 is cell (0, 0) alone.

        Args:
            moves: K steps ``(down, right)``, none of them (0, 0) and none negative.
            weight: ``(..., K, I, J)``; ``[k, i, j]`` is the log-weight of arriving at ``(i, j)`` by move ``k``, less
                the factor.
            factor: -1 where ``weight`` is a cost.
        """
        backward = any(down < 0 or right < 0 or down + right < 1 for down, right in moves)
        if weight.ndim < 3 or weight.shape[-3] != len(moves) or not moves or backward:
            raise ShapeError(
                f"Grid: moves must go down or right, and weights be (..., {len(moves)}, I, J), a plane for each move; "
                f"got moves {list(moves)} and weights {tuple(weight.shape)}."
            )
        return _simple(tuple(moves), weight.shape[-2], weight.shape[-1], factor).over(weight)

    @property
    def slots(self) -> int:  # type: ignore[override]
        return self.row.shape[0]

    @property
    def work(self) -> int:
        return self.source.shape[0] * self.source.shape[1]

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    @property
    def steps(self) -> int:
        """As many as there are anti-diagonals from `first` on."""
        return self.weight.shape[-2] + self.weight.shape[-1] - 1 - self.first

    def rebuild(self, leaves: tuple[Tensor, ...]) -> Grid:
        return self.holding(weight=leaves[0])

    def holding(self, **tensors: Tensor) -> Grid:
        """The same map with tensors of the same form, which are not checked again."""
        return unchecked(Grid, **{f.name: getattr(self, f.name) for f in fields(self)} | tensors)

    def unrolled(self) -> Sparse:
        """With the log-weight of every arc at every step, ``(..., T, N, K)``."""
        height, width = self.weight.shape[-2:]
        length = height + width - 1
        # Each row behind the one above it, one place too far apart for rows of `length`: so row i begins at column i.
        skewed = pad(self.weight, (0, height)).flatten(-2)[..., : height * length].unflatten(-1, (height, length))
        diagonals = skewed[..., self.first :].movedim(-1, -3).flatten(-2)  # (..., T, P * I)
        at = self.plane.clamp(min=0) * height + self.row.unsqueeze(-1)
        read = diagonals.index_select(-1, at.flatten()).unflatten(-1, at.shape)
        weight = (read * self.factor.to(read)).masked_fill(self.plane < 0, 0.0)
        column = (torch.arange(self.first, length, device=at.device).unsqueeze(-1) - self.row).unsqueeze(-1)
        there = (self.low <= column) & (column < self.high) & (self.source >= 0)
        there = there & ~(read.isinf() & (self.plane >= 0) & (self.factor == 0))  # inf * 0 is forbidden, not NaN
        weight = torch.where(there, weight, FORBIDDEN)
        return unchecked(Sparse, weight=weight, source=self.source.unsqueeze(0), memory=self.memory)

    def log_weights(self, at: Transitions) -> Tensor:
        height, width = self.weight.shape[-2:]
        arc, there = which_arc(at, self.source, self.slots)
        row, plane, factor = self.row[at.after], self.plane[at.after, arc], self.factor[at.after, arc]
        column = torch.arange(at.after.shape[-1], device=row.device) + self.first - row
        there = there & (self.low[at.after, arc] <= column) & (column < self.high[at.after, arc])
        cell = (plane.clamp(min=0) * height + row) * width + column.clamp(0, width - 1)
        read = pick(self.weight.flatten(-3), cell)
        there = there & ~(read.isinf() & (plane >= 0) & (factor == 0))  # inf * 0 is forbidden, not NaN
        weight = torch.where(plane < 0, 0.0, read * factor.to(read))
        return torch.where(at.arrives, torch.where(there, weight, FORBIDDEN), 0.0)


class GridTables(NamedTuple):
    """A `Grid` without its weights, in numpy: what `remembered` keeps."""

    row: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]
    plane: npt.NDArray[np.int64]
    factor: npt.NDArray[np.float64]
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    memory: int
    first: int

    def over(self, weight: Tensor) -> Grid:
        """With weights."""
        tables = {name: torch.from_numpy(x).to(weight.device) for name, x in zip(self._fields, self[:6], strict=False)}
        return unchecked(Grid, weight=weight, **tables, memory=self.memory, first=self.first)


@remembered
def _simple(moves: tuple[tuple[int, int], ...], height: int, width: int, factor: float) -> GridTables:
    down, right = np.array(moves, np.int64).T
    row, shape = np.arange(height, dtype=np.int64), (height, len(moves))
    above = row[:, None] - down
    return GridTables(
        row=row,
        source=np.where(above < 0, -1, (down + right - 1) * height + above),
        plane=np.broadcast_to(np.arange(len(moves), dtype=np.int64), shape).copy(),
        factor=np.full(shape, factor),
        low=np.broadcast_to(right, shape).copy(),
        high=np.full(shape, width, np.int64),
        memory=max(down + right for down, right in moves),
        first=1,
    )

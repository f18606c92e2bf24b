"""Dynamic time warping: two sequences aligned, each kept in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.engine import Chain, Path
from semihmm.engine.maps.form import remembered
from semihmm.engine.maps.grid import GridTables
from semihmm.errors import ShapeError, StructureError
from semihmm.structures.authoring import (
    as_tensor,
    check_lengths,
    check_shape,
    given,
    one_hot,
    only,
    packed,
    settle,
    settle_indices,
    single,
    spread,
)
from semihmm.structures.base import Structure

Cell = tuple[int, int, float]


@dataclass(frozen=True)
class StepPattern:
    """The moves that a warping path is made of, and what they cost.

    Args:
        moves: each a sequence of cells, the last of them where it arrives. A cell is ``(down, right, multiplier)``: how
            many query and reference items after the cell before it, and how many times its cost counts. No two moves
            may go equally far in both directions.

    `symmetric1`, `symmetric2`, ... in `PATTERNS` are Sakoe & Chiba's (1978, table I), ``mori2006`` is that of Mori et
    al. (2006), ``rigid`` has diagonal steps alone; `rabiner_juang` makes those of Rabiner & Juang (1993, table 4.5).
    They are named as in the packages dtw and dtw-python (Giorgino 2009).

    Example:
        >>> StepPattern((((1, 1, 2.0),), ((0, 1, 1.0),), ((1, 0, 1.0),))) == PATTERNS["symmetric2"]
        True
    """

    moves: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        cells = [cell for move in self.moves for cell in move]
        backward = any(down < 0 or right < 0 or down + right < 1 or weight < 0 for down, right, weight in cells)
        if not cells or not all(self.moves) or backward or len(set(self.spans)) < len(self.moves):
            raise StructureError(
                "StepPattern: moves must be sequences of cells (down, right, multiplier), none of them negative or "
                f"standing still, and no two moves may go equally far in both directions, got {self.moves}."
            )

    @property
    def spans(self) -> list[tuple[int, int]]:
        """How far each move goes: ``(down, right)``."""
        return [(sum(c[0] for c in move), sum(c[1] for c in move)) for move in self.moves]

    @property
    def normalization(self) -> str | None:
        """By what to divide a cost, so that long series compare with short ones: ``"N"``, ``"M"`` or ``"N+M"``.

        None where paths between the same corners have different numbers of counted cells.

        Example:
            >>> PATTERNS["symmetric2"].normalization, PATTERNS["asymmetric"].normalization
            ('N+M', 'N')
        """
        counted = [sum(cell[2] for cell in move) for move in self.moves]
        down, right = ([span[axis] for span in self.spans] for axis in (0, 1))
        for name, spans in {"N": down, "M": right, "N+M": [i + j for i, j in self.spans]}.items():
            each = sum(counted) / max(sum(spans), 1)
            if all(abs(count - each * span) < 1e-9 for count, span in zip(counted, spans, strict=True)):
                return name
        return None

    @staticmethod
    def rabiner_juang(kind: int, weighting: str = "d", smoothed: bool = False) -> StepPattern:
        """Types I to VII (``kind`` 1 to 7) with slope weighting a, b, c or d.

        A step ``(down, right)`` counts min, max, ``down`` or ``down + right`` times; smoothed, as often as the steps of
        its move do on average.
        """
        if kind not in RABINER_JUANG or weighting not in {"a", "b", "c", "d"}:
            raise StructureError(
                f"StepPattern: kind must be 1 to 7 and weighting a, b, c or d, got {kind} and {weighting!r}."
            )
        moves = []
        for steps in RABINER_JUANG[kind]:
            counts = {
                "a": [min(step) for step in steps],
                "b": [max(step) for step in steps],
                "c": [down for down, _ in steps],
                "d": [sum(step) for step in steps],
            }
            weights = [float(w) for w in counts[weighting]]
            if smoothed:
                weights = [sum(weights) / len(weights)] * len(weights)
            moves.append(tuple((down, right, w) for (down, right), w in zip(steps, weights, strict=True)))
        return StepPattern(tuple(moves))


Steps = tuple[tuple[int, int], ...]
RABINER_JUANG: dict[int, tuple[Steps, ...]] = {
    1: (((1, 0),), ((1, 1),), ((0, 1),)),
    2: (((1, 1), (1, 0)), ((1, 1),), ((1, 1), (0, 1))),
    3: (((2, 1),), ((1, 1),), ((1, 2),)),
    4: (((1, 1), (1, 0)), ((1, 2), (1, 0)), ((1, 1),), ((1, 2),)),
    5: (((1, 1), (1, 0), (1, 0)), ((1, 1), (1, 0)), ((1, 1),), ((1, 1), (0, 1)), ((1, 1), (0, 1), (0, 1))),
    6: (((1, 1), (1, 1), (1, 0)), ((1, 1),), ((1, 1), (1, 1), (0, 1))),
    7: tuple(((1, right), *((1, 0),) * more) for more in (2, 1, 0) for right in (1, 2, 3)),
}
_ANY = ((1, 1),), ((0, 1),), ((1, 0),)
_ASIDE = ((1, 1), (0, 1), (0, 1)), ((1, 1), (0, 1)), ((1, 1),), ((1, 1), (1, 0)), ((1, 1), (1, 0), (1, 0))
_ALONG = ((1, 1), (1, 1), (0, 1)), ((1, 1),), ((1, 1), (1, 1), (1, 0))


def _symmetric(moves: tuple[Steps, ...]) -> StepPattern:
    """A step counts as far as it goes."""
    return StepPattern(tuple(tuple((i, j, float(i + j)) for i, j in move) for move in moves))


def _asymmetric(moves: tuple[Steps, ...]) -> StepPattern:
    """A move counts as far as it goes down, shared by its cells."""
    return StepPattern(tuple(tuple((i, j, sum(c[0] for c in move) / len(move)) for i, j in move) for move in moves))


PATTERNS: dict[str, StepPattern] = {
    "symmetric1": StepPattern((((1, 1, 1.0),), ((0, 1, 1.0),), ((1, 0, 1.0),))),
    "symmetric2": _symmetric(_ANY),
    "asymmetric": _asymmetric((((1, 0),), ((1, 1),), ((1, 2),))),
    "symmetricP0": _symmetric(_ANY),
    "symmetricP05": _symmetric(_ASIDE),
    "symmetricP1": _symmetric((_ASIDE[1], _ASIDE[2], _ASIDE[3])),
    "symmetricP2": _symmetric(_ALONG),
    "asymmetricP0": _asymmetric((((0, 1),), ((1, 1),), ((1, 0),))),
    "asymmetricP05": _asymmetric(_ASIDE),
    "asymmetricP1": _asymmetric((_ASIDE[1], _ASIDE[2], _ASIDE[3])),
    "asymmetricP2": _asymmetric(_ALONG),
    "mori2006": StepPattern((((1, 1, 2.0), (1, 0, 1.0)), ((1, 1, 3.0),), ((1, 1, 3.0), (0, 1, 3.0)))),
    "rigid": StepPattern((((1, 1, 1.0),),)),
}


@dataclass(frozen=True, repr=False)
class DTW(Structure):
    """Every way to warp a query of N items onto a reference of M (Sakoe & Chiba 1978).

    The potential is a cost, so a score is minus a distance: ``-viterbi(...).score`` is the DTW distance, and
    ``-total(dtw, SmoothMax(gamma))`` is soft-DTW (Cuturi & Blondel 2017), whose gradient is the soft alignment.

    Args:
        cost: of matching query item ``i`` to reference item ``j``, ``(..., N, M)``, as from `squared_distances`.
        step_pattern: a `StepPattern`, or the name of one in `PATTERNS`: ``"symmetric2"``, where a diagonal step costs
            twice; ``"symmetric1"``, where it costs once, as in most packages; ``"asymmetric"``, ...
        window: where paths may go: an int for ``|i - j| <= window`` (Sakoe & Chiba); ``"itakura"`` for slopes of 1/2
            to 2 from the first cell and from the last; or a bool mask ``(N, M)`` or ``(..., N, M)``. None for anywhere.
        open_begin, open_end: the path may begin at any, end at any reference item; both: subsequence DTW.
        query_lengths, reference_lengths: items in use ``(...)``, at least 1; None for N and M.

    The first cell counts once. Every cell of a move must lie in the window. `marginals` hold how often each cell is
    expected to count, multipliers included.

    An event is the pairs where moves arrive, int64 ``(..., N + M - 1, 2)``, ``(-1, -1)`` after the end. N + M - 1 steps
    of ``(N + 1) K`` products, K moves into a cell; N cells more for each inner cell of the moves, and for an open end.

    Raises:
        StructureError: a step pattern or window that is not known.

    Example:
        >>> import torch, semihmm
        >>> x, y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [2.0], [2.0]])
        >>> best = semihmm.viterbi(semihmm.DTW(semihmm.squared_distances(x, y), "symmetric1"))
        >>> float(best.score), best.event.tolist()
        (-1.0, [[0, 0], [1, 1], [2, 2], [-1, -1], [-1, -1]])
    """

    cost: Tensor
    step_pattern: StepPattern | str = "symmetric2"
    window: int | str | Tensor | None = None
    open_begin: bool = False
    open_end: bool = False
    query_lengths: Tensor | None = None
    reference_lengths: Tensor | None = None
    observed: ClassVar[str] = "cost"
    indices: ClassVar[dict[str, int]] = {"window": 2}
    ragged: ClassVar[dict[str, dict[str, int]]] = {
        "query_lengths": {"cost": -2, "window": -2},
        "reference_lengths": {"cost": -1, "window": -1},
    }
    ranks: ClassVar[dict[str, int]] = {"cost": 2}
    sign: ClassVar[float] = -1.0

    def __post_init__(self) -> None:
        settle(self, "cost")
        settle_indices(self, "query_lengths", "reference_lengths")
        shape = tuple(self.cost.shape)
        if len(shape) < 2 or 0 in shape[-2:]:
            raise ShapeError(f"DTW: cost must be (..., N, M) with at least one item on each side, got {shape}.")
        pattern: Any = self.step_pattern
        if not isinstance(pattern, StepPattern) and not (isinstance(pattern, str) and pattern in PATTERNS):
            raise StructureError(
                f"DTW: step_pattern must be a StepPattern or one of {', '.join(PATTERNS)}, got {self.step_pattern!r}."
            )
        for name in ("open_begin", "open_end"):
            if not isinstance(x := getattr(self, name), int | np.bool_):
                raise StructureError(f"DTW: {name} must be True or False, got {x!r}.")
        window: Any = self.window
        if isinstance(window, np.integer):
            object.__setattr__(self, "window", int(window))
        elif not (window is None or isinstance(window, int | float | str)):
            object.__setattr__(self, "window", as_tensor(self, "window"))
        if isinstance(self.window, Tensor):
            check_shape(self, "(..., N, M)", "window", self.window, shape[-2:])
            if self.window.layout != torch.strided or self.window.device != self.cost.device:
                raise ShapeError(
                    f"DTW: window must be a dense mask on {self.cost.device}, where cost is, got one of "
                    f"{self.window.layout} on {self.window.device}."
                )
            if self.window.dtype != torch.bool:
                raise ShapeError(
                    f"DTW: window must be bool, True where paths may go, or an int, got {self.window.dtype}."
                )
        elif window not in (None, "itakura") and (isinstance(window, bool | float | str) or window < 0):
            raise StructureError(
                f"DTW: window must be an int of at least 0, 'itakura', a bool mask or None, got {self.window!r}."
            )
        check_lengths("DTW", self.query_lengths, self.batch_shape, shape[-2], name="query_lengths")
        check_lengths("DTW", self.reference_lengths, self.batch_shape, shape[-1], name="reference_lengths")

    @property
    def pattern(self) -> StepPattern:
        """The step pattern, whether it was named or given."""
        return PATTERNS[self.step_pattern] if isinstance(self.step_pattern, str) else self.step_pattern

    def sizes(self) -> tuple[Tensor, Tensor]:
        height, width = self.cost.shape[-2:]
        n, m = given(self.query_lengths, height, self.cost), given(self.reference_lengths, width, self.cost)
        return n.expand(self.batch_shape), m.expand(self.batch_shape)

    def _allowed(self) -> Tensor:
        """The cost, inf outside the window and in padding; where there is neither, the cost itself, not a copy."""
        inside = self.in_use("cost")
        allowed = self.window_mask()
        if inside is not None:
            allowed = inside if allowed is None else allowed & inside
        return self.cost if allowed is None else torch.where(allowed, self.cost, torch.inf)

    def window_mask(self) -> Tensor | None:
        """The window as a mask, ``(N, M)`` or ``(..., N, M)``; None for anywhere."""
        if self.window is None or isinstance(self.window, Tensor):
            return self.window
        i = torch.arange(self.cost.shape[-2], device=self.cost.device).unsqueeze(-1)
        j = torch.arange(self.cost.shape[-1], device=self.cost.device)
        if isinstance(self.window, int):
            return (i - j).abs() <= min(self.window, max(self.cost.shape[-2:]))
        n, m = (x[..., None, None] for x in self.sizes())
        below, beside = n - 1 - i, m - 1 - j  # from here to the last cell
        return (j <= 2 * i) & (i <= 2 * j) & (beside <= 2 * below) & (below <= 2 * beside)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (-1, 2)

    def chain(self) -> Chain:
        """One anti-diagonal after the other: cell ``(i, j)`` is slot ``i`` at time ``i + j + 1``.

        Behind those N slots come N for each inner cell of a move; N for paths that have ended in each row, if the end
        is open; and one, the first of all in time, for the path that has not begun.
        """
        height, width = self.cost.shape[-2:]
        steps = _arcs(self.pattern.moves, height, width, self.open_begin, self.open_end).over(
            self._allowed().unsqueeze(-3)
        )
        slots = steps.slots
        last, lengths = torch.tensor(height - 1, device=self.cost.device), None
        if self.query_lengths is not None or self.reference_lengths is not None:
            n, m = self.sizes()
            last, lengths = n - 1, n + m - 1
        ends = one_hot(last, slots)
        if self.open_end:
            ends = ends | one_hot(slots - 1 - height + last, slots)
        return Chain(
            start=(single(slots - 1, slots, self.cost),),
            steps=steps,
            end=(only(ends, self.cost),),
            lengths=lengths,
            length=height + width - 1,
        )

    def event(self, path: Path) -> Tensor:
        """The cells of the first N slots."""
        row = path.slots[..., 1:]
        column = torch.arange(row.shape[-1], device=row.device) - row
        return packed(torch.stack([row, column], -1), (row >= 0) & (row < self.cost.shape[-2]), row.shape[-1])

    def path(self, event: Tensor) -> Path:
        """The cells of the event, those that its moves pass through, and where it waits before and after."""
        height, width = self.cost.shape[-2:]
        row, column = pad(event, (0, 0, 0, 1), value=-1).unbind(-1)
        used, over = (row >= 0) & (column >= 0), (row == -1) & (column == -1)
        down, right = row.diff(dim=-1), column.diff(dim=-1)
        slots, times = [row], [torch.where(used, row + column + 1, -1)]
        moved, layer = over[..., 1:], 0
        for move in self.pattern.moves:
            here = used[..., 1:] & (down == sum(c[0] for c in move)) & (right == sum(c[1] for c in move))
            i, j, moved = row[..., :-1], column[..., :-1], moved | here
            for below, beside, _ in move[:-1]:
                i, j, layer = i + below, j + beside, layer + 1
                slots.append(layer * height + i)
                times.append(torch.where(here, i + j + 1, -1))
        fine = moved.all(-1, keepdim=True) & (used[..., 1:] <= used[..., :-1]).all(-1, keepdim=True)
        n, m = (x.unsqueeze(-1) for x in self.sizes())
        fine = fine & ((row < n) & (column < m)).all(-1, keepdim=True)
        slot = spread(torch.cat(slots, -1), torch.cat(times, -1), height + width)
        time, waits = torch.arange(height + width, device=row.device), (layer + 1) * height
        if self.open_end:
            slot = torch.where(time > times[0].amax(-1, keepdim=True), waits + row.amax(-1, keepdim=True), slot)
            waits += height
        return Path.through(torch.where(fine, torch.where(time < times[0][..., :1], waits, slot), -1))


@remembered
def _arcs(moves: tuple[tuple[Cell, ...], ...], height: int, width: int, open_begin: bool, open_end: bool) -> GridTables:
    """Each slot's arcs."""
    into: list[list[tuple[int, Cell]]] = [[]]  # for each layer of N slots: from which layer, by which step
    for *inner, last in moves:
        layer = 0
        for step in inner:
            into.append([(layer, step)])
            layer = len(into) - 1
        into[0].append((layer, last))
    if not any(down for _, (down, _, _) in into[0]):
        into[0].append((0, (height, 0, 1.0)))  # from above the grid: see below
    layers, exits = len(into), height if open_end else 0
    slots = layers * height + exits + 1
    shape = (slots, max(2, *map(len, into)))
    row = np.arange(height, dtype=np.int64)
    source, plane, factor = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64), np.full(shape, -1.0)
    low, high = np.full(shape, -height, np.int64), np.full(shape, height + width, np.int64)  # a free arc: everywhere
    memory = 1
    for layer, steps in enumerate(into):
        here = slice(layer * height, (layer + 1) * height)
        for k, (origin, (down, right, count)) in enumerate(steps):
            delay = down + right
            memory = max(memory, delay if down < height else 1)
            source[here, k] = np.where(row < down, -1, (delay - 1) * slots + origin * height + row - down)
            plane[here, k], factor[here, k], low[here, k], high[here, k] = 0, -count, right, width
    # A path begins in the first row, by an arc that would have come from above it.
    first = next(k for k, (_, (down, _, _)) in enumerate(into[0]) if down)
    source[0, first], factor[0, first], low[0, first], high[0, first] = slots - 1, -1.0, 0, width if open_begin else 1
    if open_begin:
        source[-1, 0] = slots - 1
    if open_end:
        out = slice(layers * height, slots - 1)
        source[out, 0], source[out, 1] = row, layers * height + row
    rows = np.concatenate([*[row] * layers, row[:exits], row[:1]])
    return GridTables(rows, source, plane, factor, low, high, memory, first=0)

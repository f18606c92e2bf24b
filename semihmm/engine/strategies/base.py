"""What a strategy does: move a carry over a block of steps. All of them give the same numbers."""

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from semihmm.engine.maps import Map
from semihmm.semirings import Semiring

Tables = tuple[Tensor, ...]
BLOCK = 1 << 20  # entries that a computation over many steps at once may hold


class State(NamedTuple):
    """A carry ``(..., memory, slots)``, scaled by ``exp(-offset)`` so that a long scan stays in range.

    ``offset (...)`` is float64: a normaliser is the sum of many steps. It stays 0 in semirings that cannot be scaled.

    Example:
        >>> State(torch.zeros(1, 2), torch.tensor(3.0)).offset.item()  # two values of exp(3)
        3.0
    """

    carry: Tensor
    offset: Tensor


class Trail(NamedTuple):
    """The state vectors after each of T steps ``(..., T, slots)``, and their offsets ``(..., T)``.

    Example:
        >>> Trail(torch.zeros(5, 2), torch.zeros(5)).vectors.shape
        torch.Size([5, 2])
    """

    vectors: Tensor
    offsets: Tensor


class Strategy(Protocol):
    """Moves a carry over all steps of a map.

    Example:
        >>> strategy: Strategy = sequential
    """

    def __call__(
        self, semiring: Semiring, maps: tuple[Map, ...], length: int, state: State, active: Tensor | None, keep: bool
    ) -> tuple[State, Trail | None]:
        """Advance ``state`` by ``length`` steps.

        Args:
            maps: the log-weights, then maps of the same form with the features that the semiring wants.
            active: which steps each sequence takes ``(..., T)``; it stands still in the others. None for all.
            keep: whether to give the trail.
        """
        ...


def lifted(semiring: Semiring, maps: tuple[Map, ...]) -> Tables:
    """The tables of all steps as values; indices stay as they are."""
    rows = zip(*(m.tables() for m in maps), strict=True)
    return tuple(semiring.lift(*row) if row[0].is_floating_point() else row[0] for row in rows)


def by_step(tables: Tables, ranks: tuple[int, ...], length: int) -> list[Tables]:
    """One tuple of tables for each step. Unbinds time once, so that the gradient is stacked once."""
    columns = []
    for table, rank in zip(tables, ranks, strict=True):
        steps = table.unbind(-1 - rank)
        columns.append(steps * length if len(steps) == 1 else steps)
    return list(zip(*columns, strict=True))


def push(semiring: Semiring, carry: Tensor, vector: Tensor) -> Tensor:
    """The carry with a new state vector in front, the oldest one gone."""
    new = vector.unsqueeze(-2)
    return new if carry.shape[-2] == 1 else torch.cat([new, carry[..., :-1, :]], -2)


def rescaled(semiring: Semiring, state: State) -> State:
    """The same state with its largest value at 1 (0 nats)."""
    if not semiring.scalable:
        return state
    peak = semiring.magnitude(state.carry.detach()).amax((-2, -1))
    if torch.compiler.is_exporting():  # three operators of ONNX instead of nine
        peak = torch.where(peak.abs() < math.inf, peak, 0.0)
    else:
        peak = peak.nan_to_num(0.0, 0.0, 0.0)
    return State(semiring.scale(state.carry, -peak[..., None, None]), state.offset + peak)


def held(state: State, new: State, active: Tensor | None) -> State:
    """The new state where a sequence takes this step, the old one where it is over."""
    if active is None:
        return new
    return State(
        torch.where(active[..., None, None], new.carry, state.carry), torch.where(active, new.offset, state.offset)
    )


def advanced(semiring: Semiring, steps: Map, state: State, table: Tables, active: Tensor | None) -> State:
    """The state after one step, whose tables have no time axis."""
    moved = State(push(semiring, state.carry, steps.step(semiring, state.carry, table)), state.offset)
    return held(state, rescaled(semiring, moved), active)


def pieces(length: int, entries: int) -> Iterator[tuple[int, int]]:
    """First and last of so many steps at a time, with ``entries`` each, that they hold about `BLOCK` entries.

    In a program that is exported all at once, as nobody knows yet how many there are.
    """
    if torch.compiler.is_exporting():
        return iter([(0, length)])
    size = max(BLOCK // entries, 1) if entries else max(length, 1)
    return ((at, min(at + size, length)) for at in range(0, length, size))


def joined(trails: list[Trail]) -> Trail | None:
    """Blocks of a trail, one after the other."""
    if len(trails) < 2:
        return trails[0] if trails else None
    return Trail(torch.cat([t.vectors for t in trails], -2), torch.cat([t.offsets for t in trails], -1))

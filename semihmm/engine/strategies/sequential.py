"""One step after the other: as much work as the maps ask for, and T rounds."""

import math

import torch
from torch import Tensor

from semihmm.engine.maps import Map
from semihmm.engine.strategies.base import State, Tables, Trail, by_step, held, joined, lifted, pieces, push, rescaled
from semihmm.semirings import Semiring


def sequential(
    semiring: Semiring, maps: tuple[Map, ...], length: int, state: State, active: Tensor | None, keep: bool
) -> tuple[State, Trail | None]:
    """Every semiring, every map. O(T * work) time; O(1) memory beyond the trail.

    Example:
        >>> steps, start = semihmm.engine.Dense(torch.zeros(5, 2, 2)), torch.zeros((), dtype=torch.float64)
        >>> last, _ = sequential(semihmm.semirings.Log(), (steps,), 5, State(torch.zeros(1, 2), start), None, False)
        >>> (last.carry.squeeze(0) + last.offset).exp().round().tolist()
        [32.0, 32.0]
    """
    if torch.compiler.is_exporting():
        return exported(semiring, maps, state, active, keep)
    trails = []
    for start, stop in pieces(length, maps[0].unfolded * math.prod(state.offset.shape)):
        few = tuple(m.window(start, stop) for m in maps)
        tables = by_step(lifted(semiring, few), few[0].table_ranks, stop - start)
        going = None if active is None else active[..., start:stop]
        state, trail = loop(semiring, few[0], state, tables, going, keep)
        trails.append(trail)
    return state, joined([t for t in trails if t is not None]) if keep else None


def exported(
    semiring: Semiring, maps: tuple[Map, ...], state: State, active: Tensor | None, keep: bool
) -> tuple[State, Trail | None]:
    """The same as an operator over time, whose length a program learns when it runs."""
    from torch._higher_order_ops.scan import scan

    steps = maps[0]
    given = lifted(semiring, maps)
    times = [-1 - rank for rank in steps.table_ranks]
    moving = [table.shape[time] != 1 for table, time in zip(given, times, strict=True)]
    over = [x.movedim(t, 0) for x, t, m in zip(given, times, moving, strict=True) if m]
    still = [None if m else x.squeeze(t).clone() for x, t, m in zip(given, times, moving, strict=True)]
    if active is not None:
        over.append(active.movedim(-1, 0))

    def step(carried: tuple[Tensor, Tensor], now: list[Tensor]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        state, rest = State(*carried), iter(now)
        table = tuple(next(rest) if x is None else x for x in still)
        moved = State(push(semiring, state.carry, steps.step(semiring, state.carry, table)), state.offset)
        new = held(state, rescaled(semiring, moved), None if active is None else next(rest))
        return tuple(new), (new.carry.select(-2, 0).clone(), new.offset.clone())

    last, (vectors, offsets) = scan(step, tuple(state), over)
    return State(*last), Trail(vectors.movedim(0, -2), offsets.movedim(0, -1)) if keep else None


def loop(
    semiring: Semiring, steps: Map, state: State, tables: list[Tables], active: Tensor | None, keep: bool
) -> tuple[State, Trail | None]:
    """Step through time; every axis but the last two of a carry is a batch."""
    vectors, offsets = [], []
    taken = [None] * len(tables) if active is None else active.unbind(-1)
    for table, going in zip(tables, taken, strict=True):
        moved = State(push(semiring, state.carry, steps.step(semiring, state.carry, table)), state.offset)
        state = held(state, rescaled(semiring, moved), going)
        if keep:
            vectors.append(state.carry.select(-2, 0))
            offsets.append(state.offset)
    if not keep:
        return state, None
    return state, Trail(torch.stack(vectors, -2), torch.stack(offsets, -1))

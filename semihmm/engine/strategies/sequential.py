"""One step after the other: as much work as the maps ask for, and T rounds."""

import math

import torch
from torch import Tensor

from semihmm.engine.maps import Map
from semihmm.engine.strategies.base import State, Tables, Trail, advanced, by_step, joined, lifted, pieces
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
    trails = []
    for start, stop in pieces(length, maps[0].unfolded * math.prod(state.offset.shape)):
        few = tuple(m.window(start, stop) for m in maps)
        tables = by_step(lifted(semiring, few), few[0].table_ranks, stop - start)
        going = None if active is None else active[..., start:stop]
        state, trail = loop(semiring, few[0], state, tables, going, keep)
        trails.append(trail)
    return state, joined([t for t in trails if t is not None]) if keep else None


def loop(
    semiring: Semiring, steps: Map, state: State, tables: list[Tables], active: Tensor | None, keep: bool
) -> tuple[State, Trail | None]:
    """Step through time; every axis but the last two of a carry is a batch."""
    vectors, offsets = [], []
    taken = [None] * len(tables) if active is None else active.unbind(-1)
    for table, going in zip(tables, taken, strict=True):
        state = advanced(semiring, steps, state, table, going)
        if keep:
            vectors.append(state.carry.select(-2, 0))
            offsets.append(state.offset)
    if not keep:
        return state, None
    return state, Trail(torch.stack(vectors, -2), torch.stack(offsets, -1))

"""One step after the other: as much work as the maps ask for, and T rounds."""

import torch
from torch import Tensor

from semihmm.engine.maps import Map
from semihmm.engine.strategies.base import State, Tables, Trail, by_step, held, lifted, push, rescaled
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
    steps = by_step(lifted(semiring, maps), maps[0].table_ranks, length)
    return loop(semiring, maps[0], state, steps, active, keep)


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
    if not vectors:
        nothing = state.carry.select(-2, 0).unsqueeze(-2)[..., :0, :]
        return state, Trail(nothing, state.offset.unsqueeze(-1)[..., :0])
    return state, Trail(torch.stack(vectors, -2), torch.stack(offsets, -1))

"""A chain whose maps arrive a few at a time: a carry moved over them, and where each of its slots came from."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from semihmm.engine.chain import Chain
from semihmm.engine.maps import Map
from semihmm.engine.scan import begin, carries, centred, finish, less_their_peaks, preceded
from semihmm.engine.strategies import State, Trail
from semihmm.engine.strategies.base import by_step, lifted
from semihmm.engine.strategies.sequential import sequential
from semihmm.engine.trace import look_up
from semihmm.semirings import Semiring


class Origins(NamedTuple):
    """Where the slots of some steps came from, int64 ``(rows * slots, ..., T)`` each.

    Example:
        >>> Origins(torch.zeros(2, 5), torch.zeros(2, 5), torch.ones(2, 5)).slot.shape
        torch.Size([2, 5])
    """

    slot: Tensor
    row: Tensor
    delay: Tensor


class Moved(NamedTuple):
    """What `proceed` returns: the carry behind the steps, the state vectors on the way, and what those leave out.

    ``scale (..., T)``, float64, is the log scale of the log-weights themselves, from the front on.

    Example:
        >>> moved = Moved(State(torch.zeros(1, 2), torch.zeros(())), Trail(torch.ones(5, 2), torch.zeros(5)), torch.zeros(5))
        >>> moved.vectors.shape, moved.vectors.dtype
        (torch.Size([5, 2]), torch.float64)
    """

    state: State
    trail: Trail
    scale: Tensor

    @property
    def vectors(self) -> Tensor:
        """The state vectors ``(..., T, slots)`` in nats, float64."""
        return self.trail.vectors.double() + (self.trail.offsets + self.scale).unsqueeze(-1)


def enter(semiring: Semiring, chain: Chain) -> State:
    """The carry in front of a chain's first step.

    Example:
        >>> chain = Chain((torch.tensor([1.0, 3.0]),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=0)
        >>> state = enter(semihmm.semirings.Max(), chain)
        >>> state.carry.tolist(), state.offset.item()
        ([[-2.0, 0.0]], 3.0)
    """
    near, scale = centred(Chain(chain.start, chain.steps.unrolled().window(0, 0), length=0))
    state = begin(semiring, [near])
    return State(state.carry, state.offset + scale)


def leave(semiring: Semiring, chain: Chain, state: State) -> tuple[Tensor, Tensor]:
    """The value of every way to end ``(..., slots)`` behind a chain's last step, and its offset.

    Example:
        >>> steps, state = semihmm.engine.Dense(torch.zeros(1, 2, 2)), State(torch.zeros(1, 2), torch.tensor(5.0))
        >>> leave(semihmm.semirings.Max(), Chain(state.carry.unbind(), steps, (torch.tensor([1.0, 3.0]),), length=0), state)
        (tensor([-2.,  0.]), tensor(8., dtype=torch.float64))
    """
    nothing = torch.zeros_like(chain.start[0])
    near, scale = centred(Chain((nothing,), chain.steps.unrolled().window(0, 0), chain.end, length=0))
    ends, offset = finish(semiring, [near], state)
    return ends, offset + scale


def proceed(
    semiring: Semiring, steps: Map, length: int, taken: Tensor | None, front: State, latest: int
) -> Moved:
    """Move a carry over the latest of ``length`` steps, as the torch backend would in one scan of all, to the bit.

    Args:
        steps: the latest ones, and as many in front as they look back on.
        taken: how many of the latest ones each sequence takes ``(...)``; None for all.
        front: the carry in front of them.
        latest: how many those are.

    Example:
        >>> log, steps = semihmm.semirings.Log(), semihmm.engine.Dense(torch.zeros(5, 2, 2))
        >>> state = State(torch.zeros(1, 2), torch.zeros((), dtype=torch.float64))
        >>> last = proceed(log, steps, 5, None, state, latest=3).state
        >>> (last.carry + last.offset).exp().round().tolist()
        [[8.0, 8.0]]
    """
    near, peaks = less_their_peaks(steps, length)
    active = None if taken is None else torch.arange(latest, device=taken.device) < taken.unsqueeze(-1)
    state, trail = sequential(semiring, (near.window(length - latest, length),), latest, front, active, True)
    assert trail is not None
    scale = front.offset.new_zeros((*front.offset.shape, latest))
    for each in peaks:
        scale = scale + (each if each.shape[-1] == 1 else each[..., each.shape[-1] - latest :])
    scale = scale if active is None else torch.where(active, scale, 0.0)
    scale = scale.cumsum(-1)
    return Moved(State(state.carry, state.offset + scale[..., -1]), trail, scale)


def origins(
    semiring: Semiring, steps: Map, length: int, front: State, trail: Trail
) -> Origins:
    """The predecessor of each slot after each step of a ``trail`` that `proceed` has made with a selective semiring.

    Ties go to the lowest, as in decoding.

    Example:
        >>> best, steps = semihmm.semirings.Max(), semihmm.engine.Dense(torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]))
        >>> state = State(torch.zeros(1, 2), torch.zeros((), dtype=torch.float64))
        >>> origins(best, steps, 3, state, proceed(best, steps, 3, None, state, latest=3).trail).slot.tolist()
        [[1, 1, 1], [0, 0, 0]]
    """
    latest, rows = trail.vectors.shape[-2], semiring.rows
    near, _ = less_their_peaks(steps, length)
    few = near.window(length - latest, length)
    tables = lifted(semiring, (few,))
    carry, _ = carries(semiring, few.memory, preceded(front, trail), 0, latest)
    pointers = few.choose(semiring, carry, tables, None)  # (rows, ..., T, pointers)
    slots, batch = few.slots, pointers.shape[1:-2]
    at = torch.arange(rows * slots, device=pointers.device).reshape(-1, *(1,) * len(batch), 1)
    at = at.expand(-1, *batch, latest)
    slot, row = at % slots, at // slots
    indices = zip(tables, few.table_ranks, strict=True)
    if all(x.is_floating_point() or x.shape[-1 - rank] == 1 for x, rank in indices):
        found = few.trace(partial(look_up, pointers, row, rows), slot, tables)
        each = (found.slot, row if found.row is None else found.row, torch.as_tensor(found.delay, device=at.device))
        return Origins(*(x.expand(at.shape) for x in each))
    steps_found = []
    for t, now in enumerate(by_step(tables, few.table_ranks, latest)):
        found = few.trace(partial(look_up, pointers[..., t, :], row[..., t], rows), slot[..., t], now)
        came = row[..., t] if found.row is None else found.row
        steps_found.append([x.expand(at.shape[:-1]) for x in (found.slot, came, torch.as_tensor(found.delay))])
    return Origins(*(torch.stack(x, -1) for x in zip(*steps_found, strict=True)))

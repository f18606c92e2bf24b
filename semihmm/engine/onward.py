"""A chain whose maps arrive a few at a time: a carry moved over them, and where each of its slots came from."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from semihmm.engine import tensors
from semihmm.engine.chain import Chain
from semihmm.engine.maps import Compose, Dense, Diagonal, Map, Sparse
from semihmm.engine.scan import begin, carries, centred, finish, less_their_peaks, preceded
from semihmm.engine.strategies import State, Trail
from semihmm.engine.strategies.base import by_step, lifted
from semihmm.engine.strategies.sequential import sequential
from semihmm.engine.trace import look_up
from semihmm.semirings import Max, Semiring


class Origins(NamedTuple):
    """Where the slots of some steps came from, int64 ``(rows * slots, ..., T)`` each.

    Example:
        >>> Origins(torch.zeros(2, 5), torch.zeros(2, 5), torch.ones(2, 5)).slot.shape
        torch.Size([2, 5])
    """

    slot: Tensor
    row: Tensor
    delay: Tensor


class Carried(NamedTuple):
    """What is kept of the steps so far.

    Attributes:
        state: the carry.
        recent: the ``memory`` latest state vectors, the latest last, each with the offset that it had: what pointers
            are made from.
        scale: the log scale of all log-weights so far, which the others leave out, float64 ``(...)``.

    Example:
        >>> chain = Chain((torch.tensor([1.0, 3.0]),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=0)
        >>> enter(semihmm.semirings.Max(), chain).scale
        tensor(3., dtype=torch.float64)
    """

    state: State
    recent: Trail
    scale: Tensor

    @property
    def offset(self) -> Tensor:
        """What the latest state vector is less than in fact."""
        return self.state.offset + self.scale


def enter(semiring: Semiring, chain: Chain) -> Carried:
    """What there is in front of a chain's first step.

    Example:
        >>> chain = Chain((torch.tensor([1.0, 3.0]),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=0)
        >>> enter(semihmm.semirings.Max(), chain).state.carry.tolist()
        [[-2.0, 0.0]]
    """
    near, scale = centred(Chain(chain.start, chain.steps.unrolled().window(0, 0), length=0))
    state = begin(semiring, [near])
    return Carried(state, preceded(state, Trail(state.carry[..., :0, :], state.offset.unsqueeze(-1)[..., :0])), scale)


def leave(semiring: Semiring, chain: Chain, last: Carried) -> tuple[Tensor, Tensor]:
    """The value of every way to end ``(..., slots)`` behind a chain's last step, and its offset.

    Example:
        >>> steps, log = semihmm.engine.Dense(torch.zeros(1, 2, 2)), semihmm.semirings.Log()
        >>> chain = Chain((torch.zeros(2),), steps, (torch.tensor([1.0, 3.0]),), length=0)
        >>> leave(log, chain, enter(log, chain))
        (tensor([-2.,  0.]), tensor(3., dtype=torch.float64))
    """
    nothing = torch.zeros_like(chain.start[0])
    near, scale = centred(Chain((nothing,), chain.steps.unrolled().window(0, 0), chain.end, length=0))
    ends, offset = finish(semiring, [near], last.state)
    return ends, offset + last.scale + scale


def proceed(
    semiring: Semiring, steps: Map, length: int, taken: Tensor | None, front: Carried, latest: int
) -> tuple[Carried, Trail, Tensor]:
    """Move over the latest of ``length`` steps, to the bit as the torch backend's sequential strategy does in one scan.

    Args:
        steps: the latest ones, and as many in front as they look back on.
        taken: how many of the latest ones each sequence takes ``(...)``; None for all.
        front: what there is in front of them.
        latest: how many those are.
    Returns:
        What there is behind them; the state vectors ``(..., latest, slots)``; and their log scales.

    Example:
        >>> log, steps = semihmm.semirings.Log(), semihmm.engine.Dense(torch.zeros(5, 2, 2))
        >>> front = enter(log, Chain((torch.zeros(2),), steps))
        >>> last, *_ = proceed(log, steps, 5, None, front, latest=3)
        >>> (last.state.carry + last.offset).exp().round().tolist()
        [[8.0, 8.0]]
    """
    near, peaks = less_their_peaks(steps, length)
    active = None if taken is None else torch.arange(latest, device=taken.device) < taken.unsqueeze(-1)
    state, trail = sequential(semiring, (near.window(length - latest, length),), latest, front.state, active, True)
    assert trail is not None
    return _behind(front, state, trail, _scale(front, peaks, active, latest), taken, steps.memory)


def _scale(front: Carried, peaks: list[Tensor], active: Tensor | None, latest: int) -> Tensor:
    """The log scale after each of the latest steps."""
    scale = front.scale.new_zeros((*front.scale.shape, latest))
    for each in peaks:
        scale = scale + (each if each.shape[-1] == 1 else each[..., each.shape[-1] - latest :])
    scale = scale if active is None else torch.where(active, scale, 0.0)
    return front.scale.unsqueeze(-1) + scale.cumsum(-1)


def _behind(
    front: Carried, state: State, trail: Trail, scale: Tensor, taken: Tensor | None, memory: int
) -> tuple[Carried, Trail, Tensor]:
    return Carried(state, _recent(front, trail, taken, memory), scale[..., -1]), trail, scale


def _recent(front: Carried, trail: Trail, taken: Tensor | None, memory: int) -> Trail:
    """The latest state vectors of each sequence."""
    vectors = torch.cat([front.recent.vectors, trail.vectors], -2)
    offsets = torch.cat([front.recent.offsets, trail.offsets], -1)
    if taken is None:
        return Trail(vectors[..., -memory:, :].clone(), offsets[..., -memory:].clone())
    at = taken.unsqueeze(-1) + torch.arange(memory, device=taken.device)
    return Trail(
        vectors.take_along_dim(at.unsqueeze(-1).expand(*vectors.shape[:-2], -1, 1), -2), offsets.gather(-1, at)
    )


def best(
    steps: Map, length: int, taken: Tensor | None, front: Carried, latest: int
) -> tuple[Carried, Trail, Tensor, Origins]:
    """What `proceed` returns in the max semiring, and the `origins` of those steps.

    Example:
        >>> steps = semihmm.engine.Dense(torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]))
        >>> front = enter(Max(), Chain((torch.zeros(2),), steps, length=3))
        >>> best(steps, 3, None, front, latest=3)[-1].slot.tolist()
        [[1, 0, 1], [0, 0, 0]]
    """
    near, peaks = less_their_peaks(steps, length)
    found = _compiled(near.window(length - latest, length), front.state, taken, latest)
    if found is None:
        last, trail, scale = proceed(Max(), steps, length, taken, front, latest)
        return last, trail, scale, origins(Max(), steps, length, front, trail)
    vectors, offsets, came = found
    active = None if taken is None else torch.arange(latest, device=taken.device) < taken.unsqueeze(-1)
    state = State(vectors[..., -1:, :].clone(), offsets[..., -1].clone())
    scale, slot = _scale(front, peaks, active, latest), came.movedim(-1, 0)
    behind = _behind(front, state, Trail(vectors, offsets), scale, taken, steps.memory)
    return *behind, Origins(slot, torch.zeros_like(slot), torch.ones_like(slot))


def _compiled(steps: Map, state: State, taken: Tensor | None, latest: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """These steps as `tensors.max_steps` has them: of dense transitions or arcs, with or without emissions."""
    first, emission = steps, None
    if isinstance(steps, Compose) and isinstance(steps.then, Diagonal):
        first, emission = steps.first, steps.then.weight
    source = first.source if isinstance(first, Sparse) else None
    if (
        not isinstance(first, Dense | Sparse)
        or first.memory > 1
        or (source is not None and source[..., 0, 0].numel() > 1)
    ):
        return None
    front = state.carry.select(-2, 0)
    return tensors.max_steps(front, state.offset, first.weight, source, emission, taken, latest)


def origins(semiring: Semiring, steps: Map, length: int, front: Carried, along: Trail) -> Origins:
    """The predecessor of each slot after each of the steps that `proceed` has taken with a selective semiring.

    Ties go to the lowest, as in decoding.

    Args:
        front: what there was in front of these steps.
        along: the state vectors that `proceed` returned.

    Example:
        >>> best, steps = semihmm.semirings.Max(), semihmm.engine.Dense(torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]))
        >>> front = enter(best, Chain((torch.zeros(2),), steps, length=3))
        >>> origins(best, steps, 3, front, proceed(best, steps, 3, None, front, latest=3)[1]).slot.tolist()
        [[1, 0, 1], [0, 0, 0]]
    """
    latest, rows = along.vectors.shape[-2], semiring.rows
    near, _ = less_their_peaks(steps, length)
    few = near.window(length - latest, length)
    tables = lifted(semiring, (few,))
    vectors = Trail(
        torch.cat([front.recent.vectors, along.vectors], -2), torch.cat([front.recent.offsets, along.offsets], -1)
    )
    carry, _ = carries(semiring, few.memory, vectors, 0, latest)
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

"""A chain whose maps arrive a few at a time: a carry moved over them, and where each of its slots came from."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from semihmm.engine import tensors
from semihmm.engine.chain import Chain
from semihmm.engine.maps import Compose, Dense, Diagonal, Map, Segmental, Sparse
from semihmm.engine.maps.form import unchecked
from semihmm.engine.scan import begin, carries, centred, finish, less_their_peaks, preceded
from semihmm.engine.strategies import State, Trail
from semihmm.engine.strategies.base import by_step, lifted
from semihmm.engine.strategies.sequential import sequential
from semihmm.engine.trace import look_up
from semihmm.semirings import Log, Max, Semiring


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
            are made from. None in a semiring that makes none.
        scale: the log scale of all log-weights so far, which the others leave out, float64 ``(...)``.

    Example:
        >>> chain = Chain((torch.tensor([1.0, 3.0]),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=0)
        >>> enter(semihmm.semirings.Max(), chain).scale
        tensor(3., dtype=torch.float64)
    """

    state: State
    recent: Trail | None
    scale: Tensor

    @property
    def offset(self) -> Tensor:
        """What the latest state vector is less than in fact."""
        return self.state.offset + self.scale


class Progress(NamedTuple):
    """What some steps have led to.

    Attributes:
        last: what there is behind them.
        trail: the state vectors after each of them ``(..., T, slots)``.
        scale: their log scales, float64 ``(..., T)``.
        came: from `best`, which slot each slot came from, int32 ``(..., T, slots)``: ``(delay - 1) * slots + slot``;
            -1 where there is no path.
        going: the weight of segments that have not ended ``(..., T, states)``, as state vectors; see `proceed`.

    Example:
        >>> log, steps = semihmm.semirings.Log(), semihmm.engine.Dense(torch.zeros(5, 2, 2))
        >>> proceed(log, steps, 5, None, enter(log, Chain((torch.zeros(2),), steps)), latest=3).trail.vectors.shape
        torch.Size([3, 2])
    """

    last: Carried
    trail: Trail
    scale: Tensor
    came: Tensor | None = None
    going: Tensor | None = None

    @property
    def offsets(self) -> Tensor:
        """What state vectors are less than in fact, float64 ``(..., T)``."""
        return self.trail.offsets + self.scale


def enter(semiring: Semiring, chain: Chain) -> Carried:
    """What there is in front of a chain's first step.

    Example:
        >>> chain = Chain((torch.tensor([1.0, 3.0]),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=0)
        >>> enter(semihmm.semirings.Max(), chain).state.carry.tolist()
        [[-2.0, 0.0]]
    """
    near, scale = centred(Chain(chain.start, chain.steps.unrolled().window(0, 0), length=0))
    state = begin(semiring, [near])
    none = Trail(state.carry[..., :0, :], state.offset.unsqueeze(-1)[..., :0])
    return Carried(state, preceded(state, none) if semiring.selective else None, scale)


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
    semiring: Semiring,
    steps: Map,
    length: int,
    taken: Tensor | None,
    front: Carried,
    latest: int,
    going: Tensor | None = None,
) -> Progress:
    """Move over the latest of ``length`` steps, as the torch backend's sequential strategy does in one scan.

    Args:
        steps: the latest ones, and as many in front as they look back on.
        taken: how many of the latest ones each sequence takes ``(...)``; None for all.
        front: what there is in front of them.
        latest: how many those are.
        going: of a Segmental, what segments weigh by how long they have lasted that may go on, ``(..., T or 1, D, S)``;
            then their weights are told, too.

    Example:
        >>> log, steps = semihmm.semirings.Log(), semihmm.engine.Dense(torch.zeros(5, 2, 2))
        >>> front = enter(log, Chain((torch.zeros(2),), steps))
        >>> last = proceed(log, steps, 5, None, front, latest=3).last
        >>> (last.state.carry + last.offset).exp().round().tolist()
        [[8.0, 8.0]]
    """
    found = onward(semiring, steps, taken, front, latest, going)
    if found is not None:
        return found
    near, peaks = less_their_peaks(steps, length)
    active = None if taken is None else torch.arange(latest, device=taken.device) < taken.unsqueeze(-1)
    few = near.window(length - latest, length)
    state, trail = sequential(semiring, (few,), latest, front.state, active, True)
    assert trail is not None
    scale = front.scale.new_zeros((*front.scale.shape, latest))
    for each in peaks:
        scale = scale + (each if each.shape[-1] == 1 else each[..., each.shape[-1] - latest :])
    scale = scale if active is None else torch.where(active, scale, 0.0)
    scale = front.scale.unsqueeze(-1) + scale.cumsum(-1)
    recent = None if front.recent is None else _latest(_after(front.recent, trail), taken, steps.memory)
    told = None if going is None else _going(semiring, few, front.state, trail, going)
    return Progress(Carried(state, recent, scale[..., -1]), trail, scale, going=told)


def _after(before: Trail, trail: Trail) -> Trail:
    """State vectors behind those from before."""
    return Trail(torch.cat([before.vectors, trail.vectors], -2), torch.cat([before.offsets, trail.offsets], -1))


def _latest(trail: Trail, taken: Tensor | None, memory: int) -> Trail:
    """Of state vectors, ``memory`` of them from before, as many of each sequence."""
    vectors, offsets = trail
    if taken is None:
        return Trail(vectors[..., -memory:, :].clone(), offsets[..., -memory:].clone())
    at = taken.unsqueeze(-1) + torch.arange(memory, device=taken.device)
    return Trail(
        vectors.take_along_dim(at.unsqueeze(-1).expand(*vectors.shape[:-2], -1, 1), -2), offsets.gather(-1, at)
    )


def _going(semiring: Semiring, steps: Map, front: State, trail: Trail, going: Tensor) -> Tensor:
    """The weight of segments that have not ended after each step."""
    assert isinstance(steps, Segmental)
    latest, times = trail.vectors.shape[-2], going.shape[-3]
    going = going if times == 1 else going.narrow(-3, times - latest, latest)
    carry, base = carries(semiring, steps.memory, preceded(front, trail), 0, latest)
    lasting = unchecked(
        Segmental, transition=steps.transition, duration=going, emission=steps.emission, segment=None
    ).tables()[0]
    weight = semiring.sum(carry[..., steps.states :] + lasting, -2)
    return weight + (base - trail.offsets).to(weight.dtype).unsqueeze(-1)


def best(steps: Map, length: int, taken: Tensor | None, front: Carried, latest: int) -> Progress:
    """What `proceed` returns in the max semiring, to the bit whatever the backend, and where each slot came from.

    Example:
        >>> steps = semihmm.engine.Dense(torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]))
        >>> front = enter(Max(), Chain((torch.zeros(1, 2),), steps, length=3))
        >>> best(steps, 3, None, front, latest=3).came.tolist()
        [[[1, 0], [0, 0], [1, 0]]]
    """
    found = onward(Max(), steps, taken, front, latest)
    if found is not None:
        return found
    made = proceed(Max(), steps, length, taken, front, latest)
    origin = origins(Max(), steps, length, front, made.trail)
    code = ((origin.delay - 1) * steps.slots + origin.slot).movedim(0, -1)
    return made._replace(came=torch.where(made.trail.vectors > -torch.inf, code, -1).int())


# ---- compiled


class Moves(NamedTuple):
    """From state to state, as the compiled module takes it.

    Attributes:
        weight: ``(sets, T or 1, from, to)``; of arcs ``(sets, T or 1, places)``, as `Slices` has them, ``-inf`` for none.
        peak: what was taken out of it, float64 ``(sets, T or 1)``; None for nothing.
        slices: of arcs; None for all to all.

    Example:
        >>> steps = semihmm.engine.Arcs(torch.tensor([0, 1]), torch.tensor([1, 1]), torch.zeros(1, 2), slots=2)
        >>> arranged(steps, steady=True, batch=1, latest=1).weight[..., ::16].tolist()
        [[[0.0, 0.0]]]
    """

    weight: Tensor
    peak: Tensor | None
    slices: Slices | None


class Slices(NamedTuple):
    """Arcs so arranged that vectors reach them, 16 states at a time; csrc/arc_slices.hpp says where that is from.

    A slice is of states that about as many arcs lead to, and the k-th arcs into all of them lie side by side.

    Attributes:
        begin: where the places of each slice begin, and where the last one ends, int32.
        row: the states of all slices, one slice after the other, int32 ``(S,)``.
        source: the state where the arc at each place comes from, int32 ``(places,)``; 0 where there is none.
        place: of each arc, int64 ``(arcs,)``.

    Example:
        >>> found = Slices.of(torch.tensor([[1, -1], [0, 1]]))
        >>> found.begin.tolist(), found.row.tolist(), found.place.tolist()  # the state with two arcs comes first
        ([0, 32], [1, 0], [1, 0, 16])
    """

    begin: Tensor
    row: Tensor
    source: Tensor
    place: Tensor

    @staticmethod
    def of(source: Tensor) -> Slices:
        """Of arcs into each state ``(S, K)``, -1 for none."""
        there = source >= 0
        count = there.sum(-1)
        row = count.argsort(descending=True, stable=True)
        begin = torch.nn.functional.pad((count[row[::SLICE]] * SLICE).cumsum(0), (1, 0))
        lane = torch.empty_like(row)
        lane[row] = torch.arange(len(row))
        place = ((begin[lane // SLICE] + lane % SLICE).unsqueeze(-1) + (there.cumsum(-1) - 1) * SLICE)[there]
        sources = torch.zeros(int(begin[-1]), dtype=torch.int32)
        sources[place] = source[there].int()
        return Slices(begin.int(), row.int(), sources, place)


SLICE = 16  # states, as csrc/onward.hpp has it
_ARRANGED: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # of log-weights that all steps share


def arranged(moves: Dense | Sparse, steady: bool, batch: int, latest: int) -> Moves:
    """The latest of some moves for the compiled module, remembered where they are the same at all steps.

    Args:
        steady: whether the peak is to be taken out.

    Example:
        >>> arranged(semihmm.engine.Dense(torch.ones(1, 2, 2)), steady=True, batch=1, latest=1).peak.tolist()
        [[1.0]]
    """
    leaf, key = moves.weight, (moves.weight._version, steady, batch)
    source = moves.source if isinstance(moves, Sparse) else None
    held = _ARRANGED.get(leaf)
    if held is not None and held[0] == key and held[1] is source:
        found: Moves = held[2]
        return found
    weight, peak, slices = _each(leaf, 2, batch, latest), None, None
    if steady:
        most = weight.amax((-2, -1), keepdim=True).nan_to_num(0.0, 0.0, 0.0)
        weight, peak = weight - most, most[..., 0, 0].double()
    if source is not None:
        source = source.reshape(source.shape[-2:])
        slices, arcs = Slices.of(source), weight.flatten(-2)[..., (source >= 0).flatten()]
        weight = arcs.new_full((*arcs.shape[:-1], len(slices.source)), -torch.inf)
        weight[..., slices.place] = arcs
    made = Moves(weight, peak, slices)
    if leaf.shape[-3] == 1:
        _ARRANGED[leaf] = key, moves.source if isinstance(moves, Sparse) else None, made
    return made


def _each(x: Tensor, rank: int, batch: int, latest: int) -> Tensor:
    """Log-weights of the latest times as ``(sets, T or 1, *event)``, those of a step in one piece."""
    time = x.ndim - 1 - rank
    x = x if x.shape[time] in (1, latest) else x.narrow(time, x.shape[time] - latest, latest)
    x = x if time == 1 else x.reshape(-1, *x.shape[time:])
    x = x[:1] if x.stride(0) == 0 else x
    return x if rank == 1 and x.stride(-1) == 1 else x.contiguous()


def onward(
    semiring: Semiring, steps: Map, taken: Tensor | None, front: Carried, latest: int, going: Tensor | None = None
) -> Progress | None:
    """What `proceed` and `best` return, by the compiled module, which needs no steps from before; None: not compiled.

    It knows dense moves and arcs, with or without emissions, and segments of them.

    Example:
        >>> steps = semihmm.engine.Dense(torch.zeros(1, 2, 2))
        >>> front = enter(Max(), Chain((torch.zeros(1, 2),), steps, length=3))
        >>> found = onward(Max(), steps, None, front, latest=3)
        >>> found is None or found.came.tolist() == [[[0, 0], [0, 0], [0, 0]]]
        True
    """
    first, emission, duration, segment = steps, None, None, None
    if isinstance(steps, Segmental):
        first, emission, duration, segment = steps.transition, steps.emission, steps.duration, steps.segment
    elif isinstance(steps, Compose) and isinstance(steps.then, Diagonal) and steps.then.index is None:
        first, emission = steps.first, steps.then.weight
    carry, best = front.state.carry, isinstance(semiring, Max)
    if (
        tensors.MODULE is None
        or not (best or isinstance(semiring, Log))
        or not isinstance(first, Dense | Sparse)
        or first.memory > 1
        or first.inputs != first.slots
        or (isinstance(first, Sparse) and first.source[..., 0, 0].numel() > 1)
        or carry.ndim != 3
        or not carry.is_cpu
        or carry.dtype not in (torch.float32, torch.float64)
        or any(
            x is not None and x.dtype != carry.dtype
            for x in (*steps.leaves, going)
            if x is None or x.is_floating_point()
        )
    ):
        return None
    (batch, memory, slots), states = carry.shape, first.slots
    moves = arranged(first, duration is None, batch, latest)
    before = 0 if front.recent is None or memory == 1 else memory  # one vector is kept as it is carried
    vectors, offsets = carry.new_empty((batch, before + latest, slots)), front.scale.new_empty((batch, before + latest))
    if before:
        assert front.recent is not None
        vectors[:, :before], offsets[:, :before] = front.recent
    carry, offset, scale = carry.clone(), front.state.offset.clone(), front.scale.new_empty((batch, latest))
    came = torch.empty((batch, latest, slots), dtype=torch.int32) if best else None
    told = None if going is None else carry.new_empty((batch, latest, states))
    tensors.MODULE.onward(
        moves.weight,
        *((None,) * 3 if moves.slices is None else moves.slices[:3]),
        moves.peak,
        None if emission is None else _each(emission, 1, batch, latest + memory - 1),
        *(None if x is None else _each(x, 2, batch, latest) for x in (duration, segment, going)),
        taken,
        carry,
        offset,
        vectors,
        offsets,
        scale,
        came,
        told,
        tensors.threads_for(batch * latest * (moves.weight[0, 0].numel() + memory * slots)),
    )
    recent = None if front.recent is None else Trail(carry, offset.unsqueeze(-1))
    recent = _latest(Trail(vectors, offsets), taken, memory) if before else recent
    scale = front.scale.unsqueeze(-1) + scale
    last = Carried(State(carry, offset), recent, scale[..., -1])
    return Progress(last, Trail(vectors[:, before:], offsets[:, before:]), scale, came, told)


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
    assert front.recent is not None
    carry, _ = carries(semiring, few.memory, _after(front.recent, along), 0, latest)
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

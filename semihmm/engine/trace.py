"""Paths of the torch backend: the choices of a selective semiring, traced back. One tracer for Max, TopK and Sample."""

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from semihmm.engine.chain import Chain
from semihmm.engine.decode import Decoded
from semihmm.engine.maps import Map
from semihmm.engine.maps.base import select
from semihmm.engine.plan import Plan, Scan
from semihmm.engine.scan import advance, carries, centred, cleaned, finish, forward, part, preceded, unscaled
from semihmm.engine.strategies.base import State, Tables, Trail, by_step, lifted, pieces
from semihmm.semirings import Semiring


@torch.no_grad()
def trace(scan: Scan, generator: torch.Generator | None) -> Decoded:
    """The paths through an unrolled chain.

    Pointers are made a block of steps at a time, from the state vectors of the forward pass, and are gone once they
    have been followed: memory is that of the state vectors.
    """
    plan, semiring, chain, scale = scan.plan, scan.semiring, cleaned(scan.chain), None
    if semiring.scalable:
        chain, scale = centred(chain)
    last, fronts, trail = forward(plan, semiring, [chain], plan.blocks == 1)
    ends, offset = finish(semiring, [chain], last)
    value, code = semiring.choose(ends, -1, generator)
    rows = semiring.rows
    value = semiring.lower(unscaled(semiring, value, offset if scale is None else offset + scale))
    value = value if semiring.components else value.unsqueeze(0)
    slot, row = code // rows, code % rows
    reached = torch.tensor(chain.length, device=code.device) if chain.lengths is None else chain.lengths
    time = reached.expand(code.shape)
    if torch.compiler.is_exporting():
        return _exported(plan, semiring, chain, fronts, trail, value, slot, row, time)
    slots, choices = [], []
    for step, map_, pointer, tables in _backwards(plan, semiring, chain, fronts, trail, generator):
        here = time == step + 1
        origin = map_.trace(partial(look_up, pointer, row, rows), slot.clamp(min=0), tables)
        slots.append(torch.where(here, slot, -1))
        choices.append(torch.where(here, origin.choice, -1))
        slot = torch.where(here, origin.slot, slot)
        row = row if origin.row is None else torch.where(here, origin.row, row)
        time = torch.where(here, time - origin.delay, time)
    slots.append(torch.where(time == 0, slot, -1))
    valid = value.isfinite().expand(code.shape)
    along = torch.stack(slots[::-1], -1)
    chosen = torch.stack(choices[::-1], -1) if choices else along[..., :0]
    return Decoded(along.where(valid.unsqueeze(-1), -1), chosen.where(valid.unsqueeze(-1), -1), value, valid)


def _exported(plan, semiring, chain, fronts, trail, value, slot, row, time):
    """The same as an operator over time."""
    from torch._higher_order_ops.scan import scan

    rows, steps = semiring.rows, chain.maps
    tables = lifted(semiring, (steps,))
    carry, _ = carries(semiring, steps.memory, preceded(fronts[0], trail), 0, chain.length)
    pointers = steps.choose(semiring, carry, tables, None).movedim(-2, 0)
    times = [-1 - rank for rank in steps.table_ranks]
    moving = [x.shape[t] != 1 for x, t in zip(tables, times, strict=True)]
    over = [x.movedim(t, 0) for x, t, m in zip(tables, times, moving, strict=True) if m]
    still = [None if m else x.squeeze(t).clone() for x, t, m in zip(tables, times, moving, strict=True)]
    numbers = torch.arange(1, chain.length + 1, device=slot.device)

    def step(carried, now):
        slot, row, time = carried
        pointer, number, *rest = now
        left = iter(rest)
        table = tuple(next(left) if x is None else x for x in still)
        here = time == number
        origin = steps.trace(partial(look_up, pointer, row, rows), slot.clamp(min=0), table)
        out = torch.where(here, slot, -1), torch.where(here, origin.choice, -1)
        slot = torch.where(here, origin.slot, slot)
        row = row.clone() if origin.row is None else torch.where(here, origin.row, row)
        time = torch.where(here, time - origin.delay, time)
        return (slot, row, time), out

    (slot, row, time), (slots, choices) = scan(step, (slot, row, time + 0), [pointers, numbers, *over], reverse=True)
    valid = value.isfinite().expand(slot.shape)
    along = torch.cat([torch.where(time == 0, slot, -1).unsqueeze(-1), slots.movedim(0, -1)], -1)
    chosen = choices.movedim(0, -1)
    return Decoded(along.where(valid.unsqueeze(-1), -1), chosen.where(valid.unsqueeze(-1), -1), value, valid)


def _backwards(
    plan: Plan,
    semiring: Semiring,
    chain: Chain,
    fronts: list[State],
    trail: Trail | None,
    generator: torch.Generator | None,
) -> Iterator[tuple[int, Map, Tensor, Tables]]:
    """Each step from the last to the first, with its map, its pointers and its tables."""
    active = chain.active(chain.batch)
    for (start, stop), front in zip(reversed(plan.bounds(chain.length)), reversed(fronts), strict=True):
        steps = chain.maps.window(start, stop)
        if trail is None:
            going = None if active is None else active[..., start:stop]
            block = advance(plan, semiring, (steps,), front, going, True, stop - start)[1]
            assert block is not None
        else:
            block = part(trail, start, stop)
        vectors = preceded(front, block)
        work = steps.work * semiring.rows * math.prod(chain.batch)
        for at, end in reversed(list(pieces(stop - start, work))):
            few = steps.window(at, end)
            tables = lifted(semiring, (few,))
            carry, _ = carries(semiring, steps.memory, vectors, at, end)
            pointers = few.choose(semiring, carry, tables, generator).unbind(-2)
            each = by_step(tables, few.table_ranks, end - at)
            for step in reversed(range(end - at)):
                yield start + at + step, few, pointers[step], each[step]


def look_up(pointer: Tensor, followed: Tensor, rows: int, column: Tensor, row: Tensor | None) -> tuple[Tensor, Tensor]:
    """Read a pointer of the row that is followed, unless another one is named."""
    return select(pointer, column, followed if row is None else row, rows)

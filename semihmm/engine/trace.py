"""Paths of the torch backend: the choices of a selective semiring, traced back. One tracer for Max, TopK and Sample."""

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from semihmm.engine.chain import Chain
from semihmm.engine.decode import Decoded
from semihmm.engine.maps import Map
from semihmm.engine.maps.base import select
from semihmm.engine.plan import Plan, Scan
from semihmm.engine.scan import advance, carries, centred, cleaned, finish, forward, part, preceded, unscaled
from semihmm.engine.strategies.base import State, Tables, Trail, by_step, lifted, pieces
from semihmm.engine.strategies.operator import over_time
from semihmm.semirings import Semiring


class Followed(NamedTuple):
    """Where paths are, traced back so far: each ``(rows, ...)`` int64."""

    slot: Tensor
    row: Tensor
    time: Tensor


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
    reached = torch.tensor(chain.length, device=code.device) if chain.lengths is None else chain.lengths
    path = Followed(code // rows, code % rows, reached.expand(code.shape).clone())
    if plan.strategy == "operator":
        assert trail is not None
        path, (along, chosen) = _over_time(semiring, chain, fronts[0], trail, path)
    else:
        kept = []
        for step, map_, pointer, tables in _backwards(plan, semiring, chain, fronts, trail, generator):
            path, here = _back(semiring, map_, pointer, tables, step + 1, path)
            kept.append(here)
        slots, choices = zip(*reversed(kept), strict=True) if kept else ((), ())
        along, chosen = (torch.stack(x, -1) if x else code.unsqueeze(-1)[..., :0] for x in (slots, choices))
    along = torch.cat([torch.where(path.time == 0, path.slot, -1).unsqueeze(-1), along], -1)
    valid = value.isfinite().expand(code.shape)
    return Decoded(along.where(valid.unsqueeze(-1), -1), chosen.where(valid.unsqueeze(-1), -1), value, valid)


def _over_time(
    semiring: Semiring, chain: Chain, front: State, trail: Trail, path: Followed
) -> tuple[Followed, tuple[Tensor, Tensor]]:
    """`_back` over all steps, the last one first, as an operator: slots and choices ``(rows, ..., T)``."""
    steps = chain.maps
    tables = lifted(semiring, (steps,))
    carry, _ = carries(semiring, steps.memory, preceded(front, trail), 0, chain.length)
    numbers = torch.arange(1, chain.length + 1, device=path.slot.device)

    def step(held: Followed, table: Tables, carry: Tensor, time: Tensor) -> tuple[Followed, tuple[Tensor, Tensor]]:
        pointer = steps.choose(semiring, carry, table, None)
        return _back(semiring, steps, pointer, table, time, Followed(*held))

    first, (slots, choices) = over_time(
        step, path, tables, steps.table_ranks, (carry.movedim(-3, 0), numbers), reverse=True
    )
    return Followed(*first), (slots.movedim(0, -1), choices.movedim(0, -1))


def _back(
    semiring: Semiring, steps: Map, pointer: Tensor, tables: Tables, time: int | Tensor, path: Followed
) -> tuple[Followed, tuple[Tensor, Tensor]]:
    """One step back from ``time``, of the paths that are there; and their slot there and choice, -1 for the others."""
    slot, row, _ = path
    here = path.time == time
    origin = steps.trace(partial(look_up, pointer, row, semiring.rows), slot.clamp(min=0), tables)
    kept = torch.where(here, slot, -1), torch.where(here, origin.choice, -1)
    row = row.clone() if origin.row is None else torch.where(here, origin.row, row)
    earlier = torch.where(here, path.time - origin.delay, path.time)
    return Followed(torch.where(here, origin.slot, slot), row, earlier), kept


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

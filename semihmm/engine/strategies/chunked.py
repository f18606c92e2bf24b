"""Sequential inside chunks, all chunks side by side, then from chunk to chunk."""

import math

import torch
from torch import Tensor

from semihmm.engine.maps import Map
from semihmm.engine.strategies.associative import identity, with_rows
from semihmm.engine.strategies.base import State, Tables, Trail, lifted, rescaled
from semihmm.engine.strategies.sequential import loop, sequential
from semihmm.semirings import Semiring


def chunked(
    semiring: Semiring, maps: tuple[Map, ...], length: int, state: State, active: Tensor | None, keep: bool
) -> tuple[State, Trail | None]:
    """Associative semirings, every map. O(T * work * carry) work in about 3 sqrt(T) rounds.

    Example:
        >>> steps, start = semihmm.engine.Dense(torch.zeros(5, 2, 2)), torch.zeros((), dtype=torch.float64)
        >>> last, _ = chunked(semihmm.semirings.Log(), (steps,), 5, State(torch.zeros(1, 2), start), None, False)
        >>> (last.carry.squeeze(0) + last.offset).exp().round().tolist()
        [32.0, 32.0]
    """
    size = math.isqrt(length)
    if size < 2:
        return sequential(semiring, maps, length, state, active, keep)
    count = length // size
    whole = count * size
    head = tuple(m.window(0, whole) for m in maps)
    tail = tuple(m.window(whole, length) for m in maps)
    ranks = maps[0].table_ranks
    steps = _by_chunk(lifted(semiring, head), ranks, count, size)
    c = semiring.components
    batch = state.carry.shape[c:-2]
    going = None if active is None else active[..., :whole].unflatten(-1, (count, size))

    eye = identity(semiring, state)
    eye = eye.reshape(*eye.shape[:c], *(1,) * (len(batch) + 1), *eye.shape[c:])
    rows = eye.expand(*eye.shape[:c], *batch, count, *eye.shape[-3:])
    zeros = state.offset.new_zeros(*batch, count, rows.shape[-3])
    each_row = None if going is None else going.unsqueeze(-2).expand(*going.shape[:-1], rows.shape[-3], size)
    with_row = [with_rows(table, ranks) for table in steps]
    # Each row of a chunk's matrix is a scan of its own, with an offset of its own.
    product, _ = loop(semiring, maps[0], State(rows, zeros), with_row, each_row, False)
    incoming = []
    for chunk in range(count):
        incoming.append(state)
        matrix, offset = product.carry[..., chunk, :, :, :].flatten(-2), product.offset[..., chunk, :]
        vector = state.carry.flatten(-2)
        if semiring.scalable:
            vector = semiring.scale(vector, offset.to(matrix.dtype))
        moved = semiring.vecmat(vector, matrix).unflatten(-1, state.carry.shape[-2:])
        state = rescaled(semiring, State(moved, state.offset))
    trail = None
    if keep:
        entry = State(torch.stack([s.carry for s in incoming], -3), torch.stack([s.offset for s in incoming], -1))
        _, inside = loop(semiring, maps[0], entry, steps, going, True)
        assert inside is not None
        trail = Trail(inside.vectors.flatten(-3, -2), inside.offsets.flatten(-2))
    if whole == length:
        return state, trail
    rest = None if active is None else active[..., whole:]
    state, end = sequential(semiring, tail, length - whole, state, rest, keep)
    if trail is None or end is None:
        return state, None
    return state, Trail(torch.cat([trail.vectors, end.vectors], -2), torch.cat([trail.offsets, end.offsets], -1))


def _by_chunk(tables: Tables, ranks: tuple[int, ...], count: int, size: int) -> list[Tables]:
    """One tuple of tables for each step inside a chunk, with the chunks as a batch axis where time was."""
    columns: list[tuple[Tensor, ...]] = []
    for table, rank in zip(tables, ranks, strict=True):
        if table.shape[-1 - rank] == 1:
            columns.append((table,) * size)
        else:
            columns.append(table.unflatten(-1 - rank, (count, size)).unbind(-1 - rank))
    return list(zip(*columns, strict=True))

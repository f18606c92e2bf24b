"""All prefix products at once, in O(log T) rounds of matrix products on the carry space."""

from collections.abc import Callable

import torch
from torch import Tensor

from semihmm.engine.maps import Map
from semihmm.engine.strategies.base import State, Tables, Trail, lifted, push, rescaled
from semihmm.semirings import Semiring

Combine = Callable[[State, State], State]


def associative(
    semiring: Semiring, maps: tuple[Map, ...], length: int, state: State, active: Tensor | None, keep: bool
) -> tuple[State, Trail | None]:
    """Associative semirings, every map. O(T * carry^3) work and O(T * carry^2) memory, in O(log T) rounds.

    Example:
        >>> steps, start = semihmm.engine.Dense(torch.zeros(5, 2, 2)), torch.zeros((), dtype=torch.float64)
        >>> last, _ = associative(semihmm.semirings.Log(), (steps,), 5, State(torch.zeros(1, 2), start), None, False)
        >>> (last.carry.squeeze(0) + last.offset).exp().round().tolist()
        [32.0, 32.0]
    """
    if length == 0:
        return state, Trail(state.carry[..., 0, :].unsqueeze(-2)[..., :0, :], state.offset.unsqueeze(-1)[..., :0])
    steps = matrices(semiring, maps, length, state, active)

    def combine(a: State, b: State) -> State:
        return rescaled(semiring, State(semiring.matmul(a.carry, b.carry), a.offset + b.offset))

    products = prefixes(combine, steps) if keep else reduce(combine, steps)
    vector = state.carry.flatten(-2).unsqueeze(-2)  # one more axis: time
    carries = semiring.vecmat(vector, products.carry).unflatten(-1, state.carry.shape[-2:])
    moved = rescaled(semiring, State(carries, state.offset.unsqueeze(-1) + products.offset))
    last = State(moved.carry[..., -1, :, :], moved.offset[..., -1])
    return last, Trail(moved.carry[..., 0, :], moved.offset) if keep else None


def identity(semiring: Semiring, state: State) -> Tensor:
    """One carry for each unit vector of the carry space, ``(rows, memory, slots)``."""
    memory, slots = state.carry.shape[-2:]
    size = memory * slots
    eye = torch.eye(size, dtype=torch.bool, device=state.carry.device)
    one = semiring.full(semiring.one, (size, size), state.carry)
    zero = semiring.full(semiring.zero, (size, size), state.carry)
    unit: Tensor = torch.where(eye, one, zero).unflatten(-1, (memory, slots))
    return unit


def with_rows(tables: Tables, ranks: tuple[int, ...]) -> Tables:
    """Tables with one more batch axis in front of their event axes, for the rows of a matrix."""
    return tuple(x.unsqueeze(-1 - r) for x, r in zip(tables, ranks, strict=True))


def matrices(semiring: Semiring, maps: tuple[Map, ...], length: int, state: State, active: Tensor | None) -> State:
    """Each step as a matrix on the carry space ``(..., T, size, size)``; the identity where a sequence is over."""
    batch = state.carry.shape[semiring.components : -2]
    eye = identity(semiring, state)
    c = semiring.components
    shape = (*eye.shape[:c], *batch, length, *eye.shape[c:])
    eye = eye.reshape(*eye.shape[:c], *(1,) * (len(batch) + 1), *eye.shape[c:]).expand(shape)
    vectors = maps[0].step(semiring, eye, with_rows(lifted(semiring, maps), maps[0].table_ranks))
    moved = push(semiring, eye, vectors.expand(*shape[:-2], -1)).flatten(-2)
    if active is not None:
        moved = torch.where(active[..., None, None], moved, eye.flatten(-2))
    return rescaled(semiring, State(moved, state.offset.new_zeros(*batch, length)))


def _cut(x: State, where: slice) -> State:
    return State(x.carry[..., where, :, :], x.offset[..., where])


def _join(parts: list[State]) -> State:
    return State(torch.cat([p.carry for p in parts], -3), torch.cat([p.offset for p in parts], -1))


def prefixes(combine: Combine, items: State) -> State:
    """All prefix products of an associative operation along time (Blelloch 1990): 2 T products in 2 log T rounds."""
    length = items.offset.shape[-1]
    if length == 1:
        return items
    pairs = combine(_cut(items, slice(0, length - 1, 2)), _cut(items, slice(1, length, 2)))
    odd = prefixes(combine, pairs)  # products up to items 1, 3, 5, ...
    first = _cut(items, slice(0, 1))
    even = _cut(items, slice(2, length, 2))
    if even.offset.shape[-1]:
        later = combine(_cut(odd, slice(0, even.offset.shape[-1])), even)
        first = _join([first, later])
    count = odd.offset.shape[-1]
    both = State(
        torch.stack([first.carry[..., :count, :, :], odd.carry], -3).flatten(-4, -3),
        torch.stack([first.offset[..., :count], odd.offset], -1).flatten(-2),
    )
    return _join([both, _cut(first, slice(count, None))])


def reduce(combine: Combine, items: State) -> State:
    """The product of all items, as a time axis of 1: T - 1 products in log T rounds."""
    while (length := items.offset.shape[-1]) > 1:
        pairs = combine(_cut(items, slice(0, length - 1, 2)), _cut(items, slice(1, length, 2)))
        items = _join([pairs, _cut(items, slice(length - length % 2, length))])
    return items

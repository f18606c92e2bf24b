"""Every path of a chain, found by following its arcs one at a time: for a structure never seen before."""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semihmm.engine import Arcs, Axes, Compose, Dense, Diagonal, Form, Grid, Path, Segmental, Sparse
from semihmm.errors import StructureError
from semihmm.structures import Structure
from semihmm.structures.leaves import numbered
from semihmm.testing.state_paths import Enumerated, Weight


class Entry(NamedTuple):
    """A log-weight: which leaf, where in it, and how many times it counts."""

    leaf: int
    at: tuple[int, ...]
    factor: float = 1.0


class Arc(NamedTuple):
    """One way to arrive in a slot."""

    slot: int  # where from
    delay: int  # how many steps earlier
    choice: int
    entries: tuple[tuple[Entry, ...], ...]  # each group is added up before a semiring sees it


class Walk(NamedTuple):
    """A path through a chain: the slot at each time (-1: passed over), by which arc it came there, and its entries."""

    slots: tuple[int, ...]
    choices: tuple[int, ...]
    entries: tuple[tuple[Entry, ...], ...]


def chain_paths(structure: Structure) -> Iterator[Enumerated]:
    """All paths through ``structure.chain()``, in an order that does not depend on the potentials' values.

    The chain's maps are read entry by entry; none of their own operations is used. What the structure itself says, its
    chain and how a path becomes an event, is taken at its word.

    Raises:
        StructureError: a map of the chain is of a kind that is not among the engine's.
    """
    walks = list(walked(structure))
    if not walks:
        return
    slots, choices = torch.tensor([w.slots for w in walks]), torch.tensor([w.choices for w in walks])
    events = structure.event(Path(slots, choices))
    values = _Values(structure)
    for walk, event in zip(walks, events.tolist(), strict=True):
        # An arc that no potential weighs is no log-weight of 0: to a width that would be a limit.
        yield event, [values.sum(g) for g in walk.entries if any(map(values.weighed, g)) or values.score(g) != 0]


def prefix_vectors(structure: Structure) -> list[list[list[float]]]:
    """For each time ``0 .. T`` and slot, the log-weights of all walks that have got there."""
    values = _Values(structure)
    chain, found = values.chain, []
    for time in range(chain.length + 1):
        slots = range(chain.steps.slots)
        found.append([[sum(values.score(g) for g in w.entries) for w in _back(values, time, s)] for s in slots])
    return found


def walked(structure: Structure) -> Iterator[Walk]:
    """Walks to the end. What a constant of ``-inf`` forbids is no path."""
    values = _Values(structure)
    chain = values.chain
    length = chain.length if chain.lengths is None else int(chain.lengths)
    beyond = chain.length - length
    for slot in range(chain.steps.slots):
        ends = tuple((Entry(len(chain.start) + i, (slot,)),) for i in range(len(chain.end)))
        if all(values.exist(group) for group in ends):
            for walk in _back(values, length, slot):
                yield Walk(walk.slots + (-1,) * beyond, walk.choices + (-1,) * beyond, walk.entries + ends)


def _back(values: "_Values", time: int, slot: int) -> Iterator[Walk]:
    """All walks from the start to a slot at a time."""
    chain = values.chain
    if time == 0:
        entries = tuple((Entry(i, (slot,)),) for i in range(len(chain.start)))
        if all(values.exist(group) for group in entries):
            yield Walk((slot,), (), entries)
        return
    for arc in values.arcs(time - 1, slot):
        if arc.delay <= time:
            passed = (-1,) * (arc.delay - 1)
            for walk in _back(values, time - arc.delay, arc.slot):
                yield Walk(
                    walk.slots + passed + (slot,), walk.choices + passed + (arc.choice,), walk.entries + arc.entries
                )


def _arcs(steps: Form, t: int, slot: int, leaf: int) -> Iterator[Arc]:
    """All arcs into a slot at step ``t``; ``leaf`` is the number of the map's first leaf."""
    if isinstance(steps, Dense):
        for source in range(steps.weight.shape[-2]):
            yield Arc(source, 1, source, ((Entry(leaf, _at(steps.weight, 2, t, source, slot)),),))
    elif isinstance(steps, Diagonal):
        column = slot if steps.index is None else int(steps.index[_at(steps.index, 1, t, slot)])
        yield Arc(slot, 1, slot, ((Entry(leaf, _at(steps.weight, 1, t, column)),),))
    elif isinstance(steps, Axes):
        for joint in product(*map(range, steps.sizes)):
            before, after = list(joint), _digits(slot, steps.sizes)
            entries: list[tuple[Entry, ...]] = []
            for axis in steps.order:
                row = _number(before, steps.sizes) if steps.coupled[axis] else before[axis]
                entries.append((Entry(leaf + axis, _at(steps.weights[axis], 2, t, row, after[axis])),))
                before[axis] = after[axis]
            number = _number(joint, steps.sizes)
            yield Arc(number, 1, number, tuple(entries))
    elif isinstance(steps, Sparse):
        source_at = _at(steps.source, 2, t, slot, 0)[:-1]
        for k, code in enumerate(steps.source[source_at].tolist()):
            if code >= 0:
                entry = Entry(leaf, _at(steps.weight, 2, t, slot, k))
                yield Arc(code % steps.slots, code // steps.slots + 1, k, ((entry,),))
    elif isinstance(steps, Grid):
        row = int(steps.row[slot])
        column = t + steps.first - row
        for k, code in enumerate(steps.source[slot].tolist()):
            if code >= 0 and steps.low[slot, k] <= column < steps.high[slot, k]:
                plane = int(steps.plane[slot, k])
                at = (0,) * (steps.weight.ndim - 3) + (plane, row, column)
                entry = Entry(leaf, at, float(steps.factor[slot, k]))
                yield Arc(code % steps.slots, code // steps.slots + 1, k, () if plane < 0 else ((entry,),))
    elif isinstance(steps, Compose):
        for late in _arcs(steps.then, t, slot, leaf + len(steps.first.leaves)):
            for early in _arcs(steps.first, t, late.slot, leaf):
                yield Arc(early.slot, 1, early.choice, early.entries + late.entries)
    elif isinstance(steps, Segmental):
        yield from _segments(steps, t, slot, leaf)
    else:
        raise StructureError(
            f"check_structure: it cannot walk through a {type(steps).__name__}; it knows Dense, Diagonal, Banded, "
            f"{Arcs.__name__}, Axes, Grid, Segmental and their products. Pass paths=, a function that lists the paths."
        )


def _digits(number: int, sizes: Sequence[int]) -> list[int]:
    """A joint state, axis by axis."""
    found = []
    for size in reversed(sizes):
        found.append(number % size)
        number //= size
    return found[::-1]


def _number(digits: Sequence[int], sizes: Sequence[int]) -> int:
    """And back."""
    number = 0
    for digit, size in zip(digits, sizes, strict=True):
        number = number * size + digit
    return number


def _segments(steps: Segmental, t: int, slot: int, leaf: int) -> Iterator[Arc]:
    """Segments that end with step ``t`` in the slot's state; or in any, with a transition to the slot's state."""
    states, first = steps.states, leaf + len(steps.transition.leaves)
    ended = iter([Arc(slot, 1, -1, ())]) if slot < states else _arcs(steps.transition, t, slot - states, leaf)
    for onward in ended:
        state = onward.slot
        for d in range(min(steps.memory, t + 1)):
            parts = [Entry(first, _at(steps.duration, 2, t, d, state))]
            for frame in range(t - d, t + 1):
                parts.append(Entry(first + 1, _at(steps.emission, 1, frame + steps.memory - 1, state)))
            if steps.segment is not None:
                parts.append(Entry(first + 2, _at(steps.segment, 2, t, d, state)))
            yield Arc(states + state, d + 1, onward.choice, (tuple(parts), *onward.entries))


def _at(leaf: Tensor, rank: int, t: int, *event: int) -> tuple[int, ...]:
    """Where an entry is in a leaf that may be shared over time; batch axes of size 1 come first."""
    shared = leaf.ndim > rank and leaf.shape[-1 - rank] == 1
    return (0,) * (leaf.ndim - rank - 1) + (0 if shared else t, *event)


class _Values:
    """The numbers in the leaves of a structure's chain, and which of them are constants."""

    def __init__(self, structure: Structure) -> None:
        self.chain = structure.chain()
        self.leaves = [x.tolist() for x in self.chain.leaves]
        self.numbers = [None if s is None or s.number is None else s.number.tolist() for s in numbered(structure)]
        self.known: dict[tuple[int, int], list[Arc]] = {}

    def arcs(self, t: int, slot: int) -> list[Arc]:
        """All arcs into a slot at a step that no constant of ``-inf`` forbids."""
        if (t, slot) not in self.known:
            every = _arcs(self.chain.steps, t, slot, len(self.chain.start) + len(self.chain.end))
            self.known[t, slot] = [arc for arc in every if all(map(self.exist, arc.entries))]
        return self.known[t, slot]

    def read(self, entry: Entry) -> float:
        """One of them."""
        value: Any = self.leaves[entry.leaf]
        for i in entry.at:
            value = value[i]
        if not entry.factor:  # what is forbidden stays so, even if it counts 0 times
            return 0.0 if math.isfinite(value) else -math.inf
        return entry.factor * float(value)

    def weighed(self, entry: Entry) -> bool:
        """Whether it is a potential's, and no constant."""
        number: Any = self.numbers[entry.leaf]
        for i in entry.at if number is not None else ():
            number = number[i]
        return number is None or number >= 0

    def sum(self, group: tuple[Entry, ...]) -> Weight:
        """A group, as a log-weight: a number, or a tuple that is added up."""
        return self.read(group[0]) if len(group) == 1 else tuple(self.read(e) for e in group)

    def exist(self, group: tuple[Entry, ...]) -> bool:
        """None of them is a constant of ``-inf``."""
        return all(self.weighed(e) or self.read(e) > -math.inf for e in group)

    def score(self, group: tuple[Entry, ...]) -> float:
        """The sum of a group."""
        return sum(self.read(e) for e in group)

"""Slots times states: the topology of a chain whose paths are read by an automaton."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from semihmm.automata import Automaton
from semihmm.engine.maps.form import remembered
from semihmm.engine.maps.sparse import incoming

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Table:
    """An array that may be the argument of what is remembered: equal if its numbers were the same at first."""

    numbers: npt.NDArray[Any]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        return self.numbers.shape, self.numbers.tobytes()


class Product(NamedTuple):
    """Pairs of a slot and a state of the automaton, and the arcs between them.

    Attributes:
        slot: of each pair, ``(P,)``.
        state: of each pair, ``(P,)``: what the automaton is in once the slot was read.
        source: where the arcs into each pair come from, ``(T or 1, P, K)``: ``(delay - 1) * P + pair``, -1 for none.
        arc: which arcs of the chain those are, ``(T or 1, P, K)``: ``slot * (arcs into a slot) + number``.
        used: which pairs each sequence has, ``(sequences, P)``.
        arcs: the most arcs of a step.
    """

    slot: Integers
    state: Integers
    source: Integers
    arc: Integers
    used: Flags
    arcs: int


@remembered
def product(arcs: Table | int, labels: Table, of_arcs: bool, first: bool, automaton: Automaton) -> Product:
    """Pairs that a path can get to, and come from to where the automaton accepts; only arcs between those.

    The arcs of a batch are those of any sequence; which of them one has follows from its labels and pairs.

    Args:
        arcs: where the arcs into each slot come from, ``(T or 1, N, K)``, as a `Sparse` has it; N for all arcs.
        labels: of slots ``(sequences, N)``, or of arcs ``(T or 1, N, K)``.
        of_arcs: whether labels are of arcs.
        first: whether the slot that a path begins in says something, too.
    """
    source = np.broadcast_to(np.arange(arcs), (1, arcs, arcs)) if isinstance(arcs, int) else arcs.numbers
    (steps, slots, width), states = source.shape, len(automaton.next)
    step, after, number = np.nonzero(source >= 0)
    before, delay = source[step, after, number] % slots, source[step, after, number] // slots
    said = labels.numbers[step, after, number][None] if of_arcs else labels.numbers[:, after]
    begin = automaton.moves[automaton.start, labels.numbers] if first else np.zeros((1, slots), np.int64)
    (arc, state, reached), used = _useful(_Arcs(step, before, after), steps, said, begin, automaton)
    pairs = np.flatnonzero(used.any(0))
    if not len(pairs):  # no path at all
        pairs = np.zeros(1, np.int64)
    begun = np.searchsorted(pairs, before[arc] * states + state) + delay[arc] * len(pairs)
    entered = step[arc] * len(pairs) + np.searchsorted(pairs, after[arc] * states + reached)
    entry = incoming(torch.from_numpy(entered[None]), steps * len(pairs)).numpy().reshape(steps, len(pairs), -1)
    begun, taken = (np.append(x, -1)[entry] for x in (begun, after[arc] * width + number[arc]))  # entry -1: the last
    most = int((entry >= 0).sum((1, 2)).max(initial=0))
    return Product(pairs // states, pairs % states, begun, taken, used[:, pairs], most)


class _Arcs(NamedTuple):
    """Of each arc of a chain its step, and the slots that it leaves and enters."""

    step: Integers
    before: Integers
    after: Integers


def _useful(
    arcs: _Arcs, steps: int, said: Integers, begin: Integers, automaton: Automaton
) -> tuple[tuple[Integers, Integers, Integers], Flags]:
    """Arcs between pairs on some way from where a path may begin to where the automaton accepts.

    Args:
        steps: how many there are that differ; 1 where all are alike.
        said: the label of each arc, ``(sequences, arcs)``.
        begin: the state in which each slot would be the first, ``(sequences or 1, slots)``.
    Returns:
        The arc, the state before and the state after; which pairs each sequence has, ``(sequences, slots * states)``.
    """
    states, (sequences, slots) = len(automaton.next), (len(said), begin.shape[1])
    after = automaton.moves[np.arange(states), said[..., None]]  # by each arc from each state
    sequence, arc, state = np.nonzero(after >= 0)
    after = after[sequence, arc, state]
    layers = steps + 1 if steps > 1 else 1  # one for each time, where arcs differ over time

    def node(time: Integers, slot: Integers, state: Integers) -> Integers:
        found: Integers = ((sequence * layers + time % layers) * slots + slot) * states + state
        return found

    tail = node(arcs.step[arc], arcs.before[arc], state)
    head = node(arcs.step[arc] + 1, arcs.after[arc], after)
    starts = np.zeros((sequences, layers, slots, states), bool)
    starts[:, 0] = begin[..., None] == np.arange(states)
    forward = _reached(starts.reshape(-1), tail, head)
    ends = np.tile(automaton.accepting, sequences * layers * slots)
    useful = _reached(forward & ends, head, tail) & forward
    kept = useful[tail] & useful[head]
    code = np.unique((arc[kept] * states + state[kept]) * states + after[kept])  # those of any sequence
    used: Flags = np.any(useful.reshape(sequences, layers, -1), 1)
    return (code // states**2, code // states % states, code % states), used


def _reached(nodes: Flags, tail: Integers, head: Integers) -> Flags:
    """Which nodes arcs lead to from some nodes, and these."""
    order = np.argsort(tail, kind="stable")
    begin = np.searchsorted(tail[order], np.arange(len(nodes) + 1))
    found, latest = nodes.copy(), np.flatnonzero(nodes)
    while len(latest):
        count = begin[latest + 1] - begin[latest]
        skipped = np.repeat(begin[latest] - np.cumsum(count) + count, count)
        onward = head[order[skipped + np.arange(count.sum())]]
        latest = np.unique(onward[~found[onward]])
        found[latest] = True
    return found


def gathered(weight: Tensor, arc: Tensor) -> Tensor:
    """The weights ``(..., T or 1, N, K)`` of arcs ``(T or 1, P, K')``; ``-inf`` where there is none."""
    flat, at = weight.flatten(-2), arc.clamp(min=0)
    if len(at) == 1:
        found = flat.index_select(-1, at.flatten())
    else:
        flat = flat.expand(*flat.shape[:-2], len(at), -1)
        found = flat.gather(-1, at.flatten(-2).expand(*flat.shape[:-1], -1))
    table: Tensor = found.unflatten(-1, at.shape[-2:])
    return table.masked_fill(arc < 0, -torch.inf)

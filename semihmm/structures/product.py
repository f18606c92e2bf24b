"""Slots times states: the topology of a chain whose paths are read by an automaton."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from semihmm.automata import Automaton
from semihmm.engine.maps.form import remembered
from semihmm.engine.maps.sparse import incoming

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Table:
    """An array that may be the argument of what is remembered."""

    numbers: npt.NDArray[Any]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.numbers.shape, self.numbers.tobytes()


class Product(NamedTuple):
    """Pairs of a slot and a state of the automaton, and the arcs between them.

    Attributes:
        slot: of each pair, ``(P,)``.
        state: of each pair, ``(P,)``: what the automaton is in once the slot was read.
        source: where the arcs into each pair come from, ``(T or 1, P, K)``: ``(delay - 1) * P + pair``, -1 for none.
        arc: which arcs of the chain those are, ``(T or 1, P, K)``: ``slot * (arcs into a slot) + number``.
        arcs: the most arcs of a step.
    """

    slot: Integers
    state: Integers
    source: Integers
    arc: Integers
    arcs: int


@remembered
def product(arcs: Table | int, labels: Table, of_arcs: bool, first: bool, automaton: Automaton) -> Product:
    """Pairs that a path can get to, and come from to where the automaton accepts; only arcs between those.

    Args:
        arcs: where the arcs into each slot come from, ``(T or 1, N, K)``, as a `Sparse` has it; N for all arcs.
        labels: of slots ``(sequences, N)``, or of arcs ``(T or 1, N, K)``. An arc that leads one sequence to another
            state than the next is an arc for each of these states: `allowed` says whose.
        of_arcs: whether labels are of arcs.
        first: whether the slot that a path begins in says something, too.
    """
    source = np.broadcast_to(np.arange(arcs), (1, arcs, arcs)) if isinstance(arcs, int) else arcs.numbers
    (steps, slots, width), moves, states = source.shape, automaton.moves, len(automaton.next)
    step, after, number = np.nonzero(source >= 0)
    before, delay = source[step, after, number] % slots, source[step, after, number] // slots
    said = labels.numbers[step, after, number][None] if of_arcs else labels.numbers[:, after]  # (sequences, arcs)
    arc, said = _distinct(said, automaton.labels + 1)
    # Each arc from each state: (arc, state) pairs, one after the other.
    arc, state = np.repeat(arc, states), np.tile(np.arange(states), len(arc))
    reached = moves[state, np.repeat(said, states)]
    arc, state, reached = np.unique(np.stack([arc, state, reached])[:, reached >= 0], axis=1)
    starts = _starts(labels.numbers if first else None, slots, automaton)
    layers = steps + 1 if steps > 1 else 1  # at each time, where arcs differ over time

    def node(time: Integers, slot: Integers, state: Integers) -> Integers:
        return ((time % layers) * slots + slot) * states + state

    tail = node(step[arc], before[arc], state)
    head = node(step[arc] + 1, after[arc], reached)
    size = layers * slots * states
    ends = np.tile(np.repeat(automaton.accepting[None], slots, 0).reshape(-1), layers)
    forward = _reached(np.flatnonzero(starts), tail, head, size)
    useful = _reached(np.flatnonzero(ends & forward), head, tail, size) & forward
    kept = useful[tail] & useful[head]
    arc, state, reached = arc[kept], state[kept], reached[kept]
    pairs = np.flatnonzero(useful.reshape(layers, -1).any(0))
    if not len(pairs):  # no path at all
        pairs = np.zeros(1, np.int64)
    order = np.lexsort((state, number[arc]))
    arc, state, reached = arc[order], state[order], reached[order]
    begun = np.searchsorted(pairs, before[arc] * states + state) + delay[arc] * len(pairs)
    entered = step[arc] * len(pairs) + np.searchsorted(pairs, after[arc] * states + reached)
    entry = incoming(torch.from_numpy(entered[None]), steps * len(pairs)).numpy().reshape(steps, len(pairs), -1)
    absent, at = entry < 0, entry.clip(min=0)
    begun, taken = (np.append(x, 0)[at] for x in (begun, after[arc] * width + number[arc]))
    return Product(
        pairs // states,
        pairs % states,
        np.where(absent, -1, begun),
        np.where(absent, -1, taken),
        int((~absent).sum((1, 2)).max(initial=0)),
    )


def _distinct(said: Integers, labels: int) -> tuple[Integers, Integers]:
    """Arcs and labels ``(sequences, arcs)`` as pairs of both, each once, in order of the arcs."""
    code = np.unique(np.arange(said.shape[1]) * labels + said % labels)  # -1 is the last one
    return code // labels, code % labels


def _starts(labels: Integers | None, slots: int, automaton: Automaton) -> npt.NDArray[np.bool_]:
    """In which pairs of a slot and a state a path may begin, one after the other."""
    found = np.zeros((slots, len(automaton.next)), bool)
    if labels is None:
        found[:, automaton.start] = True
    else:
        state = automaton.moves[automaton.start, labels]
        slot = np.broadcast_to(np.arange(slots), state.shape)
        found[slot[state >= 0], state[state >= 0]] = True
    return found.reshape(-1)


def _reached(nodes: Integers, tail: Integers, head: Integers, size: int) -> npt.NDArray[np.bool_]:
    """Which nodes arcs lead to from some nodes, and these."""
    order = np.argsort(tail, kind="stable")
    begin = np.searchsorted(tail[order], np.arange(size + 1))
    found = np.zeros(size, bool)
    while len(nodes):
        found[nodes] = True
        count = begin[nodes + 1] - begin[nodes]
        skipped = np.repeat(begin[nodes] - np.cumsum(count) + count, count)
        onward = head[order[skipped + np.arange(count.sum())]]
        nodes = np.unique(onward[~found[onward]])
    return found


def gathered(weight: Tensor, arc: Tensor) -> Tensor:
    """The weights ``(..., T or 1, N, K)`` of arcs ``(T or 1, P, K')``; ``-inf`` where there is none."""
    flat, at = weight.flatten(-2), arc.clamp(min=0)
    if len(at) == 1:
        found = flat.index_select(-1, at.flatten())
    else:
        flat = flat.expand(*flat.shape[:-2], len(at), -1)
        found = flat.gather(-1, at.flatten(-2).expand(*flat.shape[:-1], -1))
    return found.unflatten(-1, at.shape[-2:]).masked_fill(arc < 0, -torch.inf)

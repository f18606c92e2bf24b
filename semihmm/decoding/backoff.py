"""Deterministic weighted automata with backoff arcs: what a label sequence weighs by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

NONE = -1


@dataclass(frozen=True, eq=False)
class Backoff:
    """An automaton that reads symbols one by one. States are numbers, weights are in nats.

    A symbol for which a state has no arc is read by the state that it backs off to, for the weight of that arc (Katz
    1987; Aho & Corasick 1975). Where a state backs off to none, ``other`` takes the symbol, or nobody does.

    Args:
        arcs: of each state, the state behind a symbol and the weight of going there.
        backoff: of each state, one before it, or -1.
        backoff_weight: of each state.
        final: the weight of ending in each state.
        start: where a sequence begins.
        other: the state behind a symbol that nobody knows, and its weight; -1 where such a symbol is refused.
    """

    arcs: Sequence[Mapping[int, tuple[int, float]]]
    backoff: Sequence[int]
    backoff_weight: Sequence[float]
    final: Sequence[float]
    start: int = 0
    other: tuple[int, float] = (NONE, 0.0)

    def step(self, state: int, symbol: int) -> tuple[int, float]:
        """The state behind a symbol, -1 if it is refused, and the weight of going there.

        Example:
            >>> counter = Backoff([{7: (0, 1.5)}], [-1], [0.0], [0.0], other=(0, 0.0))  # 1.5 for every 7
            >>> counter.step(0, 7), counter.step(0, 8)
            ((0, 1.5), (0, 0.0))
        """
        weight = 0.0
        while state != NONE:
            found = self.arcs[state].get(symbol)
            if found is not None:
                return found[0], weight + found[1]
            if self.backoff[state] != NONE:
                weight += self.backoff_weight[state]
            state = self.backoff[state]
        return self.other[0], weight + self.other[1]

    def most(self) -> float:
        """The greatest weight of a step."""
        most: list[float] = []
        unknown = self.other[1] if self.other[0] != NONE else -math.inf
        for arcs, before, weight in zip(self.arcs, self.backoff, self.backoff_weight, strict=True):
            beyond = unknown if before == NONE else weight + most[before]
            most.append(max(beyond, *(w for _, w in arcs.values()), -math.inf))
        return max(most)

    def tables(self) -> tuple[Any, ...]:
        """As the compiled search reads it: see ``csrc/decoding_module.hpp``."""
        rows = [sorted((symbol, *arc) for symbol, arc in arcs.items()) for arcs in self.arcs]
        arcs = [arc for row in rows for arc in row]
        first = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
        symbol, after = (torch.tensor([arc[i] for arc in arcs], dtype=torch.int64) for i in (0, 1))
        weight = torch.tensor([arc[2] for arc in arcs], dtype=torch.float64)
        backoff = torch.tensor(self.backoff, dtype=torch.int64)
        backoff_weight, final = (torch.tensor(x, dtype=torch.float64) for x in (self.backoff_weight, self.final))
        return first, symbol, after, weight, backoff, backoff_weight, final, self.start, *self.other


def constant(weight: float) -> Backoff:
    """The same weight for every symbol.

    Example:
        >>> constant(0.5).step(0, 3)
        (0, 0.5)
    """
    return Backoff([{}], [NONE], [0.0], [0.0], other=(0, weight))

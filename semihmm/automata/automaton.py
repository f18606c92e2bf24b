"""Deterministic automata over labels: one way at most to read a sequence, so that no path is counted twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from semihmm.errors import StructureError

MOST = 10_000  # states that are looked at while an automaton is made
REFUSED = -1

State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True, eq=False, repr=False)
class Automaton:
    """A deterministic automaton over labels ``0 .. L - 1``. It is kept minimal, its states numbered as they are met.

    So two automata that accept the same sequences are equal.

    Args:
        next: the state after each label in each state, integers ``(Q, L)``; -1 where the label is refused.
        accepting: in which states a sequence may end, bool ``(Q,)``.
        start: the state in which a sequence begins; 0 once it is made.

    Example:
        >>> even = semihmm.automata.Automaton([[0, 1], [1, 0]], [True, False])  # an even number of 1s
        >>> even.accepts([1, 0, 1]), even.accepts([1, 0])
        (True, False)

    Raises:
        StructureError: tables that do not fit together.
    """

    next: Any
    accepting: Any
    start: int = 0

    def __post_init__(self) -> None:
        after, accepting = np.asarray(self.next, np.int64), np.asarray(self.accepting, bool)
        states = len(after)
        if after.ndim != 2 or accepting.shape != (states,) or not 0 <= self.start < states:
            raise StructureError(
                "Automaton: next must be integers (Q, L), accepting bool (Q,) and start one of the Q states, got "
                f"{after.shape}, {accepting.shape} and {self.start}."
            )
        if after.size and not REFUSED <= after.min() <= after.max() < states:
            raise StructureError(
                f"Automaton: next must hold states from 0 to {states - 1} (-1: refused), got {after.min()} to "
                f"{after.max()}."
            )
        after, accepting = _minimal(after, accepting, self.start)
        for table in (after, accepting):
            table.flags.writeable = False
        self.__dict__.update(next=after, accepting=accepting, start=0)

    @property
    def labels(self) -> int:
        """How many labels there are, L."""
        return len(self.next[0])

    def accepts(self, sequence: Sequence[int]) -> bool:
        """Whether a sequence of labels is accepted."""
        state = self.start
        for x in sequence:
            state = int(self.next[state, x])
            if state == REFUSED:
                return False
        return bool(self.accepting[state])

    def relabelled(self, labels: Sequence[int]) -> Automaton:
        """The automaton that reads ``labels[x]`` where ``x`` is said, and nothing where that is -1."""
        return Automaton(self.moves[:-1, np.asarray(labels, np.int64)], self.accepting)

    @cached_property
    def moves(self) -> npt.NDArray[np.int64]:
        """`next` with a last column, where nothing is said, and a last row, of what was refused: ``(Q + 1, L + 1)``."""
        moves = np.concatenate([self.next, np.arange(len(self.next))[:, None]], 1)
        return np.concatenate([moves, np.full_like(moves[:1], REFUSED)])

    def __and__(self, other: Automaton) -> Automaton:
        return combined(self, other, lambda a, b: a and b)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Automaton) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        return self.next.shape, self.next.tobytes(), self.accepting.tobytes()

    def __repr__(self) -> str:
        return f"Automaton({len(self.next)} states, {self.labels} labels)"


def explored(
    labels: int, start: State, step: Callable[[State, int], State | None], accepts: Callable[[State], bool]
) -> Automaton:
    """The automaton whose states are met from ``start`` on, step by step.

    Args:
        step: the state after a label; None where that is refused.

    Raises:
        StructureError: there are more than 10,000 states.
    """
    number, met, rows = {start: 0}, [start], []
    for state in met:  # which grows
        row = []
        for x in range(labels):
            after = step(state, x)
            if after is not None and after not in number:
                if len(met) == MOST:
                    raise StructureError(
                        f"automata: this one has more than {MOST:,} states before it is minimal. Count to less, or "
                        "say it by fewer labels (constrain's labels=)."
                    )
                number[after] = len(met)
                met.append(after)
            row.append(REFUSED if after is None else number[after])
        rows.append(row)
    return Automaton(np.array(rows, np.int64).reshape(len(met), labels), np.array([accepts(s) for s in met]))


def combined(a: Automaton, b: Automaton, accept: Callable[[bool, bool], bool]) -> Automaton:
    """Accepts what ``accept(by the one, by the other)`` says of each sequence: intersection, union, difference."""

    def step(state: tuple[int, int], x: int) -> tuple[int, int]:
        return tuple(REFUSED if s == REFUSED else int(m.next[s, x]) for m, s in zip((a, b), state, strict=True))  # type: ignore[return-value]

    def accepts(state: tuple[int, int]) -> bool:
        return accept(*(s != REFUSED and bool(m.accepting[s]) for m, s in zip((a, b), state, strict=True)))

    return explored(a.labels, (a.start, b.start), step, accepts)


def in_turn(
    parts: Sequence[Automaton], onward: Sequence[Sequence[int]], last: Sequence[bool], empty: bool, labels: int
) -> Automaton:
    """Accepts what one part after the other accepts, by subset construction (Rabin & Scott 1959).

    Args:
        parts: the first one begins.
        onward: which parts may follow each.
        last: which may come last.
        empty: whether none need come.
    """
    place = tuple[int, int]  # in which part, in which of its states

    def closed(places: set[place]) -> frozenset[place]:
        open_ = list(places)
        while open_:
            i, state = open_.pop()
            following = {(j, 0) for j in onward[i]} if parts[i].accepting[state] else set()
            open_ += following - places
            places |= following
        return frozenset(places)

    def step(state: tuple[frozenset[place], bool], x: int) -> tuple[frozenset[place], bool] | None:
        after = {(i, int(parts[i].next[s, x])) for i, s in state[0] if parts[i].next[s, x] != REFUSED}
        return (closed(after), False) if after else None

    def accepts(state: tuple[frozenset[place], bool]) -> bool:
        return state[1] or any(last[i] and parts[i].accepting[s] for i, s in state[0])

    return explored(labels, (closed({(0, 0)} if parts else set()), empty), step, accepts)


def _minimal(
    after: npt.NDArray[np.int64], accepting: npt.NDArray[np.bool_], start: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Without states that nothing leads to or from, and with one for all that accept the same (Moore 1956)."""
    if after.shape[1]:  # labels that do the same everywhere are one, in the order of their first
        _, first, column = np.unique(after, axis=1, return_index=True, return_inverse=True)
        order = np.argsort(first)
        after, column = after[:, first[order]], np.argsort(order)[column.reshape(-1)]
    else:
        column = np.zeros(0, np.int64)
    useful, more = np.zeros_like(accepting), accepting
    while (useful != more).any():
        useful, more = more, more | (more[after] & (after != REFUSED)).any(1)
    after = np.where(useful[after], after, REFUSED)
    kind, count = np.unique(accepting, return_inverse=True)[1], 0
    while kind.max() + 1 != count:
        count, finer = int(kind.max()) + 1, kind
        for x in after.T:
            finer = np.unique(finer * (count + 1) + np.where(x < 0, count, kind[x]), return_inverse=True)[1]
        kind = finer
    number, met = {int(kind[start]): 0}, [start]
    rows = []
    for state in met:  # which grows
        for other in after[state]:
            if other != REFUSED and int(kind[other]) not in number:
                number[int(kind[other])] = len(met)
                met.append(int(other))
        rows.append([REFUSED if other == REFUSED else number[int(kind[other])] for other in after[state]])
    return np.array(rows, np.int64).reshape(len(met), -1)[:, column], accepting[met]

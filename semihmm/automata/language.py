"""Languages: regular expressions over labels, which become automata once it is known how many labels there are."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import index, or_
from typing import Any, NamedTuple

import numpy as np

from semihmm.automata.automaton import Automaton, combined, explored, in_turn
from semihmm.errors import StructureError


class Alphabet(NamedTuple):
    """The labels that a language tells apart, numbered from 0; all others are one more, the last one."""

    size: int
    number: Mapping[int, int]


@dataclass(frozen=True, eq=False)
class Language:
    """Sequences of labels that are allowed, as a regular expression says it: `label` and `any_label`, put together.

    ``a + b`` is a, then b; ``a | b`` either, ``a & b`` both, ``~a`` all but those of a.

    Args:
        mentions: the labels that it tells apart; None for all.
        build: its automaton over an alphabet.

    Example:
        >>> from semihmm.automata import any_label, label
        >>> silence, word = label(0), label(1, 2)
        >>> spoken = silence + (word.repeat(1) + silence).repeat(1)
        >>> [spoken.automaton(3).accepts(x) for x in ([0, 1, 2, 0], [0, 1, 1], [0])]
        [True, False, False]
        >>> (any_label.star() & ~spoken).automaton(3).accepts([0])
        True
    """

    mentions: frozenset[int] | None
    build: Callable[[Alphabet], Automaton]

    def automaton(self, labels: int) -> Automaton:
        """The minimal automaton over labels ``0 .. labels - 1``.

        Raises:
            StructureError: the language mentions a label that is not there; there are more than 10,000 states.
        """
        if not isinstance(labels, int):
            raise StructureError(f"automaton: labels is how many there are, an integer, got {labels!r}.")
        return _automaton(self, labels)

    def __add__(self, other: Language) -> Language:
        return self._with(other, lambda a, b, size: in_turn([a, b], [[1], []], [False, True], False, size))

    def __or__(self, other: Language) -> Language:
        return self._with(other, lambda a, b, size: combined(a, b, or_))

    def __and__(self, other: Language) -> Language:
        return self._with(other, lambda a, b, size: a & b)

    def __invert__(self) -> Language:
        return self._with(self, lambda a, b, size: combined(a, b, lambda accepted, _: not accepted))

    def star(self) -> Language:
        """Any number of times, not at all included."""
        return self.repeat()

    def repeat(self, least: int = 0, most: int | None = None) -> Language:
        """One after the other, from ``least`` to ``most`` times; None for any number."""
        if not isinstance(least, int) or not isinstance(most, int | None):
            raise StructureError(f"repeat: least and most must be integers, got {least!r} and {most!r}.")
        if least < 0 or (most is not None and most < least):
            raise StructureError(
                f"repeat: a language comes from 0 times on, and from least to most, got {least}, {most}."
            )
        count = max(least, 1) if most is None else most
        onward = [[i + 1] for i in range(count - 1)] + [[count - 1] if most is None else []]
        last = [i + 1 >= least for i in range(count)]
        return Language(self.mentions, lambda at: in_turn([self.build(at)] * count, onward, last, least == 0, at.size))

    def _with(self, other: Language, make: Callable[[Automaton, Automaton, int], Automaton]) -> Language:
        """What two languages make over an alphabet that tells apart what either does."""
        if not isinstance(other, Language):
            raise StructureError(
                f"automata: a language is put together with another one, got {other!r}. A label? Write label(1)."
            )
        mentions = None if self.mentions is None or other.mentions is None else self.mentions | other.mentions
        return Language(mentions, lambda at: make(self.build(at), other.build(at), at.size))


@lru_cache(maxsize=64)
def _automaton(language: Language, labels: int) -> Automaton:
    told = list(range(labels)) if language.mentions is None else sorted(language.mentions)
    unknown = [x for x in told if not 0 <= x < labels]
    if unknown:
        raise StructureError(
            f"automata: labels are numbered from 0 to {labels - 1} here, so there is no {', '.join(map(str, unknown))}."
        )
    small = language.build(Alphabet(len(told) + (len(told) < labels), {x: i for i, x in enumerate(told)}))
    column = np.full(labels, len(told))
    column[told] = np.arange(len(told))
    return Automaton(small.next[:, column], small.accepting)


def label(*labels: int) -> Language:
    """The sequences of one label, any of these.

    Example:
        >>> (semihmm.automata.label(0, 2) + semihmm.automata.label(1)).automaton(3).accepts([2, 1])
        True
    """
    told = numbers_of("label", labels)
    return _one(frozenset(told), lambda at: {at.number[x] for x in told})


def numbers_of(owner: str, labels: Iterable[Any]) -> tuple[int, ...]:
    """Labels of any integer type as ints; anything else is refused."""
    try:
        return tuple([index(x) for x in labels])
    except TypeError as error:
        raise StructureError(
            f"{owner}: labels and counts are integers, one by one, got {', '.join(map(repr, labels))}."
        ) from error


def _one(mentions: frozenset[int], which: Callable[[Alphabet], set[int]]) -> Language:
    def build(at: Alphabet) -> Automaton:
        fits = which(at)
        return Automaton(np.array([[1 if x in fits else -1 for x in range(at.size)], [-1] * at.size]), [False, True])

    return Language(mentions, build)


any_label = _one(frozenset(), lambda at: set(range(at.size)))


def stepwise(
    mentions: Iterable[int] | None,
    start: Hashable,
    step: Callable[[Any, int | None], Hashable | None],
    accepts: Callable[[Any], bool] = lambda state: True,
) -> Language:
    """A language by its states: what each becomes by a label that is mentioned, or by any other, which is None."""

    def build(at: Alphabet) -> Automaton:
        name = {number: x for x, number in at.number.items() if told is None or x in told}
        return explored(at.size, start, lambda state, x: step(state, name.get(x)), accepts)

    told = None if mentions is None else frozenset(mentions)
    return Language(told, build)


def from_networkx(
    graph: Any, start: Iterable[Hashable], accepting: Iterable[Hashable], label: str = "label"
) -> Language:
    """The language of a networkx DiGraph or MultiDiGraph: the labels along its walks from a start to an accepting node.

    Args:
        label: the edge attribute that holds an edge's label, or several of them; an edge without it goes by any.

    Example:
        >>> import networkx
        >>> graph = networkx.DiGraph([("a", "b", {"label": 1}), ("b", "b"), ("b", "c", {"label": (0, 1)})])
        >>> language = semihmm.automata.from_networkx(graph, start=["a"], accepting=["c"])
        >>> [language.automaton(3).accepts(x) for x in ([1, 0], [1, 2, 2, 1], [1, 2])]
        [True, True, False]

    Raises:
        StructureError: the graph is not directed, or has no such node.
    """
    begin, end = frozenset(start), frozenset(accepting)
    missing = [v for v in (*begin, *end) if v not in graph]
    if not graph.is_directed() or missing:
        raise StructureError(
            f"from_networkx: a graph must be directed and have the nodes that start and accept, got {graph}"
            + (f" without {', '.join(map(str, missing))}." if missing else ". Make it a DiGraph.")
        )
    out: dict[Hashable, list[tuple[Hashable, frozenset[int] | None]]] = {v: [] for v in graph}
    for u, v, said in graph.edges(data=label):
        out[u].append((v, None if said is None else frozenset(said if isinstance(said, Iterable) else [said])))

    def step(state: frozenset[Hashable], x: int | None) -> frozenset[Hashable] | None:
        return frozenset(v for u in state for v, said in out[u] if said is None or x in said) or None

    mentions = frozenset[int]().union(*(said for edges in out.values() for _, said in edges if said))
    return stepwise(mentions, begin, step, lambda state: not end.isdisjoint(state))

"""Copies of a phone between its neighbours: what a graph of phones in context is made of."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from semihmm.speech.acoustics.contexts import BEGIN, END, INSIDE, SINGLE
from semihmm.speech.acoustics.model import AcousticModel

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Copy:
    """A phone at one place of a graph, between some of its neighbours.

    Args:
        before: phones that it may follow.
        after: phones that may follow it.
        columns: of its states.
    """

    before: Collection[int]
    after: Collection[int]
    columns: Sequence[int]


def copies(
    model: AcousticModel, phone: int, position: int, before: Collection[int], after: Collection[int]
) -> list[Copy]:
    """The copies of a phone that its neighbours make: no two have the same columns and could be one.

    Args:
        model: the acoustic model; phones are its numbers, and one more is free speech.
        phone: which.
        position: in its word.
        before: all phones that it may follow; silence where it may be the first.
        after: all that may follow it.
    """
    states = model.states
    if model.contexts is None:
        return [Copy(before, after, range(phone * states, (phone + 1) * states))]
    if phone == len(model.phones):
        return [Copy(before, after, range(model.columns, model.columns + states))]
    table, lefts = model.contexts.table.numpy()[position, :, phone], sorted(before)
    of_right = ((right, tuple(tuple(table[left, right].tolist()) for left in lefts)) for right in sorted(after))
    return [
        Copy(some, rights, columns)
        for of_lefts, rights in _alike(of_right).items()
        for columns, some in _alike(zip(lefts, of_lefts, strict=True)).items()
    ]


def positions(phones: int) -> list[int]:
    """Where in a word each of its phones stands."""
    return [SINGLE] if phones == 1 else [BEGIN, *[INSIDE] * (phones - 2), END] if phones else []


def _alike(near: Iterable[tuple[int, _Value]]) -> dict[_Value, list[int]]:
    """Numbers with the same value, together."""
    found: dict[_Value, list[int]] = {}
    for number, value in near:
        found.setdefault(value, []).append(number)
    return found

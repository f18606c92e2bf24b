"""Which transitions there are between the states of an HMM or HSMM: all, listed arcs, or those of a few distances."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from semihmm.engine import Arcs, Banded, Dense
from semihmm.engine.maps import Sparse
from semihmm.engine.maps.form import as_index, check_range, check_shared, remembered_for
from semihmm.engine.tracing import numbers
from semihmm.errors import ShapeError
from semihmm.structures.authoring import tensor_of, whole_numbers


class Moving(Protocol):
    """A structure with transitions between S states."""

    @property
    def states(self) -> int:
        """S."""
        ...

    @property
    def arcs(self) -> tuple[Tensor, Tensor] | None:
        """``(source, target)``, integers ``(A,)`` each: the only transitions there are; None for no such list."""
        ...

    @property
    def offsets(self) -> tuple[int, ...] | None:
        """The only distances there are between a state and the next; None for any."""
        ...


def settle_transitions(structure: Moving) -> None:
    """Check the fields that say which transitions there are, and make of them what they are later taken for."""
    owner = type(structure).__name__
    if structure.arcs is not None and structure.offsets is not None:
        raise ShapeError(f"{owner}: give arcs or offsets, not both: each says which transitions there are.")
    if structure.offsets is not None:
        offsets = whole_numbers(owner, "offsets", structure.offsets)
        object.__setattr__(structure, "offsets", offsets)
        if len(set(offsets)) != len(offsets):
            raise ShapeError(f"{owner}: offsets must differ from one another, got {offsets}.")
    if structure.arcs is not None:
        source, target = (as_index(owner, "arcs", tensor_of(owner, "arcs", x)) for x in _pair(owner, structure.arcs))
        object.__setattr__(structure, "arcs", (source, target))
        _check_arcs(source, target, structure.states, owner)


def one_step(structure: Moving) -> tuple[int, ...]:
    """The axes of transitions at one step: ``(A,)`` with arcs, ``(S, K)`` with offsets, else ``(S, S)``."""
    if structure.arcs is not None:
        return (len(structure.arcs[0]),)
    return (structure.states, structure.states if structure.offsets is None else len(structure.offsets))


def moves(structure: Moving, weight: Tensor) -> Dense | Sparse:
    """The map of transitions, from their log-weights ``(..., T or 1, *one_step)``."""
    states = structure.states
    if structure.offsets is not None:
        return Banded(structure.offsets, weight)
    if structure.arcs is None:
        return Dense(weight)
    if weight.shape[-2] != 1 or not is_dense(states, weight.shape[-1]):
        return Arcs(*structure.arcs, weight, states)
    at = (structure.arcs[0] * states + structure.arcs[1]).expand_as(weight)
    matrix = weight.new_full((*weight.shape[:-1], states**2), -torch.inf).scatter(-1, at, weight)
    return Dense(matrix.unflatten(-1, (states, states)))


def _pair(owner: str, arcs: Any) -> tuple[Any, Any]:
    """Sources and targets."""
    try:
        source, target = arcs
    except (TypeError, ValueError):
        kind = type(arcs).__name__
        raise ShapeError(f"{owner}: arcs must be a pair (source, target) of integers (A,) each, got {kind}.") from None
    return source, target


@remembered_for
def _check_arcs(source: Tensor, target: Tensor, states: int, owner: str) -> None:
    """Refuse arcs that lead outside, come twice, or are no pairs."""
    for x in (source, target):
        check_shared(owner, "arcs", x)
        check_range(owner, "arcs", x, 0, states - 1, f"the {states} states")
    fits = source.shape == target.shape and source.ndim == 1
    pairs = numbers(source * states + target) if fits else None
    if not fits or (pairs is not None and len(pairs.unique()) != len(pairs)):
        raise ShapeError(
            f"{owner}: arcs must be (source, target), integers (A,) each, and none may come twice: states would not "
            "say which was taken (semihmm.Lattice allows it). "
            f"Got {tuple(source.shape)} and {tuple(target.shape)}."
        )


def is_dense(states: int, arcs: int) -> bool:
    """Whether it takes less time to go along a matrix of all arcs, most of them forbidden, than along those there are.

    As measured (benchmarks/sparse.py compares the two): between few states vectors stay in registers; else what is
    multiplied one after the other takes an eighth to a quarter of the time of what lies anywhere.
    """
    return states <= 32 or states**2 <= (8 if states <= 64 else 4) * arcs

"""Structures of their own, made one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.errors import ShapeError, StructureError
from semihmm.structures.authoring import given
from semihmm.structures.base import Structure

S = TypeVar("S", bound=Structure)


def stack(structures: Sequence[S]) -> S:
    """One batch of structures, which may be of different lengths: a new axis in front.

    Args:
        structures: of one class, with the same batch axes (none, as a rule) and the same fields given. What all of them
            hold as the same tensor, and without batch axes, stays one that all sequences share.
    Returns:
        Their batch. Shorter ones are filled up with 0, which does not count: lengths say where each ends.

    Example:
        >>> long, short = (semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(t, 2)) for t in (5, 3))
        >>> both = stack([long, short])
        >>> both.emission.shape, both.lengths.tolist()
        (torch.Size([2, 5, 2]), [5, 3])

    Raises:
        StructureError: nothing to stack; structures of different classes, or that differ in what is no tensor.
        ShapeError: sizes that differ along an axis which no lengths count, such as numbers of states.
    """
    try:
        structures = list(structures)
    except TypeError:
        structures = [structures]  # type: ignore[list-item]
    if other := [type(s).__name__ for s in structures if not isinstance(s, Structure)]:
        raise StructureError(f"stack: pass a list of structures, got {', '.join(other)}.")
    if not structures:
        raise StructureError("stack: there must be at least one structure.")
    first = structures[0]
    name = type(first).__name__
    if any(type(s) is not type(first) or s.batch_shape != first.batch_shape for s in structures):
        found = ", ".join(f"{type(s).__name__} with batch axes {tuple(s.batch_shape)}" for s in structures)
        raise StructureError(f"stack: structures must be of one class and have the same batch axes, got {found}.")
    parts: dict[str, Any] = {}
    for field in (f.name for f in fields(first)):  # type: ignore[arg-type]
        every = [getattr(s, field) for s in structures]
        if isinstance(every[0], Structure):
            parts[field] = stack(every)
        elif field in first.ragged:
            parts[field] = _lengths(structures, field)
        elif field not in first.axes or not isinstance(every[0], Tensor):
            if not all(_same(x, every[0]) for x in every):
                raise StructureError(f"stack: each {name} must have the same {field}, or all of them none.")
        elif every[0].ndim > first.axes[field] or field == first.observed or any(x is not every[0] for x in every):
            parts[field] = _stacked(structures, field)
    batch = first.holding(**parts)
    return type(first)(**{f.name: getattr(batch, f.name) for f in fields(batch) if f.init})  # type: ignore[arg-type]


def _lengths(structures: Sequence[Structure], field: str) -> Tensor | None:
    """The lengths of each; None where all are as long as the longest and nobody says less."""
    seen = next(iter(structures[0].ragged[field].items()), None)
    known = [getattr(s, field) for s in structures]
    if seen is None:
        if any(x is None for x in known):
            if all(x is None for x in known):
                return None
            raise StructureError(f"stack: {field} must be given in all structures, or in none.")
        return torch.stack(known)
    sizes = [getattr(s, seen[0]).shape[seen[1]] for s in structures]
    if all(x is None for x in known) and len(set(sizes)) == 1:
        return None
    like = structures[0].potentials[structures[0].observed]
    every = zip(structures, known, sizes, strict=True)
    return torch.stack([given(x, size, like).expand(s.batch_shape) for s, x, size in every])


def _stacked(structures: Sequence[Structure], field: str) -> Tensor:
    """The field of each, filled up to the longest along the axes that lengths count."""
    first = structures[0]
    rank, batch = first.axes[field], first.batch_shape
    every = [getattr(s, field) for s in structures]
    if not all(isinstance(x, Tensor) and s.axes[field] == rank for s, x in zip(structures, every, strict=True)):
        raise StructureError(f"stack: {type(first).__name__}.{field} must be given in all alike, or in none.")
    events = [x.shape[x.ndim - rank :] for x in every]
    counted = {axes[field] % rank for axes in first.ragged.values() if -rank <= axes.get(field, 0) < 0}
    longest = [max(sizes) for sizes in zip(*events, strict=True)]
    for event in events:
        if any(event[i] != longest[i] for i in range(rank) if i not in counted):
            raise ShapeError(
                f"stack: {type(first).__name__}.{field} must be of one size along each axis that no lengths count, got "
                f"{', '.join(str(tuple(e)) for e in events)}."
            )
    filled = []
    for x, event in zip(every, events, strict=True):
        room = [(0, most - size) for size, most in zip(event, longest, strict=True)]
        x = x.expand((*batch, *event))
        filled.append(pad(x, [n for pair in reversed(room) for n in pair]) if any(after for _, after in room) else x)
    return torch.stack(filled)


def _same(x: Any, y: Any) -> bool:
    """Whether two fields that are no tensors of a sequence say the same."""
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        return x is y or (isinstance(x, Tensor) and isinstance(y, Tensor) and torch.equal(x, y))
    if isinstance(x, tuple | list) and isinstance(y, tuple | list):
        return len(x) == len(y) and all(map(_same, x, y))
    return bool(x == y)

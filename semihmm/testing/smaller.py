"""Where to look for the smallest structure that breaks a law: shorter ones, fewer slots, plainer numbers."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from semihmm.structures import Structure

Make = Callable[[], Structure]  # raises where there is no such structure
MOST = 400  # that are tried


def smallest(structure: Structure, fails: Callable[[Structure], bool]) -> Structure:
    """The smallest structure found that still fails.

    The shortest that fails comes first; then slots and numbers go, as long as it fails without them.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.randn(3, 4, 2), lengths=[4, 3, 2])
        >>> smallest(hmm, lambda s: s.emission.shape[-2] > 1)
        HMM(initial (1,), transition (1, 1), emission (2, 1); float32)
    """
    tried = iter(range(MOST))
    found = _first(_shorter(structure), fails, tried)
    structure = structure if found is None else found
    for simpler in (_narrower, _plainer):
        while (found := _first(simpler(structure), fails, tried)) is not None:
            structure = found
    return structure


def _first(candidates: Iterator[Make], fails: Callable[[Structure], bool], tried: Iterator[int]) -> Structure | None:
    for make, _ in zip(candidates, tried, strict=False):
        try:
            structure = make()
        except Exception:  # whoever made the structure refuses this one, in whatever way
            continue
        if fails(structure):
            return structure
    return None


def cut(structure: Structure, sizes: dict[str, int], padded: bool = False) -> Structure:
    """The same structure with fewer steps along the axes that its lengths count.

    Args:
        sizes: for each field of lengths, the size of the axis that it counts first; others go along with it.
        padded: the last of them does not count.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(4, 2))
        >>> cut(hmm, {"lengths": 3}), int(cut(hmm, {"lengths": 3}, padded=True).lengths)
        (HMM(initial (2,), transition (2, 2), emission (3, 2); float32), 2)
    """
    default = {f.name: f.default for f in fields(structure)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for field, size in sizes.items():
        gone = longest(structure, field) - size
        for name, axis in structure.ragged[field].items():
            x = changes.get(name, getattr(structure, name, None))
            if isinstance(x, Tensor) and -structure.axes[name] <= axis < 0:
                changes[name] = x.narrow(axis, 0, x.shape[axis] - gone)
        if padded or default[field] is not None:
            changes[field] = torch.full(structure.batch_shape, size - padded)
        else:
            changes[field] = None
    return replace(structure, **changes)  # type: ignore[type-var]


def longest(structure: Structure, field: str) -> int:
    """The size of the axis that a field of lengths counts first."""
    name, axis = next(iter(structure.ragged[field].items()))
    return int(getattr(structure, name).shape[axis])


def counted(structure: Structure) -> list[str]:
    """Its fields of lengths that say which axes they count, of fields that there are."""
    named = {f.name for f in fields(structure)}  # type: ignore[arg-type]
    return [field for field, axes in structure.ragged.items() if axes and named.issuperset((field, *axes))]


def _shorter(structure: Structure) -> Iterator[Make]:
    """One sequence of a batch, or all; of each the shortest first."""
    names = counted(structure)
    sizes = sorted(product(*(range(1, longest(structure, n) + 1) for n in names)), key=sum)
    alone = range(structure.batch_shape.numel()) if structure.batch_shape else ()
    for size, padded, index in product(sizes, (False, True), (*alone, None)):
        yield partial(_cut, structure, index, dict(zip(names, size, strict=True)), padded)
    for index in alone:
        yield partial(_cut, structure, index, {}, False)


def _cut(structure: Structure, index: int | None, sizes: dict[str, int], padded: bool) -> Structure:
    return cut(structure if index is None else structure.unbatch()[index], sizes, padded)


def _narrower(structure: Structure) -> Iterator[Make]:
    """Without what may be left out; then all axes of one size made smaller, or one axis alone, if that can be."""
    for field in fields(structure):  # type: ignore[arg-type]
        if field.default is None and field.name not in structure.ragged and getattr(structure, field.name) is not None:
            yield partial(replace, structure, **{field.name: None})  # type: ignore[type-var]
    each = {n: x for n in structure.axes if isinstance(x := getattr(structure, n, None), Tensor)}
    time = {place for axes in structure.ragged.values() for place in axes.items()}
    places = [(n, -1 - i) for n, x in each.items() for i in range(min(structure.axes[n], x.ndim))]
    places = [place for place in places if place not in time]
    sizes = sorted({each[n].shape[axis] for n, axis in places})
    together = [[(n, axis) for n, axis in places if each[n].shape[axis] == size] for size in sizes]
    for group in (*together, *([place] for place in places)):
        name, axis = group[0]
        for size in range(1, each[name].shape[axis]):
            yield partial(_narrowed, structure, group, size)


def _narrowed(structure: Structure, places: list[tuple[str, int]], size: int) -> Structure:
    parts: dict[str, Tensor] = {}
    for name, axis in places:
        parts[name] = parts.get(name, getattr(structure, name)).narrow(axis, 0, size)
    return replace(structure, **parts)  # type: ignore[type-var]


def _plainer(structure: Structure) -> Iterator[Make]:
    """Potentials of 0, then of whole numbers, all at once or one by one; then single entries of 0 or 1."""
    given = {n: x for n, x in structure.potentials.items() if isinstance(x, Tensor)}
    finite = {n: torch.where(x.isfinite(), 0.0, x) for n, x in given.items()}
    whole = {n: x.round() + 0.0 for n, x in given.items()}
    for plain in ({n: torch.zeros_like(x) for n, x in given.items()}, finite, whole):
        for names in (tuple(given), *((n,) for n in given)):
            changed = {n: plain[n] for n in names if not torch.equal(plain[n], given[n])}
            if changed:
                yield partial(structure.replace, **changed)
    for number in (0.0, 1.0):
        for name, x in given.items():
            for at in ((x != 0) & (x != number)).nonzero().tolist():
                yield partial(structure.replace, **{name: _with(x, tuple(at), number)})


def _with(x: Tensor, at: tuple[int, ...], number: float) -> Tensor:
    changed = x.clone()
    changed[at] = number
    return changed

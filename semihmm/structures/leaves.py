"""What a structure's chain is made of: where each log-weight comes from, and the chain of a feature."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import fields
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semihmm.engine import Chain
from semihmm.engine.leaves import Source, sources, tracked
from semihmm.engine.tracing import plain
from semihmm.errors import StructureError
from semihmm.structures.base import Structure


class View(NamedTuple):
    """Where a log-weight lies in a potential, as strides of a tensor in one piece count.

    Example:
        >>> views(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2)))[1]
        View(potential='emission', shape=(2,), stride=(1,), first=0)
    """

    potential: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    first: int


class Made(NamedTuple):
    """The potentials that a log-weight is made of, in some other way than as a view of one; none for a constant.

    Example:
        >>> ctc = semihmm.CTC(torch.zeros(3, 4), torch.tensor([1, 2]))
        >>> views(ctc)[0].potentials  # all paths begin with the first blank
        frozenset()
    """

    potentials: frozenset[str]
    why: str = ""  # why its entries are no potential times a constant, if they are not


Place = View | Made | None  # None for indices and lengths


def numbered(structure: Structure, unrolled: bool = False) -> list[Source | None]:
    """Where each log-weight of a structure's chain comes from, entry by entry.

    Cost: 8 bytes for each entry of the potentials, and of the chain.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> [source.number.flatten().tolist() for source in numbered(hmm)]
        [[0, 1], [6, 7], [2, 3, 4, 5], [8, 9, 10, 11]]
    """
    with torch.inference_mode(False), torch.no_grad():  # inference mode does not know what is a view of what
        blank = {n: x if plain((x,)) else torch.zeros(x.shape, dtype=x.dtype) for n, x in structure.potentials.items()}
        given = tracked(blank)
        chain = structure.holding(**given).chain()
        return sources(chain.unrolled() if unrolled else chain, given)


def views(structure: Structure) -> list[Place]:
    """Which log-weights of a structure's chain are views of a potential, and what others are made of.

    By its form alone: class, shapes, and fields that are no tensors.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> [place.potential for place in views(hmm)]
        ['initial', 'emission', 'transition', 'emission']

    Raises:
        StructureError: a log-weight is no potential times a constant (`linear` says so of structures which know it).
    """
    form = _Form(structure)
    try:
        hash(form)
    except TypeError:  # a field that nobody can hash
        return _views.__wrapped__(form)
    return _views(form)


def chain_of(structure: Structure, feature: Structure) -> Chain:
    """A chain of the form of ``structure.chain()`` that holds a feature where that holds potentials, 0 for constants.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> ones = hmm.replace(**{name: torch.ones_like(x) for name, x in hmm.potentials.items()})
        >>> [x.sum().item() for x in chain_of(hmm, ones).leaves]
        [2.0, 2.0, 4.0, 4.0]

    Raises:
        StructureError: a log-weight is no potential times a constant, so that no feature could go with it.
    """
    chain = feature.chain()
    unknown = Made(frozenset(structure.ranks))  # Dynamo cannot look into `views`
    places: list[Place] = [unknown] * len(chain.leaves) if torch.compiler.is_compiling() else views(structure)
    leaves, nothing = [], None
    for i, (x, place) in enumerate(zip(chain.leaves, places, strict=True)):
        if isinstance(place, Made) and place.why:
            raise StructureError(
                f"{type(structure).__name__}: log-weight {i} of its chain {place.why}", see="whose-entries"
            )
        if place is None or isinstance(place, View) or not x.is_floating_point():
            leaves.append(x)
        elif not place.potentials:
            leaves.append(torch.zeros_like(x))
        else:  # a log-weight is a potential times a constant, or a constant: what it is beyond that of no potentials
            if nothing is None:
                empty = {n: torch.zeros_like(p) for n, p in feature.potentials.items()}
                nothing = feature.holding(**empty).chain().leaves
            leaves.append(torch.where(nothing[i].isfinite(), x - nothing[i], 0.0))
    return chain.rebuild(leaves)


class _Form:
    """A structure, alike if another has the same class, shapes, and fields that are no tensors."""

    def __init__(self, structure: Structure) -> None:
        self.structure: Structure | None = structure
        self.key = _form(structure)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Form) and self.key == other.key


def _form(value: Any) -> Hashable:
    if isinstance(value, Structure):
        return (type(value), *(_form(getattr(value, f.name)) for f in fields(value)))  # type: ignore[arg-type]
    if isinstance(value, Tensor):
        return (value.shape, value.dtype, value.device)
    if isinstance(value, tuple | list):
        return tuple(map(_form, value))
    return value  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def _views(form: _Form) -> list[Place]:
    structure, form.structure = form.structure, None  # what is remembered is its form
    assert structure is not None
    potentials = structure.potentials
    blank = {n: torch.zeros(x.shape, dtype=x.dtype, device=x.device) for n, x in potentials.items()}
    starts = _starts(potentials)
    try:
        given = numbered(structure.holding(**blank))
    except StructureError as error:  # it takes numbers out of sight: who needs to know where each goes is told why
        every = frozenset(structure.ranks)
        return [Made(every, f"cannot be told from others: {error}") for _ in structure.chain().leaves]
    found: list[Place] = []
    for source in given:
        if source is None or not source.is_view:
            found.append(None if source is None else Made(source.potentials, _why(source)))
            continue
        x, (owner,) = source.number, source.potentials
        assert x is not None
        found.append(View(owner, tuple(x.shape), x.stride(), int(x.storage_offset()) - starts[owner]))
    return found


def _why(source: Source) -> str:
    if source.number is not None:
        return ""
    return (
        f"mixes several potentials, or entries of one ({', '.join(sorted(source.potentials))}), so nobody can tell "
        "whose share is whose. Give each potential a map or a factor of its own: a chain multiplies them anyway."
    )


def _starts(potentials: Mapping[str, Tensor]) -> dict[str, int]:
    """The number of each potential's first entry."""
    starts, start = {}, 0
    for name, x in potentials.items():
        starts[name] = start
        start += x.numel()
    return starts


def event_axes(chain: Chain, leaf: int) -> int:
    """How many axes of a leaf are an event's.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> [event_axes(hmm.chain(), leaf) for leaf in range(4)]
        [1, 1, 2, 1]
    """
    borders = len(chain.start) + len(chain.end)
    return 1 if leaf < borders else chain.steps.ranks[leaf - borders]


@lru_cache(maxsize=1024)
def disjoint(views: tuple[View, ...], events: tuple[int, ...], batch: torch.Size) -> bool:
    """Whether no two views share an entry, each has all batch axes or shares all, and events lie in one piece.

    Example:
        >>> one, other = View("x", (2,), (1,), 0), View("x", (2,), (1,), 2)
        >>> disjoint((one, other), (1, 1), torch.Size()), disjoint((one, one), (1, 1), torch.Size())
        (True, False)
    """
    pieces = []
    for (_, shape, stride, first), event in zip(views, events, strict=True):
        axes = len(batch)
        own = shape[:axes] == batch or shape[:axes] == (1,) * axes
        if not own or any(s == 0 and n > 1 for n, s in zip(shape, stride, strict=True)):
            return False
        size = 1
        for n, s in zip(reversed(shape[-event:]), reversed(stride[-event:]), strict=True):
            if n > 1 and s != size:
                return False
            size *= n
        reach = sum((n - 1) * s for n, s in zip(shape[axes:], stride[axes:], strict=True))
        pieces.append((first, first + reach + 1 if math.prod(shape) else first))
    pieces.sort()
    return all(one[1] <= other[0] for one, other in pairwise(pieces))

"""What authors of structures use: fields as they must be, masks and places for chains, events from paths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING
from functools import reduce
from operator import index as as_int
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.engine.maps.form import as_index, check_range, pick
from semihmm.errors import DataError, SemihmmError, ShapeError, StructureError

if TYPE_CHECKING:
    from semihmm.structures.base import Structure

__all__ = [
    "Labels",
    "check_lengths",
    "check_shape",
    "given",
    "one_hot",
    "only",
    "packed",
    "pick",
    "settle",
    "settle_indices",
    "single",
    "spread",
    "until",
]


class Labels(NamedTuple):
    """What a path says at each step, for an automaton to read.

    Attributes:
        of: labels from 0 on, int64, -1 where nothing is said: of the slots that it comes to ``(N,)``, or ``(..., N)``
            where they differ from sequence to sequence; with ``of_arcs``, of the arcs that it takes, as the chain's
            `Sparse` has them: ``(T or 1, N, K)``.
        alphabet: how many labels there are.
        first: whether the slot that it begins in says something, too.
        of_arcs: whether labels are of arcs, not of slots.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> hmm.labels()  # of each step its state
        Labels(of=tensor([0, 1]), alphabet=2, first=True, of_arcs=False)
    """

    of: Tensor
    alphabet: int
    first: bool = True
    of_arcs: bool = False


def settle(structure: Structure, *names: str) -> None:
    """Give a structure's potentials one dtype: the widest of theirs; the default one where all are integers.

    For `__post_init__`: arrays and lists become tensors first.

    Example:
        >>> semihmm.HMM(torch.zeros(2), torch.zeros(2, 2).double(), [[0, 1], [2, 3]]).emission.dtype  # which calls it
        torch.float64

    Raises:
        DataError: booleans or complex numbers, by name.
    """
    held = structure.__dict__
    kinds = {getattr(x, "dtype", None) for n in names if (x := held[n]) is not None or _required(structure, n)}
    if len(kinds) == 1 and isinstance(kind := next(iter(kinds)), torch.dtype) and kind.is_floating_point:
        return
    lists = {n for n in names if not hasattr(held[n], "dtype")}  # numbers of Python's have no dtype of their own
    given = {n: as_tensor(structure, n) for n in names if held[n] is not None or _required(structure, n)}
    known = {x.dtype for n, x in given.items() if n not in lists}
    for name, x in given.items():
        if x.dtype == torch.bool or x.is_complex():
            raise DataError(
                f"{type(structure).__name__}: {name} must hold real log-weights (or costs), got {x.dtype}. A mask? "
                "Pass torch.where(mask, 0.0, -torch.inf), or ask semihmm.condition."
            )
    floating = [k for k in known if k.is_floating_point]
    widest = reduce(torch.promote_types, floating) if floating else torch.get_default_dtype()
    for name, x in given.items():
        object.__setattr__(structure, name, x.to(widest))


def settle_indices(structure: Structure, *names: str) -> None:
    """Make int64 of a structure's fields of other integers.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(1, 3, 2), lengths=[2])  # which calls it
        >>> hmm.lengths
        tensor([2])

    Raises:
        ShapeError: floats or booleans, by name.
    """
    held = structure.__dict__
    for name in names:
        x = held[name]
        if (x is not None or _required(structure, name)) and getattr(x, "dtype", None) != torch.int64:
            found = as_tensor(structure, name)
            found = found if found.numel() or hasattr(x, "dtype") else found.long()  # a list of nothing is of any type
            object.__setattr__(structure, name, as_index(type(structure).__name__, name, found))


def _required(structure: Structure, name: str) -> bool:
    return type(structure).__dataclass_fields__[name].default is MISSING  # type: ignore[attr-defined]


def as_tensor(structure: Structure, name: str) -> Tensor:
    """A field of a structure as a tensor, beside the others: NumPy arrays and numbers in lists become one.

    Raises:
        DataError: what is neither, by name.
    """
    held = structure.__dict__
    device = next((x.device for x in held.values() if isinstance(x, Tensor)), None)
    return tensor_of(type(structure).__name__, name, held[name], device)


def tensor_of(owner: str, name: str, x: Any, device: torch.device | None = None) -> Tensor:
    """A tensor, or one of the numbers of a NumPy array (whose memory it shares) or of lists."""
    if isinstance(x, Tensor):
        return x
    try:
        array = np.asarray(x, order="C")
        return torch.as_tensor(array if array.flags.writeable else array.copy(), device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{owner}: {name} must be a tensor, a NumPy array, or numbers in lists, got {type(x).__name__}: {error}"
        ) from error


def whole_numbers(owner: str, name: str, values: Iterable[Any]) -> tuple[int, ...]:
    """Integers of any type as ints; anything else is refused by name."""
    try:
        found = tuple([as_int(i) for i in values])
    except (TypeError, RuntimeError):  # a tensor without values raises the latter
        found = None
    if found is None or any(abs(i) >= 2**63 for i in found):
        raise ShapeError(f"{owner}: {name} must be integers, got {values!r}.")
    return found


def check_generator(owner: str, generator: object) -> None:
    """Refuse what is no generator of random numbers.

    Example:
        >>> check_generator("sample", 5)
        Traceback (most recent call last):
        semihmm.errors.SemihmmError: sample: generator must be a torch.Generator, got 5. A seed? Pass ...
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        seed = generator if isinstance(generator, int) else 0
        raise SemihmmError(
            f"{owner}: generator must be a torch.Generator, got {generator!r}. A seed? Pass "
            f"torch.Generator().manual_seed({seed})."
        )


def check_shape(
    structure: Structure, seen: str, name: str, x: Tensor | None, *events: tuple[int, ...], hint: str = ""
) -> None:
    """Refuse a potential that has neither no batch axes nor all of them, each of its size or 1.

    Args:
        seen: the axes of the observed potential, which says how large it must be.
        events: what its axes behind the batch's may be. The first one may stand alone, for all sequences; one that
            varies in time may not, so that the number of axes says what is meant.
        hint: what to do about a wrong one.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(5, 3, 2))
        >>> check_shape(hmm, "(..., T, S)", "initial", torch.zeros(4), (2,))
        Traceback (most recent call last):
        semihmm.errors.ShapeError: HMM: emission is (..., T, S) = (5, 3, 2), so initial must be (5, 2), (2,) for all ...
    """
    if x is None or x.shape == events[0]:
        return
    batch, shape = tuple(structure.batch_shape), tuple(x.shape)
    axes = len(batch)
    if shape[axes:] in events and all(n in (1, size) for n, size in zip(shape[:axes], batch, strict=True)):
        return
    fits = " or ".join(str((*batch, *event)) for event in events)
    alone = f", {events[0]} for all sequences" if batch else ""
    shared = " (a batch axis of 1 is shared)" if batch else ""
    if batch and shape in events[1:]:
        hint = (
            f" What varies in time has all batch axes: the number of axes says what is meant. The same for all "
            f"sequences? Pass {name}{'.unsqueeze(0)' * axes}."
        )
    own = tuple(getattr(structure, structure.observed).shape)
    raise ShapeError(
        f"{type(structure).__name__}: {structure.observed} is {seen} = {own}, so {name} must be {fits}{alone}{shared}; "
        f"got {shape}.{hint}"
    )


def check_names(structure: Structure, names: Iterable[str]) -> None:
    """Refuse names that are none of a structure's potentials'."""
    unknown = [n for n in names if n not in structure.ranks]
    if unknown:
        raise StructureError(
            f"{type(structure).__name__} has potentials {', '.join(structure.ranks)}; "
            f"there is no {', '.join(sorted(unknown))}."
        )


def check_lengths(
    owner: str, lengths: Tensor | None, batch: torch.Size, longest: int, least: int = 1, name: str = "lengths"
) -> None:
    """Refuse lengths of another shape, of no integer type, or outside ``[least, longest]`` (where they are known).

    Example:
        >>> check_lengths("Mine", torch.tensor([4, 9]), torch.Size([2]), longest=5)
        Traceback (most recent call last):
        semihmm.errors.ShapeError: Mine: lengths must lie between 1 and 5, ... got 4 to 9.
    """
    if lengths is None:
        return
    if lengths.shape != batch or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise ShapeError(
            f"{owner}: {name} must be integers, one for each sequence, so {tuple(batch)}, "
            f"got {tuple(lengths.shape)} of {lengths.dtype}.",
            see="lengths",
        )
    check_range(owner, name, lengths, least, longest, "the steps that there are", see="lengths")


def until(lengths: Tensor | None, steps: int, rank: int = 1) -> Tensor | None:
    """Which of ``steps`` each sequence takes, ``(..., steps, 1, ...)`` with ``rank`` axes; None for all.

    Example:
        >>> until(torch.tensor([2, 1]), 3).tolist()
        [[True, True, False], [True, False, False]]
    """
    if lengths is None:
        return None
    used = torch.arange(steps, device=lengths.device) < lengths.unsqueeze(-1)
    return used.reshape(*used.shape, *(1,) * (rank - 1))


def given(lengths: Tensor | None, longest: int, like: Tensor) -> Tensor:
    """The lengths, as a tensor also where there are none.

    Example:
        >>> given(None, 3, torch.zeros(2))
        tensor(3)
    """
    return torch.tensor(longest, device=like.device) if lengths is None else lengths


def only(allowed: Tensor, like: Tensor) -> Tensor:
    """Log-weights of what is allowed and what is not: 0 and ``-inf``, in the dtype of ``like``.

    Example:
        >>> only(torch.tensor([True, False]), torch.zeros(1))
        tensor([0., -inf])
    """
    return torch.where(allowed, like.new_zeros(()), -torch.inf)


def single(index: int, size: int, like: Tensor) -> Tensor:
    """Log-weights of which one alone is allowed, ``(size,)``, in the dtype of ``like``.

    Example:
        >>> single(1, 3, torch.zeros(1))
        tensor([-inf, 0., -inf])
    """
    return pad(like.new_zeros(1), (index, size - 1 - index), value=-torch.inf)


def one_hot(index: Tensor, size: int) -> Tensor:
    """Bool ``(..., size)``, True at ``index (...)``; nowhere if that lies outside.

    Example:
        >>> one_hot(torch.tensor([1, -1]), 2).tolist()
        [[False, True], [False, False]]
    """
    return torch.arange(size, device=index.device) == index.unsqueeze(-1)


def packed(x: Tensor, used: Tensor, size: int) -> Tensor:
    """The ``used (..., L)`` ones among the items ``x (..., L, *item)`` in order, then -1: ``(..., size, *item)``.

    Example:
        >>> packed(torch.tensor([7, 8, 9]), torch.tensor([True, False, True]), 3).tolist()
        [7, 9, -1]
    """
    dim, item = used.ndim - 1, x.shape[used.ndim :]
    place = torch.where(used, used.cumsum(dim) - 1, size).clamp(max=size)  # what is not used goes one place too far
    where = place.reshape(*place.shape, *(1,) * len(item)).expand_as(x)
    return x.new_full((*used.shape[:-1], size + 1, *item), -1).scatter(dim, where, x).narrow(dim, 0, size)


def spread(x: Tensor, place: Tensor, size: int) -> Tensor:
    """``(..., size)`` with the items ``x (..., L)`` at their places ``(..., L)``, if those are inside; -1 elsewhere.

    Example:
        >>> spread(torch.tensor([7, 9]), torch.tensor([2, 0]), 4).tolist()
        [9, -1, 7, -1]
    """
    place = torch.where((place < 0) | (place >= size), size, place)
    return x.new_full((*x.shape[:-1], size + 1), -1).scatter(-1, place, x).narrow(-1, 0, size)

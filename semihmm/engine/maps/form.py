"""What the engine knows of a map before it takes a step: shapes, leaves, and the log-weights along a path."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar
from weakref import ref as weakref

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from semihmm._numbers import check_values
from semihmm.engine.tracing import extremes, numbers
from semihmm.errors import ShapeError

if TYPE_CHECKING:
    from typing_extensions import Self

    from semihmm.engine.maps.base import Map

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound="Form")

FORBIDDEN = float("-inf")


class Transitions(NamedTuple):
    """What paths do at each step, all ``(..., T)``."""

    before: Tensor  # the latest slot until then
    after: Tensor  # the slot that it arrives in
    delay: Tensor  # how many steps that took
    choice: Tensor  # which of its predecessors it came from; -1: the one that the slots say
    arrives: Tensor  # whether it arrives at all, or passes this step over: then `after` is any slot


class Form(ABC):
    """A sequence of semiring-linear maps ``x[t] = step(x[t-1], ..., x[t-memory])``, one for each time step.

    Its leaves are log-weights in factored form, ``(..., T, *event)``: batch axes, then time, then as many event
    axes as `ranks` says. A size of 1 among batch and time means shared. Planner and compiled backend need no more of a
    map than this; who takes steps in Python does so on what `unrolled` gives, a `Map`.
    """

    memory: int
    slots: int

    @property
    def inputs(self) -> int:
        """How many slots the state vectors have that it takes; `slots` is how many those have that it gives."""
        return self.slots

    @property
    @abstractmethod
    def leaves(self) -> tuple[Tensor, ...]:
        """The log-weights; integer leaves are indices and have no weight."""

    @property
    @abstractmethod
    def ranks(self) -> tuple[int, ...]:
        """How many event axes each leaf has."""

    @property
    @abstractmethod
    def work(self) -> int:
        """Products in one step."""

    @property
    def unfolded(self) -> int:
        """How many entries `tables` makes for each step that the leaves do not hold."""
        return 0

    @abstractmethod
    def rebuild(self, leaves: tuple[Tensor, ...]) -> Self:
        """The same map with other log-weights."""

    @abstractmethod
    def unrolled(self) -> Map:
        """The same map with log-weights that lie by step and slot. A Grid reads a matrix where it lies."""

    @abstractmethod
    def log_weights(self, at: Transitions) -> Tensor:
        """The log-weight of each transition ``(..., T)`` in float64; ``-inf`` where there is no such arc.

        Slots are in range: `semihmm.engine.score` sees to that. Delays may be of any length, if `memory` is over 1.
        """

    @property
    def reaches(self) -> tuple[int, ...]:
        """How many more time steps than the map has each leaf holds (Segmental pads its frames)."""
        return (0,) * len(self.leaves)

    @property
    def steady(self) -> tuple[bool, ...]:
        """For each leaf, whether every path takes exactly one of its entries at each step."""
        return (False,) * len(self.leaves)

    @property
    def steps(self) -> int | None:
        """How many steps there are; None where every leaf is shared over time."""
        # No set: sizes may be symbols, which have no hash.
        held = [x.shape[-1 - r] - e for x, r, e in zip(self.leaves, self.ranks, self.reaches, strict=True)]
        held = [n for n in held if n != 1]
        if held and held.count(held[0]) < len(held):
            raise ShapeError(
                f"{type(self).__name__}: its log-weights must agree on the number of time steps (1: shared by all), "
                f"got {sorted(set(held))}."
            )
        return held[0] if held else None


def unchecked(kind: type[F], **fields: Any) -> F:
    """A map made of what was checked before, or of tables of our own: its constructor has nothing to find out."""
    if torch.compiler.is_compiling():  # Dynamo makes objects by their constructors alone
        return kind(**fields)
    made = object.__new__(kind)
    made.__dict__.update(fields)
    return made


def check_weight(owner: str, name: str, x: Tensor, axes: Sequence[str]) -> None:
    """Refuse log-weights that are no floating tensor with (at least) these axes, the last ones of it."""
    if x.ndim < len(axes) or not x.is_floating_point():
        found = f"got {tuple(x.shape)} of {x.dtype}."
        if x.ndim == len(axes) - 1 and axes[0] == "T or 1" and x.is_floating_point():
            found += f" It lacks an axis of time: shared by all steps, it is {name}.unsqueeze({-len(axes)})."
        raise ShapeError(f"{owner}: {name} must be a floating tensor (..., {', '.join(axes)}), {found}")


def as_index(owner: str, name: str, x: Tensor) -> Tensor:
    """Integers as int64; what is no tensor of integers is refused."""
    if x.dtype == torch.int64:
        return x
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise ShapeError(f"{owner}: {name} must be integers, got {x.dtype}.")
    return x.to(torch.int64)


def check_range(owner: str, name: str, x: Tensor, least: int, most: int, what: str, see: str | None = None) -> None:
    """Refuse indices outside of ``least <= x <= most``, where they are known; and those that have no values at all."""
    check_values(owner, name, x)
    found = extremes(x)
    if found is not None and (found[0] < least or found[1] > most):
        raise ShapeError(
            f"{owner}: {name} must lie between {least} and {most}, {what}, got {found[0]} to {found[1]}.", see=see
        )


def check_shared(owner: str, name: str, x: Tensor) -> None:
    """Refuse a table that vmap maps over: it says which arcs there are, and all sequences of a batch have the same."""
    known = numbers(x)
    if known is not None and known.shape != x.shape:
        raise ShapeError(
            f"{owner}: {name} says which paths there are, the same for all sequences, so vmap cannot map over it. Ask "
            "one after the other.",
            see="vmap",
        )


def remembered(tables: Callable[P, R]) -> Callable[P, R]:
    """The function, with what it returned for its latest 64 arguments: a structure's chain is made anew for each call.

    What it returns must be numpy's: a tensor made inside a transform of torch.func or in inference mode must not
    outlive it. Dynamo, which cannot look into `functools.lru_cache`, traces the function itself.
    """
    known = lru_cache(maxsize=64)(tables)

    @wraps(tables)
    def recall(*args: P.args, **kwargs: P.kwargs) -> R:
        return tables(*args, **kwargs) if torch.compiler.is_compiling() else known(*args, **kwargs)  # type: ignore[arg-type]

    return recall


def remembered_for(tables: Callable[P, R]) -> Callable[P, R]:
    """The function of index tensors, with what it returned last for its first one, as long as that one lives and no
    number in any of them has changed.

    What it returns must be numpy's, as for `remembered`.
    """
    known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    @wraps(tables)
    def recall(*args: P.args, **kwargs: P.kwargs) -> R:
        held = [x for x in args if isinstance(x, Tensor)]
        if torch.compiler.is_compiling() or any(numbers(x) is not x or x.is_inference() for x in held):
            return tables(*args, **kwargs)
        # A reference to each of the others: another tensor may come to lie where one was.
        versions = [x._version for x in held]
        others = [x for x in args if not isinstance(x, Tensor)]
        entry = known.get(held[0])
        if (
            entry is not None
            and entry[:2] == (versions, others)
            and all(ref() is x for ref, x in zip(entry[2], held[1:], strict=True))
        ):
            return entry[3]  # type: ignore[no-any-return]
        made = tables(*args, **kwargs)
        known[held[0]] = (versions, others, [weakref(x) for x in held[1:]], made)
        return made

    return recall


def entries(leaf: Tensor, rank: int, index: Tensor) -> Tensor:
    """At each step, entry ``index (..., T)`` of the event axes: ``(..., T)``, from a leaf ``(..., T or 1, *event)``."""
    if leaf.shape[-1 - rank] != 1:
        index = index + torch.arange(index.shape[-1], device=index.device) * leaf.shape[-rank:].numel()
    return pick(leaf.flatten(-1 - rank), index)


def pick(x: Tensor, index: Tensor) -> Tensor:
    """``x[..., index]``, ``(..., K)`` from ``(..., N)``; the index has more axes in front, or as many.

    Log-weights come in float64, as they are to be added up.
    """
    rows = index.shape[: index.ndim - x.ndim]
    if rows:  # as more columns, so that the gradient is no copy of x for each row
        columns: Tensor = pick(x, index.flatten(0, len(rows) - 1).movedim(0, -1).flatten(-2))
        found: Tensor = columns.unflatten(-1, (index.shape[-1], rows.numel())).movedim(-1, 0).unflatten(0, rows)
        return found
    found = x.expand(*index.shape[:-1], -1).gather(-1, index)
    return found.double() if found.is_floating_point() else found

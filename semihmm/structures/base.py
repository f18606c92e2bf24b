"""What a structure says: which paths there are and what they weigh. Never how they are added up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, replace
from functools import wraps
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from semihmm.engine import Chain, Path, score
from semihmm.engine.tensors import usable
from semihmm.errors import DataError, StructureError
from semihmm.structures.authoring import Labels, check_names, check_shape, tensor_of, until

if TYPE_CHECKING:
    from typing_extensions import Self


class Structure(ABC):
    """A set of weighted paths. Subclasses are frozen dataclasses of tensors.

    Its potentials are unnormalised log-weights in nats. Each has all batch axes ``...`` or none: then all sequences
    share it. An axis of size 1 is shared, too; the observed potential alone has them all at their size. Where a
    potential may vary in time, the number of its axes says whether it does, never their sizes: what varies has all
    batch axes. They get one dtype, the widest among them; integers alone become the default floating dtype. Lengths
    and other indices may be integers of any width, and become int64. NumPy arrays become tensors of their dtype
    that share their memory; numbers in lists become tensors of the others' dtype.
    """

    observed: ClassVar[
        str
    ]  # the potential that scores what was seen: it has every batch axis, and `condition` masks it
    # how many axes, behind the batch's, other fields have that are of each sequence
    indices: ClassVar[dict[str, int]] = {}
    # for each field of lengths: which axis it counts of which potentials and indices (-1: the last one; an axis that is
    # not there is not counted). The first one is as long as lengths may be, and others go along with it: T - 1, U + 1.
    ragged: ClassVar[Mapping[str, Mapping[str, int]]] = {"lengths": {}}
    sign: ClassVar[float] = 1.0  # -1 where potentials are costs: a log-weight is sign * potential
    lengths: Tensor | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Where no `__post_init__` calls `settle`, one looks over what was given."""
        super().__init_subclass__(**kwargs)
        own: Any = cls.__dict__.get("__post_init__")
        if own is None and not hasattr(cls, "__post_init__"):
            setattr(cls, "__post_init__", _refuse_unsettled)  # noqa: B010  # mypy knows of no such name here
        elif own is not None and "settle" not in own.__code__.co_names:
            setattr(cls, "__post_init__", _looked_over(own))  # noqa: B010

    @property
    @abstractmethod
    def ranks(self) -> dict[str, int]:
        """For each potential that was given: how many axes it has behind the batch axes."""

    @abstractmethod
    def chain(self) -> Chain:
        """The paths as a chain, whose every log-weight is one potential times a constant (or a constant)."""

    def checked_chain(self) -> Chain:
        """The same, of potentials that `check` has nothing against."""
        self.check()
        return self.chain()

    @abstractmethod
    def event(self, path: Path) -> Tensor:
        """A path in the structure's own terms, ``(rows, ..., *event)``."""

    @abstractmethod
    def path(self, event: Tensor) -> Path:
        """The path that reads as an event ``(..., *event)``, or as more of them in axes in front: undoes `event`.

        An event may hold any numbers. Of one that is not well-formed, slots that no arcs join are enough, such as -1.
        """

    def score(self, event: Tensor) -> Tensor:
        """The log-weight of an event, or more in axes in front, ``(...)``; ``-inf`` if there is no such path."""
        seen = self.potentials[self.observed]
        return score(self.chain(), self.path(torch.as_tensor(event, dtype=torch.int64, device=seen.device)))

    def state_sequence(self, event: Tensor) -> Tensor:
        """The state at each step of an event, int64 ``(..., T)``; -1 after the end."""
        raise StructureError(
            f"{type(self).__name__}: events are not sequences of states, one for each step; read event itself. In a "
            "structure of your own that has a state at each step, say it by state_sequence().",
            see="own-structures",
        )

    def untied(self) -> Self:
        """The same paths, with observed log-weights of each state's own where states share them (`HMM`); else itself.

        What is asked about states, and not about what they share, is asked of it: a mask over states, say.

        Example:
            >>> hmm = semihmm.HMM(torch.zeros(3), torch.zeros(3, 3), torch.zeros(4, 2), emission_index=[0, 1, 0])
            >>> hmm.emission.shape, hmm.untied().emission.shape
            (torch.Size([4, 2]), torch.Size([4, 3]))
        """
        return self

    def along_arcs(self) -> Self:
        """The same paths, by steps of which single arcs can be kept (`Pruned`), where it has others; else itself.

        Example:
            >>> hmm = semihmm.HMM(torch.zeros(30), torch.zeros(30, 30), torch.zeros(9, 30))
            >>> counted = semihmm.constrain(hmm, semihmm.automata.exactly(5, 0))
            >>> [type(x.chain().steps.first).__name__ for x in (counted, counted.along_arcs())]
            ['Axes', 'Dense']
        """
        return self

    def labels(self) -> Labels:
        """What paths say as they go, for `constrain` to read."""
        raise StructureError(
            f"{type(self).__name__} says nothing at each step, so no automaton can read its paths. HMM, HSMM, CTC, "
            "MonotonicAlignment and Lattice do; in a structure of your own, say it by labels().",
            see="own-structures",
        )

    def filtered(self, vectors: Tensor) -> Tensor:
        """The weight of all paths so far by the state that they are in, from all state vectors.

        ``(..., T, S)``; a state of several parts may have an axis for each.
        """
        raise StructureError(
            f"{type(self).__name__} has no state at each moment, so it cannot be filtered. "
            "HMM, HSMM, CTC and MonotonicAlignment can; marginals work for every structure. In a structure of your "
            "own, say it by filtered().",
            see="own-structures",
        )

    @property
    def event_shape(self) -> tuple[int, ...] | None:
        """The axes of an event behind the batch's, -1 for any number; None where `score` sees for itself."""
        return None

    @property
    def event_lengths(self) -> Tensor | None:
        """The items that each sequence's event has, where that is known before; None for all."""
        lengths: Tensor | None = getattr(self, "lengths", None)
        return lengths

    def unknown(self, event: Tensor) -> Tensor:
        """Which items of an event say nothing: -1, or a -1 among their numbers, ``(..., L)``."""
        form = self.event_shape
        assert form is not None
        return event == -1 if len(form) == 1 else (event == -1).any(-1)

    def gaps(self, event: Tensor) -> Tensor:
        """Which items of an event are not known though they come before its end, bool ``(..., L)``.

        None where all are -1: that is no event, as decoding gives it where there is no path.
        """
        form, unknown = self.event_shape, self.unknown(event)
        assert form is not None
        if form[0] < 0:  # it ends with the last item that is no filling
            filling = event == -1 if len(form) == 1 else (event == -1).all(-1)
            return unknown & ((~filling).flip(-1).cumsum(-1).flip(-1) > 0)
        used = until(self.event_lengths, unknown.shape[-1])
        inside = torch.ones_like(unknown) if used is None else used.expand_as(unknown)
        return unknown & inside & (inside & ~unknown).any(-1, keepdim=True)

    @property
    def chain_lengths(self) -> Tensor | None:
        """The steps of the chain that each sequence takes; None where all take all, or where it is not that simple.

        Whoever says it here says that nothing else in the chain depends on the lengths: small calls need not make it.
        """
        return None

    @property
    def linear(self) -> bool:
        """Whether every weight is a sum of potentials times constants, so that features may stand in their place."""
        return True

    @property
    def potentials(self) -> dict[str, Tensor]:
        """The log-weights (or costs), by name."""
        try:
            return {name: getattr(self, name) for name in self.ranks}
        except AttributeError:
            refuse_misnamed(self)
            raise

    @property
    def axes(self) -> dict[str, int]:
        """How many axes potentials, indices and lengths have behind the batch's."""
        return {**self.ranks, **self.indices, **dict.fromkeys(self.ragged, 0)}

    @property
    def batch_shape(self) -> torch.Size:
        """The batch axes."""
        try:
            seen: Tensor = getattr(self, self.observed)
            return seen.shape[: seen.ndim - self.ranks[self.observed]]
        except (AttributeError, KeyError):
            refuse_misnamed(self)
            raise

    def replace(self, **changes: Tensor) -> Self:
        """The same structure with other potentials."""
        return replace(self, **changes)  # type: ignore[type-var]

    def feature(self, **values: Tensor) -> Self:
        """Something else that adds up along the same paths: a structure that is 0 where nothing is given.

        Args:
            values: what counts beside each potential's log-weights, in its shape; shared by all sequences, or not.
        Raises:
            StructureError: a name that is none of its potentials'.

        Example:
            >>> hmm = semihmm.HMM(torch.randn(2), torch.randn(2, 2), torch.randn(5, 3, 2))
            >>> visits = hmm.feature(emission=torch.tensor([0., 1.]).expand(3, 2))  # 1 for each step in state 1
            >>> bool((visits.transition == 0).all()), visits.emission.shape
            (True, torch.Size([5, 3, 2]))
        """
        check_names(self, values)
        values = {n: x.clone() if x is self.potentials[n] else x for n, x in values.items()}  # it is meant to count
        given = {**{n: torch.zeros_like(x) for n, x in self.potentials.items()}, **values}
        seen, own = self.observed, self.potentials[self.observed]
        if seen in values:
            event = own.shape[own.ndim - self.ranks[seen] :]
            x = tensor_of(type(self).__name__, f"a feature's {seen}", values[seen], own.device)
            x = x if hasattr(values[seen], "dtype") or x.is_complex() else x.to(own.dtype)
            check_shape(self, "(...)", f"a feature's {seen}", x, tuple(event))
            given[seen] = x.expand(own.shape)
        return self.replace(**given)

    @property
    def varying(self) -> dict[str, tuple[int, ...]]:
        """The axes, behind the batch's, of potentials that may be another one at each step, when they are.

        A structure of your own that has such a potential says it here: ``{"move": (self.steps - 1, 3)}``. Then `ranks`
        must count the axis for time where it is there, `ragged` say where it is, and `chain` take both forms.
        """
        return {}

    def over_time(self, *names: str) -> Self:
        """The same structure with potentials of their own at each step, so that marginals tell the steps apart.

        Args:
            names: which ones, of those in `varying`: HMM's ``"transition"``; HSMM's ``"transition"``, ``"duration"``
                and ``"segment"``, which is 0 everywhere if it was not given.

        Example:
            >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(4, 2))
            >>> semihmm.marginals(hmm.over_time("transition")).transition.shape  # of each pair of neighbours
            torch.Size([3, 2, 2])

        Raises:
            StructureError: a name that is not in `varying`: the structure knows no form of that potential with steps
                (an HMM's ``initial``), or it always has them (``emission``).
        """
        unknown = [n for n in names if not isinstance(n, str) or n not in self.varying]
        if unknown:
            raise StructureError(
                f"{type(self).__name__}: {', '.join(map(str, unknown))} cannot differ from step to step; "
                f"{', '.join(self.varying) or 'no potential'} can. In a structure of your own, say it by varying.",
                see="own-structures",
            )
        seen, ranks, found = self.potentials[self.observed], self.ranks, {}
        for name in names:
            shape = self.varying[name]
            x = getattr(self, name)
            if x is None:
                x = seen.new_zeros(())
            elif ranks[name] < len(shape):
                x = x.unsqueeze(-len(shape))
            found[name] = x.expand(*self.batch_shape, *shape)
        return self.replace(**found)

    def holding(self, **tensors: Tensor) -> Self:
        """The same structure with potentials of the same form, which are not checked again."""
        same = object.__new__(type(self))
        same.__dict__.update(self.__dict__, **tensors)
        return same

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The same structure elsewhere, or in another dtype: what `torch.Tensor.to` takes.

        A dtype is that of the potentials; lengths and other indices move to the device alone.
        """
        try:
            moved = {name: x.to(*args, **kwargs) for name, x in self.potentials.items()}
        except (TypeError, RuntimeError) as error:
            raise DataError(f"{type(self).__name__}.to: takes what torch.Tensor.to takes: {error}") from error
        seen = moved[self.observed]
        if not seen.is_floating_point():
            raise DataError(f"{type(self).__name__}: potentials are floating-point log-weights, so no {seen.dtype}.")
        rest = {f.name: self.__dict__.get(f.name) for f in fields(self) if f.name not in moved}  # type: ignore[arg-type]
        return self.holding(**moved, **{n: on_device(x, seen.device) for n, x in rest.items() if x is not None})

    @property
    def expanded_potentials(self) -> dict[str, Tensor]:
        """The log-weights (or costs), by name, each with all batch axes."""
        batch, ranks = self.batch_shape, self.ranks
        return {n: x.expand((*batch, *x.shape[x.ndim - ranks[n] :])) for n, x in self.potentials.items()}

    def expanded(self) -> Self:
        """The same structure with every potential of its own for each sequence."""
        return self.replace(**self.expanded_potentials)

    def unbatch(self) -> list[Self]:
        """Each sequence as a structure without batch axes."""
        whole = self.expanded()
        return [whole[i] for i in product(*map(range, self.batch_shape))]

    def __getitem__(self, index: Any) -> Self:
        """Some sequences of the batch, by what indexes a tensor of its axes; what all share stays shared.

        Args:
            index: an int, slice, list or tensor, or a tuple of them, one for each batch axis from the first one on.

        Example:
            >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(5, 3, 2))
            >>> hmm[0], hmm[2:]
            (HMM(initial (2,), transition (2, 2), emission (3, 2); float32),
             HMM(initial (2,), transition (2, 2), emission (3, 3, 2); float32))
        """
        batch, given = self.batch_shape, index if isinstance(index, tuple) else (index,)
        taken = sum(x.ndim if isinstance(x, Tensor) and x.dtype == torch.bool else 1 for x in given)
        if taken > len(batch) or any(x is None or x is Ellipsis for x in given):
            raise IndexError(
                f"{type(self).__name__}: its batch axes are {tuple(batch)}, so at most {len(batch)} of int, slice, "
                f"list or tensor may index it, got {index!r}."
            )
        parts = {}
        for name, rank in self.axes.items():
            x = getattr(self, name, None)
            if isinstance(x, Tensor) and x.ndim == len(batch) + rank:
                try:
                    parts[name] = x.expand((*batch, *x.shape[len(batch) :]))[index]
                except (IndexError, TypeError, ValueError) as error:
                    raise IndexError(
                        f"{type(self).__name__}: {index!r} is no index of its batch axes {tuple(batch)}: {error}"
                    ) from error
        return self.holding(**parts)

    def __len__(self) -> int:
        """How many sequences there are along the first batch axis."""
        if not self.batch_shape:
            raise TypeError(f"{type(self).__name__}: one sequence, without a batch axis, has no len().")
        return self.batch_shape[0]

    def __iter__(self) -> Iterator[Self]:
        """The sequences of the batch, or the batches along its first axis."""
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        """Shapes, not numbers."""
        shown = []
        for field in fields(self):  # type: ignore[arg-type]
            x = getattr(self, field.name)
            if x is not None and x is not field.default:
                shown.append(f"{field.name} {_shown(x)}")
        seen = next(iter(self.potentials.values()))
        where = "" if seen.device.type == "cpu" else f", {seen.device}"
        return f"{type(self).__name__}({', '.join(shown)}; {str(seen.dtype).removeprefix('torch.')}{where})"

    def check(self) -> None:
        """Refuse potentials that are no log-weights, and lengths that reach outside.

        Raises:
            DataError: NaN or an infinite weight, by name and position.
        """
        potentials = self.potentials
        if usable(potentials.values(), self.sign):
            return
        for name, x in potentials.items():
            used = self.counted(name)
            bad = x.isnan() | (self.sign * x == torch.inf)
            bad = bad if used is None else bad & used
            if bad.any():
                at = tuple(int(i) for i in bad.nonzero()[0])
                raise DataError(
                    f"{type(self).__name__}: {name}{list(at)} is {x[at].item()}; {int(bad.sum())} of {x.numel()} "
                    f"entries are like it. Potentials are finite, or {-self.sign * torch.inf} for what is forbidden. "
                    "Mask missing observations to 0, or pass validate=False.",
                    see="nan-in-weights",
                )

    def in_use(self, name: str) -> Tensor | None:
        """Which entries of a potential count for each sequence, given its lengths; None for all."""
        x, rank, used = getattr(self, name), self.axes[name], None
        for field, axes in self.ragged.items():
            lengths, axis = getattr(self, field, None), axes.get(name, 0)
            if lengths is None or not -rank <= axis < 0:
                continue
            longest = next(getattr(self, n).shape[at] for n, at in axes.items())
            mask = until(lengths + (x.shape[axis] - longest), x.shape[axis], -axis)
            assert mask is not None
            mask = mask.reshape(*lengths.shape, *(1,) * (rank + axis), *mask.shape[lengths.ndim :])
            used = mask if used is None else used & mask
        return used

    def without_padding(self) -> Self:
        """The same structure with potentials of their own for each sequence, forbidden where they do not count."""
        whole, found = self.holding(**self.expanded_potentials), {}
        for name, x in whole.potentials.items():
            used = whole.in_use(name)
            found[name] = x if used is None else torch.where(used, x, -self.sign * torch.inf)
        return whole.holding(**found)

    def counted(self, name: str) -> Tensor | None:
        """Which entries of a potential count for any of the sequences that share them; None for all."""
        used = self.in_use(name)
        if used is None:
            return None
        x, rank = self.potentials[name], self.ranks[name]
        own = (*x.shape[: x.ndim - rank], *used.shape[used.ndim - rank :])
        return used if used.shape == own else used.long().sum_to_size(own) > 0


def _looked_over(own: Callable[[Any], None]) -> Callable[[Any], None]:
    @wraps(own)
    def __post_init__(self: Structure) -> None:
        own(self)
        _refuse_unsettled(self)

    return __post_init__


def _refuse_unsettled(structure: Structure) -> None:
    """Refuse arrays, lists and None where whoever wrote the structure counts on tensors and does not convert."""
    declared: dict[str, Any] = type(structure).__dataclass_fields__  # type: ignore[attr-defined]
    unlike = {n: x for n, x in structure.__dict__.items() if n in declared and not isinstance(x, Tensor)}
    try:
        known = structure.axes.keys() & unlike.keys()
    except (AttributeError, TypeError):  # it asks what is no tensor for its axes
        known = {n for n, x in unlike.items() if isinstance(x, list | np.ndarray | float | None)}
    for name, x in unlike.items():
        if name in known and (declared[name].default is MISSING or x is not None):
            raise StructureError(
                f"{type(structure).__name__}: {name} must be a tensor, got a {type(x).__name__}. To take arrays and "
                "lists, call settle(self, ...) with the names of potentials, and settle_indices with those of lengths, "
                "in __post_init__; both are in semihmm.structures.authoring."
            )


def refuse_misnamed(structure: Structure) -> None:
    """Refuse `observed` or `ranks` that name no field."""
    name, ranks = type(structure).__name__, structure.ranks
    there = ", ".join(f.name for f in fields(structure))  # type: ignore[arg-type]
    for potential in ranks:
        if not hasattr(structure, potential):
            raise StructureError(f"{name}: ranks names {potential!r}, which is no field. There are {there}.")
    observed = getattr(structure, "observed", None)
    if observed not in ranks:
        raise StructureError(
            f"{name}: observed must name one of the potentials in ranks ({', '.join(ranks)}), got {observed!r}."
        )


def on_device(x: Any, device: torch.device) -> Any:
    """A field of a structure on another device."""
    if isinstance(x, tuple | list):
        return type(x)(on_device(y, device) for y in x)
    return x.to(device) if isinstance(x, Tensor) else x


def _shown(x: Any) -> str:
    """A field of a structure, in short."""
    if isinstance(x, Tensor):
        return str(tuple(x.shape))
    return f"({', '.join(map(_shown, x))})" if isinstance(x, tuple | list) else repr(x)

"""Data as they come: padded tensors, lists of sequences, loaders of batches; what is missing, and what is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad as padding

from semihmm.errors import DataError, ShapeError
from semihmm.structures.authoring import tensor_of, until

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = "Tensor | NDArray[Any]"
    Data: TypeAlias = "Array | Sequence[Array] | Iterable[Any]"

A = TypeVar("A")
_FIT = ("method", "weights", "iterations", "restarts", "generator", "validation", "initialise", "callback", "progress")
_FULL = 0.7  # the share of steps before the ends from which no copy is made without the others


class Known(TypedDict, total=False):
    """What may be known of sequences besides their observations. Lists of sequences take lists of these.

    inputs: covariates of each step ``(..., T, U)``, for the parts that take some; or by the name of the part.
    labels: the state of each step, integers ``(..., T)``, -1 where it is not known; or which states it may be, bool
        ``(..., T, S)``.
    starts: of an HSMM, whether a segment begins at each step: 1 or 0, -1 where it is not known; integers ``(..., T)``.
    """

    inputs: Any
    labels: Any
    starts: Any


@dataclass(frozen=True)
class Batch:
    """Sequences side by side, and what is known of them.

    Attributes:
        x: observations ``(..., T, *event_shape)``.
        lengths: steps of each, int64 ``(...)``; None for all T.
        inputs: covariates ``(..., T, U)``, by the part that takes them.
        allowed: which states each step may be in, bool ``(..., T, S)``; None for all.
        weights: how often each sequence counts ``(...)``; None for once.
        starts: whether a segment begins at each step, 1 or 0, -1 where it is not known, ``(..., T)``.

    Example:
        >>> Batch(torch.zeros(2, 5, 3), torch.tensor([5, 2])).inside.sum().item()
        7
    """

    x: Tensor
    lengths: Tensor | None = None
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    allowed: Tensor | None = None
    weights: Tensor | None = None
    starts: Tensor | None = None
    axes: int = 1  # of an observation, behind time

    @property
    def shape(self) -> torch.Size:
        """``(..., T)``."""
        return self.x.shape[: self.x.ndim - self.axes]

    @cached_property
    def inside(self) -> Tensor:
        """Which steps lie before the end, bool ``(..., T)``."""
        inside = until(self.lengths, self.shape[-1])
        return torch.ones(self.shape, dtype=torch.bool, device=self.x.device) if inside is None else inside

    @cached_property
    def steps(self) -> float:
        """How many steps there are, each sequence counted as often as its weight says; 1 if none counts."""
        if self.lengths is None and self.weights is None:
            return float(self.shape.numel())
        each = self.inside.sum(-1)
        return float((each if self.weights is None else each * self.weights).double().sum()) or 1.0

    @cached_property
    def observations(self) -> Tensor:
        """All of them, one behind the other, ``(N, *event_shape)``."""
        return self.flat(self.x)

    @cached_property
    def padded(self) -> bool:
        """Whether so much lies behind the ends that it is worth a copy to leave it out."""
        return self.lengths is not None and int(self.inside.sum()) < _FULL * self.shape.numel()

    def flat(self, x: Tensor) -> Tensor:
        """What each step has ``(..., T, ...)``, one behind the other, ``(N, ...)``.

        Of what lies behind the ends there may be some, where posteriors are 0.
        """
        return x[self.inside] if self.padded else x.flatten(0, len(self.shape) - 1)


def pad(sequences: Sequence[Array], fill: float = 0) -> tuple[Tensor, Tensor]:
    """Sequences of different lengths as one tensor: ``(B, T, ...)``, filled up behind the end, and lengths ``(B,)``.

    As a loader's ``collate_fn`` it makes the batches that models take.

    Raises:
        ShapeError: no sequence, an empty one, or ones that differ in more than their length.

    Example:
        >>> x, lengths = pad([torch.ones(2, 3), torch.ones(4, 3)])
        >>> x.shape, lengths.tolist()
        (torch.Size([2, 4, 3]), [2, 4])
    """
    if not isinstance(sequences, Iterable):
        raise ShapeError(f"pad: takes a list of sequences, got {type(sequences).__name__}.")
    each = [tensor_of("pad", "a sequence", x) for x in sequences]
    if not each or any(x.ndim == 0 or not len(x) or x.shape[1:] != each[0].shape[1:] for x in each):
        raise ShapeError(
            "a list of sequences must hold at least one, each with at least one step and the same shape of a step; got "
            f"shapes {[tuple(x.shape) for x in each[:10]]}."
        )
    dtype = each[0].dtype
    for x in each:
        dtype = torch.promote_types(dtype, x.dtype)
    lengths = torch.tensor([len(x) for x in each], device=each[0].device)
    whole = each[0].new_full((len(each), int(lengths.max()), *each[0].shape[1:]), fill, dtype=dtype)
    for row, x in zip(whole, each, strict=True):
        row[: len(x)] = x
    return whole, lengths


def batches(owner: str, x: Data, lengths: Tensor | None, **known: Any) -> Iterator[dict[str, Any]]:
    """The arguments of each batch, by name: of one, if the data lie in memory.

    Args:
        known: those of `Known`, and weights; None for none.
    Raises:
        ShapeError: what comes with batches is given beside them.
        DataError: no batch at all.
    """
    for name in sorted(known.keys() - {"weights", *Known.__annotations__}):
        near = get_close_matches(name, [*_FIT, *Known.__annotations__], 1)
        raise TypeError(f"{owner}: there is no argument {name}." + (f" Did you mean {near[0]}?" if near else ""))
    known = {name: value for name, value in known.items() if value is not None}
    if isinstance(x, Tensor | np.ndarray):
        yield {"x": tensor_of(owner, "x", x), "lengths": lengths, **known}
        return
    if isinstance(x, list | tuple) and all(isinstance(one, Tensor | np.ndarray) for one in x):
        yield _listed(owner, x, lengths, known)
        return
    if lengths is not None or known:
        names = ", ".join((["lengths"] if lengths is not None else []) + sorted(known))
        raise ShapeError(f"{owner}: batches bring their own {names}: as (x, lengths), or as a dict with these names.")
    if hasattr(x, "to_numpy"):
        raise ShapeError(f"{owner}: observations are a tensor or an array: pass x.to_numpy(), got {type(x).__name__}.")
    if not isinstance(x, Iterable) or isinstance(x, Mapping | str):
        raise ShapeError(
            f"{owner}: observations are a tensor, a list of sequences or an iterable of batches, got "
            f"{type(x).__name__}. A batch that is a dict? Give its entries by name."
        )
    found = False
    for item in x:
        found = True
        yield _item(owner, item)
    if not found:
        raise DataError(
            f"{owner}: the iterable holds no batch. An iterator that has been read? Pass a DataLoader or a list.",
            see="read-once",
        )


def _listed(owner: str, x: Sequence[Array], lengths: Tensor | None, known: dict[str, Any]) -> dict[str, Any]:
    if lengths is not None:
        raise ShapeError(f"{owner}: a list of sequences says how long they are; give no lengths.")
    whole, lengths = pad(x)
    found: dict[str, Any] = {"x": whole, "lengths": lengths}
    for name, value in known.items():
        if isinstance(value, Mapping):
            found[name] = {part: _padded(owner, f"inputs of {part}", one, lengths) for part, one in value.items()}
        else:
            found[name] = value if name == "weights" else _padded(owner, name, value, lengths)
    return found


def _padded(owner: str, name: str, value: Any, lengths: Tensor) -> Any:
    """What comes in a list, one for each sequence, as one tensor; what is one already as it is."""
    if not isinstance(value, list | tuple):
        return value
    each = [tensor_of(owner, name, one) for one in value]
    if [one.shape[:1] for one in each] != [(n,) for n in lengths.tolist()]:
        raise ShapeError(
            f"{owner}: {name} must be as many as the sequences, and as long as they are, {lengths[:10].tolist()}; got "
            f"shapes {[tuple(one.shape) for one in each[:10]]}."
        )
    return pad(each, 1 if each[0].dtype == torch.bool else -1 if name in ("labels", "starts") else 0)[0]


def _item(owner: str, item: Any) -> dict[str, Any]:
    """The arguments that one item of a loader is."""
    if isinstance(item, Mapping):
        names = {"x", "lengths", "weights", *Known.__annotations__}
        if "x" not in item or not item.keys() <= names:
            raise ShapeError(f"{owner}: a batch is a dict with x and any of {sorted(names)}, got {sorted(item)}.")
        given = dict(item)
        (found,) = batches(owner, given.pop("x"), given.pop("lengths", None), **given)
    elif isinstance(item, list | tuple) and 1 <= len(item) <= 2:
        found = {"x": tensor_of(owner, "x", item[0]), "lengths": None if len(item) == 1 else item[1]}
    elif isinstance(item, Tensor | np.ndarray):
        found = {"x": tensor_of(owner, "x", item), "lengths": None}
    else:
        raise ShapeError(f"{owner}: a batch is x, (x, lengths) or a dict, got {type(item).__name__}.")
    return found


def joined(found: Sequence[A]) -> A:
    """Answers about several batches as one, filled up behind the ends: with -1 where they are integers, with 0 else."""
    first = found[0]
    if len(found) == 1:
        return first
    if isinstance(first, tuple):
        parts = [joined(part) for part in zip(*found, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)  # type: ignore[return-value]
    each = [x for x in found if isinstance(x, Tensor)]
    largest = [max(sizes) for sizes in zip(*(x.shape[1:] for x in each), strict=True)]
    fill = 0.0 if each[0].is_floating_point() else -1
    filled = []
    for x in each:
        behind = [(0, most - size) for most, size in zip(largest, x.shape[1:], strict=True)]
        filled.append(padding(x, [n for pair in reversed(behind) for n in pair], value=fill))
    return torch.cat(filled)  # type: ignore[return-value]

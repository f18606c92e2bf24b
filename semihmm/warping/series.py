"""Series as callers have them: arrays, tensors, and lists of series of different lengths."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import index as as_int
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from semihmm.engine.tensors import usable
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.structures import squared_distances
from semihmm.structures.authoring import tensor_of, until

Metric = str | Callable[[Tensor, Tensor], Tensor]
METRICS = ("squared", "euclidean", "manhattan", "cosine")


class Series(NamedTuple):
    """Items of some features ``(..., N, F)``, and how many of them each series has ``(...)``; None for all."""

    items: Tensor
    lengths: Tensor | None

    @property
    def sizes(self) -> Tensor:
        """The lengths, ``(...)``."""
        batch, longest = self.items.shape[:-2], self.items.shape[-2]
        return torch.full(batch, longest, device=self.items.device) if self.lengths is None else self.lengths

    def some(self, which: Any) -> Series:
        """Those of them."""
        return Series(self.items[which], None if self.lengths is None else self.lengths[which])


def one_or_more(owner: str, name: str, x: Any) -> Series:
    """One series ``(N,)`` or ``(N, F)``, a batch of them ``(B, N, F)``, or a list of tensors or arrays."""
    if isinstance(x, list | tuple) and x and all(isinstance(each, Tensor | np.ndarray) and each.ndim for each in x):
        return _padded(owner, name, x)
    items = _floating(owner, name, x)
    return _checked(owner, name, Series(items.unsqueeze(-1) if items.ndim == 1 else items, None))


def collection(owner: str, name: str, x: Any) -> Series:
    """Many series: of one feature ``(B, N)``, of several ``(B, N, F)``, or a list of series ``(N,)`` or ``(N, F)``."""
    if isinstance(x, Series):
        return x
    if isinstance(x, list | tuple):
        return _padded(owner, name, x)
    items = _floating(owner, name, x)
    if items.ndim not in (2, 3):
        raise ShapeError(
            f"{owner}: {name} must be many series, (B, N) or (B, N, F) or a list, got {tuple(items.shape)}. One? Pass "
            f"{name}[None]."
        )
    return _checked(owner, name, Series(items.unsqueeze(-1) if items.ndim == 2 else items, None))


def dense(owner: str, name: str, x: Any) -> Tensor:
    """A tensor whose numbers lie in memory, each in its place."""
    found = tensor_of(owner, name, x)
    if found.layout != torch.strided:
        raise DataError(f"{owner}: {name} must be dense, got a tensor of {found.layout}. Pass {name}.to_dense().")
    if found.is_meta:
        raise DataError(f"{owner}: {name} must hold numbers, got a tensor on the meta device, which has none.")
    return found


def _floating(owner: str, name: str, x: Any) -> Tensor:
    items = dense(owner, name, x)
    if items.is_complex() or items.dtype == torch.bool:
        raise DataError(f"{owner}: {name} must hold real numbers, got {items.dtype}.")
    if not items.is_floating_point():
        return items.to(torch.get_default_dtype())
    return items.float() if items.dtype.itemsize < 4 else items  # the square of 256 is infinite in half precision


def _padded(owner: str, name: str, x: Any) -> Series:
    each = [_floating(owner, f"{name}[{i}]", one) for i, one in enumerate(x)]
    each = [one.unsqueeze(-1) if one.ndim == 1 else one for one in each]
    if not each or any(one.ndim != 2 or one.shape[-1] != each[0].shape[-1] for one in each):
        found = [tuple(one.shape) for one in each[:4]]
        raise ShapeError(
            f"{owner}: {name} must be a list of at least one series (N,) or (N, F), all of as many features, got "
            f"{found}{' and more' if len(each) > 4 else ''}."
        )
    lengths = torch.tensor([len(one) for one in each], device=each[0].device)
    empty = (lengths == 0).nonzero()
    if len(empty):
        raise ShapeError(
            f"{owner}: a series must have at least one item, got none in {name}[{int(empty[0])}]. Leave it out."
        )
    widest = reduce(torch.promote_types, {one.dtype for one in each})
    items = pad_sequence([one.to(widest) for one in each], batch_first=True)
    return _checked(owner, name, Series(items, None if bool((lengths == items.shape[1]).all()) else lengths))


def _checked(owner: str, name: str, series: Series) -> Series:
    items = series.items
    if items.ndim < 2 or 0 in items.shape[-2:]:
        raise ShapeError(
            f"{owner}: {name} must be (N,), (N, F) or (B, N, F) with at least one item and one feature, got "
            f"{tuple(items.shape)}."
        )
    if not usable([items], 0.0):
        at = tuple((~items.detach().isfinite()).nonzero()[0].tolist())
        raise DataError(
            f"{owner}: {name} must be finite, got {float(items[at])} at {at} (series, item, feature). Cut it out or "
            "fill it in: a path cannot go round an item.",
            see="missing-observations",
        )
    return series


def compatible(owner: str, x: Series, y: Series) -> tuple[Series, Series]:
    """Both, of one dtype; refused where they have other features."""
    if x.items.shape[-1] != y.items.shape[-1]:
        raise ShapeError(
            f"{owner}: x and y must have as many features, got {x.items.shape[-1]} and {y.items.shape[-1]}. A series "
            "is (items, features), not (features, items)."
        )
    dtype = torch.promote_types(x.items.dtype, y.items.dtype)
    return Series(x.items.to(dtype), x.lengths), Series(y.items.to(dtype), y.lengths)


def count_of(owner: str, name: str, value: Any) -> int:
    """A whole number of at least 1."""
    try:
        found = 0 if isinstance(value, bool) else as_int(value)
    except TypeError:
        found = 0
    if not 1 <= found < 2**63:
        raise ShapeError(f"{owner}: {name} must be an integer of at least 1, got {value!r}.")
    return found


def number_of(owner: str, name: str, value: Any) -> float:
    """A finite number of at least 0."""
    found = finite_number(value)
    if found is None or found < 0:
        raise StructureError(f"{owner}: {name} must be a finite number of at least 0, got {value!r}.")
    return found


def finite_number(value: Any) -> float | None:
    """A finite real number as a float; None for anything else."""
    if isinstance(value, Tensor):
        whole = value.numel() == 1 and not value.is_meta and not value.is_complex() and value.dtype != torch.bool
        value = value.item() if whole else None
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    return float(value) if -1e300 < value < 1e300 else None  # not of NaN


def check_metric(owner: str, metric: Any) -> None:
    """Refuse what is neither a name nor a function."""
    if not (callable(metric) or (isinstance(metric, str) and metric in METRICS)):
        raise StructureError(f"{owner}: metric must be one of {', '.join(METRICS)} or a function, got {metric!r}.")


def costs(owner: str, x: Series, y: Series, metric: Metric) -> Tensor:
    """What it costs to match each item of ``x (..., N, F)`` with each of ``y (..., M, F)``, ``(..., N, M)``."""
    check_metric(owner, metric)
    if metric == "cosine":
        return squared_distances(directions(owner, "x", x), directions(owner, "y", y)) / 2
    a, b = x.items, y.items
    if callable(metric):
        found = metric(a.unsqueeze(-2), b.unsqueeze(-3))
        shape = (*torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-2])
        if not isinstance(found, Tensor) or found.shape != shape:
            came = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ShapeError(
                f"{owner}: metric is called with items (..., N, 1, F) and (..., 1, M, F) and must return a tensor "
                f"{shape}, got {came}. Does it reduce the last axis alone?"
            )
        return found
    if metric == "manhattan":
        by_feature = zip(a.unbind(-1), b.unbind(-1), strict=True)
        return torch.stack([(p.unsqueeze(-1) - q.unsqueeze(-2)).abs() for p, q in by_feature]).sum(0)
    squared = squared_distances(a, b)
    return squared if metric == "squared" else root(squared)


def directions(owner: str, name: str, x: Series) -> Tensor:
    """Items of length 1: half the squared distance of two is 1 less their cosine."""
    length = torch.linalg.vector_norm(x.items, dim=-1, keepdim=True)
    used = until(x.lengths, x.items.shape[-2])
    zero = (length.detach().squeeze(-1) == 0) & (True if used is None else used)
    if bool(zero.any()):
        raise DataError(
            f"{owner}: an item of zeros has no direction, so metric cannot be cosine, got one in {name} at "
            f"{tuple(zero.nonzero()[0].tolist())}."
        )
    return x.items / torch.where(length == 0, 1.0, length)


def root(x: Tensor) -> Tensor:
    """The square root, of gradient 0 at 0, where that of a distance has none."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1.0).sqrt(), 0.0)

"""Where a chain's log-weights come from: for each entry the potential and its place in it, or that it is a constant.

A structure's `chain` moves its potentials about (slices, views, gathers, padding, masks). It is given *tracked*
potentials, which carry the number of each entry with them. So what follows from a structure's form, such as where a
gradient goes, is read and not guessed from numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from semihmm.engine.chain import Chain
from semihmm.errors import StructureError

CONSTANT = -1  # in place of an entry's number

# What reads entries where they lie, and what takes them to other places. Neither changes them.
VIEWS = frozenset(
    "T chunk detach diagonal expand expand_as flatten hsplit mH mT movedim moveaxis narrow permute reshape select "
    "split split_with_sizes squeeze swapaxes tensor_split transpose unbind unflatten unsqueeze view view_as "
    "__getitem__".split()
)
MOVES = frozenset(
    "broadcast_to cat clone concat concatenate contiguous flip gather index_copy index_put index_select masked_fill "
    "pad repeat repeat_interleave roll scatter select_scatter slice_scatter stack take_along_dim tile tril triu unfold "
    "where".split()
)
CASTS = frozenset("to type type_as double float".split())
# What multiplies them by a constant.
SCALES = frozenset("div mul neg negative true_divide __mul__ __rmul__ __neg__ __truediv__".split())
# What takes numbers out of sight, so that nobody could tell a constant from a potential any more.
HIDES = frozenset("item tolist numpy __array__ __float__ __int__ __bool__ __setitem__ copy_ fill_".split())


class Source(NamedTuple):
    """Where the entries of one log-weight come from.

    Attributes:
        number: for each entry its number among those of all potentials, one after the other, int64 of the log-weight's
            shape; -1 for a constant. None where entries are no potential times a constant.
        potentials: the names of those that it is made of; none for a constant.
        is_view: whether it is a view of a potential: which it then is whatever the values of lengths and indices.

    Example:
        >>> Source(torch.tensor([3, -1]), frozenset({"emission"}), is_view=False).number.tolist()
        [3, -1]
    """

    number: Tensor | None
    potentials: frozenset[str]
    is_view: bool


class Tracked(Tensor):
    """A tensor whose entries carry their numbers, and which knows the potentials that it is made of."""

    number: Tensor | None
    potentials: frozenset[str]

    @staticmethod
    def of(value: Tensor, number: Tensor | None, potentials: frozenset[str]) -> Tracked:
        """A tensor with the numbers of its entries."""
        tracked = value.as_subclass(Tracked)
        tracked.number, tracked.potentials = number, potentials
        return tracked

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The function of the values; and the same function of the numbers, if it only moves entries."""
        name = func.__name__ if func.__name__ != "__get__" else func.__self__.__name__  # type: ignore[attr-defined]
        kwargs = kwargs or {}
        if name in HIDES or (name.endswith("_") and not name.endswith("__")):
            raise StructureError(
                f"chain(): {name} puts a potential's entries where nobody can tell whose they are. Build log-weights "
                "from whole tensors, such as views, gather, cat, pad and where make them.",
                see="whose-entries",
            )
        with torch._C.DisableTorchFunctionSubclass():
            value = func(*args, **kwargs)
            several = isinstance(value, tuple | list)
            if not all(isinstance(x, Tensor) and x.is_floating_point() for x in (value if several else (value,))):
                return value
            if (
                name.startswith("new_")
                or name.endswith("_like")
                or (name in CASTS and not isinstance(args[0], Tracked))
            ):
                return value
            numbers = _numbers(name, func, args, kwargs, value)
        owners = frozenset[str]().union(*(x.potentials for x in tree_leaves((args, kwargs)) if isinstance(x, Tracked)))
        if several:
            every = numbers or (None,) * len(value)
            return type(value)(Tracked.of(x, n, owners) for x, n in zip(value, every, strict=True))
        return Tracked.of(value, numbers, owners)


def _numbers(name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> Any:
    """The numbers of what a function returned; None where it mixed entries."""
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tracked)]
    if any(x.number is None for x in given):
        return None
    if name in CASTS:  # numbers of their own, and no view, where values have memory of their own
        return given[0].number if value.dtype == given[0].dtype else given[0].number.clone()  # type: ignore[union-attr]
    if name in SCALES:
        if len(given) > 1:
            return None
        each = given[0].number.expand(value.shape).clone()  # type: ignore[union-attr]
        by = next((x for x in args if x is not given[0]), 1.0)
        return each.masked_fill(torch.as_tensor(by, device=each.device) == 0, CONSTANT)  # 0 times it is no part of it
    if name not in VIEWS and name not in MOVES:
        return None

    def number(x: Any) -> Any:
        if isinstance(x, Tracked):
            return x.number
        return torch.full_like(x, CONSTANT, dtype=torch.int64) if isinstance(x, Tensor) and x.is_floating_point() else x

    args, kwargs = tree_map(number, args), tree_map(number, kwargs)
    if name == "pad":  # its last argument is a number for new entries
        args, kwargs = args[:3], {**{k: v for k, v in kwargs.items() if k != "value"}, "value": CONSTANT}
    elif name in {"where", "masked_fill"}:
        args = tuple(CONSTANT if isinstance(x, float | int) else x for x in args)
        kwargs = {k: CONSTANT if isinstance(x, float | int) else x for k, x in kwargs.items()}
    return func(*args, **kwargs)


def tracked(potentials: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Potentials whose entries carry their numbers, counted through all of them.

    Example:
        >>> given = tracked({"a": torch.zeros(2), "b": torch.zeros(2)})
        >>> given["b"].flip(0).number.tolist()
        [3, 2]
    """
    sizes = [x.numel() for x in potentials.values()]
    device = next(iter(potentials.values())).device
    numbers = torch.arange(sum(sizes), device=device).split(sizes)
    every = zip(potentials.items(), numbers, strict=True)
    return {k: Tracked.of(x.detach(), n.view(x.shape), frozenset({k})) for (k, x), n in every}


def sources(chain: Chain, potentials: Mapping[str, Tensor]) -> list[Source | None]:
    """Where each of a chain's leaves comes from; None for indices and lengths.

    Args:
        chain: made from `tracked` potentials.
        potentials: those.

    Example:
        >>> given = tracked({"start": torch.zeros(2), "seen": torch.zeros(3, 2)})
        >>> chain = Chain((given["start"],), semihmm.engine.Diagonal(given["seen"][1:]))
        >>> [(source.is_view, source.number.tolist()) for source in sources(chain, given)]
        [(True, [0, 1]), (True, [[4, 5], [6, 7]])]
    """
    every = {id(x.number._base) for x in potentials.values() if isinstance(x, Tracked) and x.number is not None}
    found: list[Source | None] = []
    for x in chain.leaves:
        if not x.is_floating_point():
            found.append(None)
        elif isinstance(x, Tracked):
            is_view = x.number is not None and x.number._base is not None and id(x.number._base) in every
            found.append(Source(x.number, x.potentials, is_view))
        else:
            found.append(Source(torch.full(x.shape, CONSTANT, device=x.device), frozenset(), False))
    return found

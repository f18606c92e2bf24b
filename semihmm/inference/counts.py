"""Expected counts: the log-partition and its gradient, for all potentials or for those that are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from semihmm import engine
from semihmm.engine import Chain, Plan
from semihmm.engine.backends.tensors import transformed, zeros
from semihmm.engine.maps import Grid
from semihmm.engine.total import posteriors
from semihmm.inference.total import Options, prepare
from semihmm.semirings import Log
from semihmm.structures import Structure
from semihmm.structures.base import traced

if TYPE_CHECKING:
    from typing_extensions import Unpack


def expected_counts(
    structure: Structure, names: Sequence[str] | None = None, **options: Unpack[Options]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The log-partition of each sequence, and how often each potential is used, in expectation, by all of them.

    Args:
        names: the potentials whose counts are asked for; the work and memory of the others is spared. None for all.
    Returns:
        ``(...)`` in nats; and by name, in the shape of the potential, the gradient of the sum of those (minus it, where
        the potential is a cost). One that all sequences share is counted over all of them, so no ``(B, S, S)`` exists;
        `marginals` counts for each sequence. Zero where there is no path. Differentiable in turn.
    Cost: two scans, O(T) memory (see ``checkpoint``).

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(5, 3, 2))
        >>> log_partition, counts = expected_counts(hmm)
        >>> counts["transition"].tolist()  # 5 sequences, 2 steps each
        [[2.5, 2.5], [2.5, 2.5]]
    """
    return expected(structure, structure.potentials, tuple(structure.ranks) if names is None else names, options)


def expected(
    structure: Structure, potentials: Mapping[str, Tensor], names: Sequence[str], options: Options
) -> tuple[Tensor, dict[str, Tensor]]:
    """The same, with other potentials in the structure.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> expected(hmm, hmm.expanded_potentials, ("emission",), {})[1]["emission"].tolist()
        [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    """
    create_graph = torch.is_grad_enabled() and any(x.requires_grad for x in potentials.values())
    given = {n: x if create_graph else x.detach() for n, x in potentials.items()}
    with torch.enable_grad():
        for name in names:
            if not given[name].requires_grad:
                given[name] = given[name].detach().requires_grad_()
        inputs = [given[n] for n in names]
        chain, plan = prepare(structure.holding(**given), Log(), options)
        found: Sequence[Tensor]
        if plan.backend == "native" and not create_graph and not traced() and not transformed():
            value, found = _natively(plan, chain, inputs)
            value = value.to(chain.start[0].dtype)
        else:
            value = engine.total(plan, Log(), chain)
            found = torch.autograd.grad(value.sum(), inputs, create_graph=create_graph, materialize_grads=True)
            value = value if create_graph else value.detach()
    return value, {n: g if structure.sign == 1 else structure.sign * g for n, g in zip(names, found, strict=True)}


def _natively(plan: Plan, chain: Chain, inputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The log-mass and its gradient by ``inputs``, which the chain was made from while autograd looked on.

    Where leaves are views of an input, the compiled code writes to the same views of its gradient; the rest of the way,
    from leaves to inputs, is autograd's.
    """
    asked = [x.requires_grad for x in chain.leaves]
    found, into = _views(chain, inputs)
    value, weights = posteriors(plan, chain, asked, into)
    left = [x for x, g in zip(inputs, found, strict=True) if g is None]
    if not left:
        return value, [g for g in found if g is not None]
    ends = [(x, g) for x, g, place in zip(chain.leaves, weights, into, strict=False) if g is not None and place is None]
    outputs, shares = [x for x, _ in ends], [g for _, g in ends]
    pulled = iter(torch.autograd.grad(outputs, left, shares, materialize_grads=True))
    return value, [next(pulled) if g is None else g for g in found]


def _views(chain: Chain, inputs: Sequence[Tensor]) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """For each input, zeros for its gradient, if leaves are disjoint views of it; for each leaf, its view of those."""
    borders = len(chain.start) + len(chain.end)
    events = (1,) * borders + chain.steps.ranks
    leaves = chain.leaves[: len(events)]
    nowhere: tuple[list[Tensor | None], list[Tensor | None]] = [None] * len(inputs), [None] * len(leaves)
    if isinstance(chain.steps, Grid):  # whose one leaf has no time axis
        return nowhere
    owner = {id(x): i for i, x in enumerate(inputs)}
    mine: list[list[int]] = [[] for _ in inputs]
    for at, leaf in enumerate(leaves):
        if leaf.requires_grad:
            i = owner.get(id(leaf if leaf._base is None else leaf._base))
            if i is None:  # it was computed, from who knows which inputs
                return nowhere
            mine[i].append(at)
    found, into = nowhere
    for i, x in enumerate(inputs):
        views = tuple([_layout(leaves[at], events[at]) for at in mine[i]])
        if x.is_contiguous() and _disjoint(views, chain.batch):
            found[i] = whole = zeros(x.shape, x)
            first = int(x.storage_offset())
            for at, view in zip(mine[i], views, strict=True):
                into[at] = whole.as_strided(view.shape, view.stride, view.first - first)
    return found, into


class _Layout(NamedTuple):
    """How a view lies in memory, and how many of its axes are an event's."""

    shape: torch.Size
    stride: tuple[int, ...]
    first: int
    event: int


def _layout(x: Tensor, event: int) -> _Layout:
    return _Layout(x.shape, x.stride(), int(x.storage_offset()), event)


@lru_cache(maxsize=1024)
def _disjoint(views: tuple[_Layout, ...], batch: torch.Size) -> bool:
    """Whether no two views of one contiguous tensor share an entry, and events lie in one piece."""
    pieces = []
    for shape, stride, first, event in views:
        axes = len(batch)
        if shape[:axes] != batch or any(s == 0 and n > 1 for n, s in zip(shape, stride, strict=True)):
            return False
        size = 1
        for n, s in zip(reversed(shape[-event:]), reversed(stride[-event:]), strict=True):
            if n > 1 and s != size:
                return False
            size *= n
        reach = sum((n - 1) * s for n, s in zip(shape[axes:], stride[axes:], strict=True))
        pieces.append((first, first + reach + 1 if shape.numel() else first))
    pieces.sort()
    return all(one[1] <= other[0] for one, other in pairwise(pieces))

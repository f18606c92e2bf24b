"""The calls of the compiled module: tensors that hold numbers in, tensors out.

What they have in common: ``tensors`` are a chain's, as `compiled.tensors_of` has them; ``features`` are those of a
chain with features, for Expectation. ``requested`` says of which of them gradients are to be found. ``blocks`` is how
many blocks of steps there are: the state vectors in front of each are kept, those of every step if 1, none if 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semihmm.engine.backends import native
from semihmm.engine.tensors import THREADS_FROM, filled, in_huge_pages, zeros

_FOUND = native()
if _FOUND is None:
    raise ImportError("the native backend is not loaded: semihmm.backends() says why", name=__name__)
MODULE: ModuleType = _FOUND
LOG: int = MODULE.LOG
MAX: int = MODULE.MAX
TOPK: int = MODULE.TOPK
EXPECTATION: int = MODULE.EXPECTATION
DENSE: int = MODULE.DENSE
DIAGONAL: int = MODULE.DIAGONAL
TIED: int = MODULE.TIED
SPARSE: int = MODULE.SPARSE
SEGMENTAL: int = MODULE.SEGMENTAL
GRID: int = MODULE.GRID
AXES: int = MODULE.AXES
GRID_TABLES: int = MODULE.GRID_TABLES  # tensors that say where the arcs of a grid are
LANES: int = MODULE.LANES  # bytes in a vector, to whole numbers of which state vectors are padded
BLOCK: int = MODULE.BLOCK  # steps whose tables are made at a time
GROUP: int = MODULE.GROUP  # sequences that a thread works on at a time, at most
PARTS: int = MODULE.PARTS  # of a batch, at most: each has its own sums


class Call(NamedTuple):
    """A chain, less its tensors, as the compiled code is given of it. Everything in it is a plain number."""

    spec: tuple[int, ...]
    semiring: int
    components: int
    beta: float  # what log-weights are multiplied by, and the answer divided by: 1 / temperature
    batch: tuple[int, ...]
    length: int
    stride: int  # numbers in a state vector, components and padding included
    memory: int
    work: int


def posteriors(
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    call: Call,
    blocks: int,
    requested: Sequence[bool],
    into: Sequence[Tensor | None] = (),
    features: Sequence[Tensor] = (),
    weights: Sequence[Tensor | None] | None = None,
) -> tuple[Tensor, list[Tensor | None]]:
    """Totals and their gradient in one go, of tensors that hold numbers: a few sequences at a time, so nothing is kept.

    For Max, totals and the scores of the best paths through each weight. With features, totals have an axis in front.

    Args:
        into: zeros to write them to, of each tensor's shape, event axes in one piece; new ones where None.
        weights: of the totals; with features, of the log-mass and of the mean. None for 1.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> from semihmm.engine.backends.compiled import call_for, tensors_of
        >>> call = call_for(semihmm.semirings.Log(), chain)
        >>> _, found = posteriors(tensors_of(chain), None, call, 1, (True, True))
        >>> found[0].tolist()
        [0.5, 0.5]
    """
    values = torch.empty((call.components, *call.batch) if features else call.batch, dtype=torch.float64)
    each = [_whole(w, call.batch) for w in weights] if weights else (torch.ones(call.batch, dtype=torch.float64), None)
    outs = _outs(call, tensors, requested, into)
    if call.semiring == MAX:
        outs = [None if x is None else filled(x, -math.inf) for x in outs]
    flat, count = _without_axes(outs, len(call.batch)), len(tensors)
    if values.numel():
        head, kept = _head(call, tensors, features, lengths), (None, None, *_segments(call, blocks))
        MODULE.gradient(*head, *kept, *each, flat, [None] * count, values, call.stride)
    gather = _best if call.semiring == MAX else _summed
    found = [None if g is None else gather(g, x) for g, x in zip(outs, tensors, strict=True)]
    return values if call.beta == 1.0 else values / call.beta, found


def stride_of(spec: Sequence[int], slots: int, size: int, components: int) -> int:
    """How many numbers of ``size`` bytes a state vector takes: each part of it is padded to whole vectors.

    Example:
        >>> stride_of((1, 0, DENSE), slots=3, size=4, components=2) == 2 * LANES // 4
        True
    """
    parts, lanes = 1 + (spec[2] == SEGMENTAL), LANES // size
    return parts * -(-slots // parts // lanes) * lanes * components


def arc_indices(spec: Sequence[int]) -> int:
    """How many arc indices say which weights of a step a path takes: one for each map, that in a Segmental among
    them, and of Axes one for each axis.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> from semihmm.engine.backends.compiled import call_for
        >>> arc_indices(call_for(semihmm.semirings.Max(), chain).spec)
        1
    """
    words, at, count = {SPARSE: 2, SEGMENTAL: 2, GRID: 3, AXES: 2}, 2, 0  # of a map's kind and constants
    while at < len(spec):
        count += spec[at + 1] if spec[at] == AXES else 1
        at += words.get(spec[at], 1)
    return count


def _flat(x: Tensor, axes: int, batch: Sequence[int]) -> Tensor:
    """As the compiled code reads it: with one batch axis, of size 1 where all share the tensor, or with none."""
    if x.requires_grad:
        x = x.detach()
    if x.is_neg():  # DLPack does not know of views that negate
        x = x.resolve_neg()
    if axes <= 1:
        return x
    event = x.shape[axes:]
    if x.shape[:axes].numel() == 1:
        return x.reshape(1, *event)
    return x.expand(*batch, *event).reshape(math.prod(batch), *event)


def _given(call: Call, tensors: Sequence[Tensor]) -> list[Tensor]:
    axes = len(call.batch)
    if call.spec[2] != GRID:
        return [_flat(x, axes, call.batch) for x in tensors]
    count = len(tensors) - GRID_TABLES  # tables have no batch axis
    return [_flat(x, axes, call.batch) for x in tensors[:count]] + [x.contiguous() for x in tensors[count:]]


def _head(call: Call, tensors: Sequence[Tensor], features: Sequence[Tensor], lengths: Tensor | None) -> tuple[Any, ...]:
    count = math.prod(call.batch)
    busy = count * call.length * call.work * call.components
    threads = torch.get_num_threads() if busy >= THREADS_FROM else 1
    along = _given(call, features) if features else []
    if lengths is not None and (
        lengths.dtype != torch.int64 or lengths.shape != call.batch or not lengths.is_contiguous()
    ):
        lengths = lengths.to(torch.int64).expand(call.batch).contiguous()
    wide = tensors[0].dtype == torch.float64
    numbers = (call.semiring, call.components, call.beta, wide, call.spec, bool(call.batch))
    return (*numbers, _given(call, tensors), along, lengths, count, call.length, threads)


def _segments(call: Call, blocks: int) -> tuple[int, int]:
    """How many state vectors are kept, and how many steps there are in a block (0 where none is kept)."""
    segment = max(-(-call.length // blocks), 1) if blocks else 0
    if not segment or segment >= call.length:
        return (call.length + 1 if segment else 0), segment
    return (call.length // segment + 1) * call.memory, segment


def workspace(
    call: Call, blocks: int, like: Tensor, batch: Sequence[int], new: Callable[..., Tensor] = torch.empty
) -> tuple[Tensor, Tensor]:
    """Where state vectors and their offsets are kept; behind those is said of each block whether it is scaled."""
    rows, segment = _segments(call, blocks)
    numbers = rows + (-(-call.length // BLOCK) if segment >= call.length else 0)
    offsets = new((*batch, numbers), dtype=torch.float64, device=like.device)
    return new((*batch, rows, call.stride), dtype=like.dtype, device=like.device), offsets


def total(
    tensors: Sequence[Tensor],
    features: Sequence[Tensor],
    lengths: Tensor | None,
    call: Call,
    blocks: int,
    new: Callable[..., Tensor] = torch.empty,
) -> tuple[Tensor, Tensor, Tensor]:
    """The total, float64 ``(components, ...)``, and the state vectors that are kept, with their offsets."""
    values = torch.empty((call.components, *call.batch), dtype=torch.float64)
    vectors, offsets = workspace(call, blocks, tensors[0], call.batch, new)
    in_huge_pages(vectors)
    head = _head(call, tensors, features, lengths)
    if values.numel():
        MODULE.total(*head, vectors, offsets, *_segments(call, blocks), values)
    return values if call.beta == 1.0 else values / call.beta, vectors, offsets


def gradient(
    tensors: Sequence[Tensor],
    features: Sequence[Tensor],
    lengths: Tensor | None,
    call: Call,
    blocks: int,
    vectors: Tensor,
    offsets: Tensor,
    weight: Tensor,
    mean_weight: Tensor | None,
    requested: Sequence[bool],
) -> list[Tensor]:
    """The gradient of totals, weighted, by what is requested, from what `total` kept for the same ``blocks``.

    Args:
        weight: of the totals ``(...)``; with features, of the log-mass.
        mean_weight: with features, that of the mean.
    """
    everything = [*tensors, *features]
    outs = _outs(call, everything, requested)
    weights = [_whole(w, call.batch) for w in (weight, mean_weight)]
    flat, count = _without_axes(outs, len(call.batch)), len(tensors)
    after = (vectors.detach().contiguous(), offsets.detach().contiguous(), *_segments(call, blocks))
    if math.prod(call.batch):
        head = _head(call, tensors, features, lengths)
        MODULE.gradient(*head, *after, *weights, flat[:count], flat[count:] or [None] * count, None, call.stride)
    return [_summed(g, x) for g, x in zip(outs, everything, strict=True) if g is not None]


def _outs(
    call: Call, tensors: Sequence[Tensor], requested: Sequence[bool], into: Sequence[Tensor | None] = ()
) -> list[Tensor | None]:
    """Where the gradients that are requested go: zeros, given or new."""
    axes = len(call.batch)
    outs: list[Tensor | None] = [*into, *(None,) * (len(tensors) - len(into))]
    for i, x in enumerate(tensors):
        if requested[i] and outs[i] is None:
            # A leaf that has some of several batch axes is filled as if it had them all, then summed up.
            some = axes > 1 and x.shape[:axes].numel() > 1
            outs[i] = zeros((*call.batch, *x.shape[axes:]) if some else x.shape, x)
    return outs


def _summed(gradient: Tensor, x: Tensor) -> Tensor:
    """Over the batch axes that the leaf does not have."""
    return gradient if gradient.shape == x.shape else gradient.sum_to_size(x.shape)


def _best(score: Tensor, x: Tensor) -> Tensor:
    """The same for scores, of which the best counts."""
    shared = [d for d, (n, m) in enumerate(zip(x.shape, score.shape, strict=True)) if n != m]
    if not score.numel():  # of no sequences there is no best one, and `amax` refuses
        return score.sum(shared, keepdim=True) - math.inf if shared else score
    return score.amax(shared, keepdim=True) if shared else score


def _without_axes(outs: list[Tensor | None], axes: int) -> list[Tensor | None]:
    """The same memory, with one batch axis at most."""
    if axes <= 1:
        return outs
    return [None if x is None else x.view(x.shape[:axes].numel(), *x.shape[axes:]) for x in outs]


def _whole(x: Tensor | None, batch: Sequence[int]) -> Tensor | None:
    """Numbers for each sequence, float64, one after the other."""
    return None if x is None else x.detach().double().expand(batch).contiguous()


def paths(
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    call: Call,
    blocks: int,
    rows: int,
    uniforms: Tensor | None,
    with_arcs: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Paths: their values, slots and choices, and by which weights they go.

    Args:
        uniforms: float64 in [0, 1), ``(rows, ..., 2 T + 2)``, to draw paths with; None for the best ones.
        with_arcs: whether arc indices are requested, for `gradient_of_paths`.
    Returns:
        Values ``(components, ...)``, float64; slots ``(rows, ..., T + 1)``, choices ``(rows, ..., T)`` and arc indices
        ``(rows, ..., T, n)``, int64.
    """
    slots = torch.empty((rows, *call.batch, call.length + 1), dtype=torch.int64)
    choices = torch.empty((rows, *call.batch, call.length), dtype=torch.int64)
    values = torch.empty((call.components, *call.batch), dtype=torch.float64)
    arcs = torch.empty((rows, *call.batch, call.length, arc_indices(call.spec) if with_arcs else 0), dtype=torch.int64)
    head = _head(call, tensors, (), lengths)
    draws = 0 if uniforms is None else uniforms.shape[-1]
    uniforms = None if uniforms is None else uniforms.contiguous()
    if values.numel():
        MODULE.paths(
            *head, *_segments(call, blocks), rows, slots, choices, uniforms, draws, values, arcs if with_arcs else None
        )
    return values if call.beta == 1.0 else values / call.beta, slots, choices, arcs


def gradient_of_paths(
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    call: Call,
    slots: Tensor,
    arcs: Tensor,
    weight: Tensor,
    requested: Sequence[bool],
) -> list[Tensor]:
    """The gradient of the scores of paths, each times its ``weight (rows, ...)``, by what is requested."""
    outs, rows = _outs(call, tensors, requested), len(slots)
    weight = weight.detach().double().expand(rows, *call.batch).contiguous()
    if weight.numel():
        flat = _without_axes(outs, len(call.batch))
        few = call._replace(work=8)  # a step of a path is a handful of additions, however many arcs there are
        head = _head(few, tensors, (), lengths)
        MODULE.gradient_of_paths(*head, rows, slots.contiguous(), arcs.contiguous(), weight, flat)
    return [_summed(g, x) for g, x in zip(outs, tensors, strict=True) if g is not None]


def best_in_slots(tensors: Sequence[Tensor], lengths: Tensor | None, call: Call, slots: int) -> Tensor | None:
    """The score of the best path through each slot at each time, ``(..., T + 1, slots)``.

    Of dense transitions that all steps share, between more than the fewest states; None for other chains.
    """
    assert call.semiring == MAX and call.beta == 1.0
    out = in_huge_pages(torch.empty(*call.batch, call.length + 1, slots, dtype=tensors[0].dtype))
    if out.numel() and not MODULE.best_in_slots(*_head(call, tensors, (), lengths), out):
        return None
    return out


def vectors(tensors: Sequence[Tensor], lengths: Tensor | None, call: Call, slots: int, only: Tensor | None) -> Tensor:
    """The state vectors at all times, float64 ``(..., T + 1, slots)``; of ``only`` one slot each, ``(..., T + 1)``."""
    assert call.semiring in (LOG, MAX) and call.beta == 1.0
    each = (slots,) if only is None else ()
    out = in_huge_pages(torch.empty(*call.batch, call.length + 1, *each, dtype=torch.float64))
    if out.numel():
        one = None if only is None else only.expand(call.batch).contiguous()
        MODULE.vectors(*_head(call, tensors, (), lengths), one, out)
    return out

"""The compiled backend: totals, gradients and paths of a whole chain in one call each (csrc/)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semihmm.engine.backends import native
from semihmm.engine.chain import Chain
from semihmm.engine.maps import Compose, Dense, Diagonal, Grid, Map, Segmental, Sparse
from semihmm.semirings import Expectation, Log, Max, Min, Sample, Semiring, SmoothMax, TopK

__all__ = [
    "Call",
    "call_for",
    "gradient",
    "leaves",
    "paths",
    "posteriors",
    "refusal",
    "settled",
    "squared_distances",
    "total",
    "usable",
    "zeros",
]

DENSE, DIAGONAL, SPARSE, SEGMENTAL, GRID, TIED = range(6)  # as in csrc/call.hpp
GRID_TABLES = 6  # tensors that say where the arcs of a grid are
LOG, MAX, TOPK, EXPECTATION = range(4)  # as in csrc/module.cc
_MODULE = native()
LANES: int = 64 if _MODULE is None else _MODULE.lanes()  # bytes in a vector
LARGE = 4 << 20  # bytes from which huge pages pay
THREADS_FROM = 300_000  # products below which a thread costs more than it saves


class Call(NamedTuple):
    """A chain, less its tensors, as the compiled code is told of it. Everything in it is a plain number."""

    spec: tuple[int, ...]
    semiring: int
    components: int
    beta: float  # what log-weights are multiplied by, and the answer divided by: 1 / temperature
    batch: tuple[int, ...]
    length: int
    stride: int  # numbers in a state vector, components and padding included
    memory: int
    work: int


def refusal(semiring: Semiring, chain: Chain) -> str | None:
    """Why the compiled code does not do this chain; None where it does.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> refusal(semihmm.semirings.Count(), chain)
        'no kernel for Count()'
    """
    if _arithmetic(semiring) is None:
        return f"no kernel for {semiring}"
    leaves = chain.leaves
    kind = leaves[0].dtype
    if kind not in (torch.float32, torch.float64) or any(x.dtype != kind and x.is_floating_point() for x in leaves):
        return f"no kernel for {', '.join(sorted({str(x.dtype) for x in leaves if x.is_floating_point()}))}"
    if not all(x.is_cpu for x in leaves):
        return "its tensors are not on the CPU"
    if _spec(chain.steps) is None:
        return f"no kernel for {type(chain.steps).__name__}"
    return None


def _arithmetic(semiring: Semiring) -> tuple[int, int, float] | None:
    """The kernel's semiring, its components and beta."""
    kind = type(semiring)  # a subclass may do anything; and to ask an abstract class takes a while
    if kind is Log or kind is Sample:
        return LOG, 1, 1.0
    if kind is Max or kind is Min:
        return MAX, 1, 1.0
    if kind is SmoothMax:
        assert semiring.temperature is not None
        return LOG, 1, 1.0 / semiring.temperature
    if isinstance(semiring, TopK):
        return TOPK, semiring.k, 1.0
    return (EXPECTATION, 2, 1.0) if kind is Expectation else None  # one feature at a time


def _spec(steps: Map) -> tuple[int, ...] | None:
    kind = type(steps)
    if kind is Compose:
        assert isinstance(steps, Compose)
        first, then = _spec(steps.first), _spec(steps.then)
        return None if first is None or then is None else first + then
    if kind is Dense:
        return (DENSE,)
    if isinstance(steps, Diagonal):
        return (DIAGONAL if steps.index is None else TIED,)
    if isinstance(steps, Sparse):
        return (SPARSE, steps.memory)
    if isinstance(steps, Segmental):
        return (SEGMENTAL, int(steps.segment is not None))
    return (GRID, steps.memory, steps.first) if isinstance(steps, Grid) else None


def call_for(semiring: Semiring, chain: Chain) -> Call:
    """How the compiled code is told of a chain that it does not refuse.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> call_for(semihmm.semirings.Log(), chain).spec
        (1, 0, 0)
    """
    arithmetic, steps = _arithmetic(semiring), _spec(chain.steps)
    assert arithmetic is not None and steps is not None
    map_ = chain.steps
    parts = 2 if isinstance(map_, Segmental) else 1
    lanes = LANES // chain.start[0].element_size()
    stride = parts * -(-map_.slots // parts // lanes) * lanes * arithmetic[1]  # each part is padded to whole vectors
    spec = (len(chain.start), len(chain.end), *steps)
    return Call(spec, *arithmetic, tuple(chain.batch), chain.length, stride, map_.memory, map_.work)


def leaves(chain: Chain) -> list[Tensor]:
    """All tensors of a chain but its lengths, in the order of the compiled code.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> [tuple(x.shape) for x in leaves(chain)]
        [(2,), (1, 2, 2)]
    """
    steps, more = chain.steps, []
    if isinstance(steps, Grid):
        more = [steps.row, steps.source, steps.plane, steps.factor, steps.low, steps.high]
    return [*chain.start, *chain.end, *steps.leaves, *more]


def settled(chain: Chain) -> Chain:
    """The chain with the tables of a Grid as plain tensors, which outlive the transform that they were made in.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> settled(chain) is chain
        True
    """
    if torch.compiler.is_compiling() or not isinstance(chain.steps, Grid):
        return chain
    if torch._C._functorch.peek_interpreter_stack() is None:
        return chain
    tables = {}
    for name in ("row", "source", "plane", "factor", "low", "high"):
        x = getattr(chain.steps, name)
        while torch._C._functorch.is_functorch_wrapped_tensor(x):
            x = torch._C._functorch.get_unwrapped(x)
        tables[name] = x
    return replace(chain, steps=replace(chain.steps, **tables))


def plain(tensors: Sequence[Tensor]) -> bool:
    """Whether tensors hold numbers that may be read now: no transform, no tracing, no subclass.

    Example:
        >>> plain([torch.zeros(2)])
        True
    """
    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    if torch._C._len_torch_dispatch_stack():  # somebody takes down what is called, such as make_fx
        return False
    return all(type(x) is Tensor or type(x) is torch.nn.Parameter for x in tensors)


def usable(tensors: Iterable[Tensor], sign: float = 1.0) -> bool:
    """Whether no entry of any tensor is NaN, or infinite with ``sign``. One pass; False may also mean: not known.

    Example:
        >>> usable([torch.tensor([0.0, -torch.inf])]), usable([torch.tensor([0.0, torch.nan])])
        (True, False)
    """
    given = [x.detach() if x.requires_grad else x for x in tensors]
    if _MODULE is not None and all(x.is_cpu and not x.is_neg() for x in given):
        found: bool = _MODULE.usable(given, sign)
        return found
    peaks = [x.amax() if sign > 0 else -x.amin() for x in given if x.numel()]  # NaN, where there is one
    return all(bool(peak < math.inf) for peak in peaks)


def squared_distances(x: Tensor, y: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor | None:
    """``bias + sum of weight * (x - y)^2`` of all items of ``(..., N, F)`` and ``(..., M, F)``; None: not compiled.

    Args:
        weight: of each feature of each item of ``y``, of its shape; ``bias`` ``(..., M)`` comes with it.

    Example:
        >>> found = squared_distances(torch.zeros(2, 1), torch.ones(3, 1))
        >>> found is None or found.tolist() == [[1.0] * 3] * 2
        True
    """
    if _MODULE is None or not (x.is_cpu and y.is_cpu) or x.dtype not in (torch.float32, torch.float64):
        return None
    batch = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    own = batch if y.shape[:-2].numel() != 1 else y.shape[:-2]  # what all sequences share is read where it lies
    out = _in_huge_pages(torch.empty(*batch, x.shape[-2], y.shape[-2], dtype=x.dtype))
    if out.numel():
        threads = torch.get_num_threads() if out.numel() * (1 + x.shape[-1]) >= THREADS_FROM else 1
        items = (None if z is None else _in_one_piece(z, own, event) for z, event in ((y, 2), (weight, 2), (bias, 1)))
        _MODULE.squared_distances(_in_one_piece(x, batch, 2), *items, x.dtype == torch.float64, out, threads)
    return out


def _in_one_piece(x: Tensor, batch: torch.Size, event: int) -> Tensor:
    """With all batch axes, as one."""
    own = x.shape[x.ndim - event :]
    return x.detach().resolve_neg().expand(*batch, *own).reshape(batch.numel(), *own).contiguous()


def total(
    call: Call, tensors: Sequence[Tensor], features: Sequence[Tensor], lengths: Tensor | None, segment: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The total of a chain, float64 ``(components, ...)``, and the state vectors that are kept with their offsets.

    Args:
        segment: keep the state vectors in front of each so many steps; all of them if there are no more; 0 for none.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> if native() is not None:
        ...     value, *_ = total(call_for(semihmm.semirings.Log(), chain), leaves(chain), (), None, 0)
        ...     assert round(float(value.exp())) == 16
    """
    work = _total if plain(tensors) else torch.ops.semihmm.total
    found: tuple[Tensor, Tensor, Tensor] = work(list(tensors), list(features), lengths, *call, segment)
    return found


def gradient(
    call: Call,
    tensors: Sequence[Tensor],
    features: Sequence[Tensor],
    lengths: Tensor | None,
    kept: tuple[Tensor, Tensor],
    segment: int,
    weights: tuple[Tensor, Tensor | None],
    needed: Sequence[bool] | None = None,
) -> list[Tensor | None]:
    """The gradient of totals, weighted, by each of ``tensors``, then each of ``features``; None for tables.

    Args:
        kept: the state vectors and offsets that `total` kept for the same ``segment``.
        needed: which gradients are asked for; None for all.
        weights: of the totals ``(...)``; for Expectation, those of the log-mass and those of the mean.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> if native() is not None:
        ...     call = call_for(semihmm.semirings.Log(), chain)
        ...     _, *kept = total(call, leaves(chain), (), None, 3)
        ...     one = (torch.ones(()), None)
        ...     found = gradient(call, leaves(chain), (), None, tuple(kept), 3, one)
        ...     assert found[1].tolist() == [[[0.75, 0.75], [0.75, 0.75]]]  # 3 steps, 4 arcs
    """
    tables = GRID_TABLES if call.spec[2] == GRID else 0
    wanted = [x.is_floating_point() and i < len(xs) - tables for xs in (tensors, features) for i, x in enumerate(xs)]
    if needed is not None:
        wanted = [w and n for w, n in zip(wanted, needed, strict=True)]
    work = _gradient if plain(tensors) else torch.ops.semihmm.gradient
    found = iter(work(list(tensors), list(features), lengths, *call, segment, *kept, *weights, wanted))
    return [next(found) if w else None for w in wanted]


def posteriors(
    call: Call,
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    segment: int,
    needed: Sequence[bool],
    into: Sequence[Tensor | None] = (),
    features: Sequence[Tensor] = (),
    weights: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, list[Tensor | None]]:
    """Totals and their gradient in one go, of tensors that hold numbers: a few sequences at a time, so nothing is kept.

    Args:
        needed: which gradients are asked for.
        into: zeros to write them to, of each tensor's shape, event axes in one piece; new ones where None.
        features: for Expectation; then totals have an axis of components in front.
        weights: as for `gradient`; None for 1.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> if native() is not None:
        ...     call = call_for(semihmm.semirings.Log(), chain)
        ...     _, found = posteriors(call, leaves(chain), None, 3, (True, True))
        ...     assert found[0].tolist() == [0.5, 0.5]
    """
    values = torch.empty((call.components, *call.batch) if features else call.batch, dtype=torch.float64)
    each = [_whole(w, call.batch) for w in weights] if weights else (torch.ones(call.batch, dtype=torch.float64), None)
    outs = _outs(call, tensors, needed, into)
    flat, count = _without_axes(outs, len(call.batch)), len(tensors)
    if values.numel():
        head, kept = _head(call, tensors, features, lengths), (None, None, _rows(call, segment), segment)
        _module().gradient(*head, *kept, *each, flat, [None] * count, values, call.stride)
    found = [None if g is None else g.sum_to_size(x.shape) for g, x in zip(outs, tensors, strict=True)]
    return values if call.beta == 1.0 else values / call.beta, found


def paths(
    call: Call, tensors: Sequence[Tensor], lengths: Tensor | None, segment: int, rows: int, uniforms: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Slots ``(rows, ..., T + 1)`` and choices ``(rows, ..., T)`` of paths chosen, and values ``(components, ...)``.

    Args:
        uniforms: float64 in [0, 1), ``(rows, ..., 2 T + 2)``, to draw paths with; None for the best ones.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> if native() is not None:
        ...     slots, *_ = paths(call_for(semihmm.semirings.Max(), chain), leaves(chain), None, 3, 1, None)
        ...     assert slots.tolist() == [[0, 0, 0, 0]]
    """
    work = _paths if plain(tensors) else torch.ops.semihmm.paths
    found: tuple[Tensor, Tensor, Tensor] = work(list(tensors), lengths, *call, segment, rows, uniforms)
    return found


# What follows are the operators themselves, for PyTorch's tracers as well: tensors and plain numbers in, tensors out.


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
    count = len(tensors) - GRID_TABLES  # tables have no batch axis; vmap may have given them one
    flat = [_flat(x, axes, call.batch) for x in tensors[:count]]
    return flat + [x[(0,) * axes].contiguous() if x.ndim > (1 + (i > 0)) else x for i, x in enumerate(tensors[count:])]


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


def _rows(call: Call, segment: int) -> int:
    """How many state vectors are kept: all of them, those in front of each segment, or (segment 0) none."""
    if not segment:
        return 0
    return call.length + 1 if segment >= call.length else (call.length // segment + 1) * call.memory


def _kept(call: Call, segment: int, like: Tensor, new: Callable[..., Tensor] = torch.empty) -> tuple[Tensor, Tensor]:
    rows = _rows(call, segment)
    offsets = new(*call.batch, rows, dtype=torch.float64, device=like.device)
    return new(*call.batch, rows, call.stride, dtype=like.dtype, device=like.device), offsets


def _in_huge_pages(fresh: Tensor) -> Tensor:
    """A tensor that nobody has touched; if it is large, in huge pages, which are faster to touch first."""
    if fresh.numel() * fresh.element_size() >= LARGE:
        _module().in_huge_pages(fresh)
    return fresh


def _total(
    tensors: list[Tensor],
    features: list[Tensor],
    lengths: Tensor | None,
    *numbers: Any,
    new: Callable[..., Tensor] = torch.empty,
) -> tuple[Tensor, Tensor, Tensor]:
    call, segment = Call(*numbers[:-1]), numbers[-1]
    values = torch.empty(call.components, *call.batch, dtype=torch.float64)
    vectors, offsets = _kept(call, segment, tensors[0], new)
    _in_huge_pages(vectors)
    head = _head(call, tensors, features, lengths)
    if values.numel():
        _module().total(*head, vectors, offsets, _rows(call, segment), segment, values)
    return values if call.beta == 1.0 else values / call.beta, vectors, offsets


def zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """A tensor of zeros for gradients: in huge pages, if it is large.

    Example:
        >>> zeros((2,), torch.ones(1)).tolist()
        [0.0, 0.0]
    """
    return _in_huge_pages(torch.empty(shape, dtype=like.dtype)).zero_()


def _gradient(tensors: list[Tensor], features: list[Tensor], lengths: Tensor | None, *numbers: Any) -> list[Tensor]:
    call, (segment, vectors, offsets, one, two, wanted) = Call(*numbers[:-6]), numbers[-6:]
    everything = [*tensors, *features]
    outs = _outs(call, everything, wanted)
    weights = [None if w is None else _whole(w, call.batch) for w in (one, two)]
    flat, count = _without_axes(outs, len(call.batch)), len(tensors)
    after = (vectors.detach().contiguous(), offsets.detach().contiguous(), _rows(call, segment), segment)
    if math.prod(call.batch):
        head = _head(call, tensors, features, lengths)
        _module().gradient(*head, *after, *weights, flat[:count], flat[count:] or [None] * count, None, call.stride)
    return [g.sum_to_size(x.shape) for g, x in zip(outs, everything, strict=True) if g is not None]


def _outs(
    call: Call, tensors: Sequence[Tensor], wanted: Sequence[bool], into: Sequence[Tensor | None] = ()
) -> list[Tensor | None]:
    """Where the gradients that are wanted go: zeros, given or new."""
    axes = len(call.batch)
    outs: list[Tensor | None] = [*into, *(None,) * (len(tensors) - len(into))]
    for i, x in enumerate(tensors):
        if wanted[i] and outs[i] is None:
            # A leaf that has some of several batch axes is filled as if it had them all, then summed up.
            some = axes > 1 and x.shape[:axes].numel() > 1
            outs[i] = zeros((*call.batch, *x.shape[axes:]) if some else x.shape, x)
    return outs


def _without_axes(outs: list[Tensor | None], axes: int) -> list[Tensor | None]:
    """The same memory, with one batch axis at most."""
    if axes <= 1:
        return outs
    return [None if x is None else x.view(x.shape[:axes].numel(), *x.shape[axes:]) for x in outs]


def _whole(x: Tensor, batch: Sequence[int]) -> Tensor:
    """Numbers for each sequence, float64, one after the other."""
    return x.detach().double().expand(batch).contiguous()


def _paths(tensors: list[Tensor], lengths: Tensor | None, *numbers: Any) -> tuple[Tensor, Tensor, Tensor]:
    call, (segment, rows, uniforms) = Call(*numbers[:-3]), numbers[-3:]
    slots = torch.empty(rows, *call.batch, call.length + 1, dtype=torch.int64)
    choices = torch.empty(rows, *call.batch, call.length, dtype=torch.int64)
    values = torch.empty(call.components, *call.batch, dtype=torch.float64)
    head = _head(call, tensors, (), lengths)
    # Room for the vectors of one sequence for each thread, or of all of them where several may go together.
    rooms = call.batch if call.spec[2] == DENSE else (min(head[-1], math.prod(call.batch)),)
    vectors, offsets = _kept(call._replace(batch=rooms), segment, tensors[0])
    _in_huge_pages(vectors)
    draws = 0 if uniforms is None else uniforms.shape[-1]
    uniforms = None if uniforms is None else uniforms.contiguous()
    kept = (vectors, offsets, _rows(call, segment), segment)
    if values.numel():
        _module().paths(*head, *kept, rows, slots, choices, uniforms, draws, values)
    return slots, choices, values if call.beta == 1.0 else values / call.beta


def _module() -> ModuleType:
    assert _MODULE is not None
    return _MODULE


_CALL = (
    "int[] spec, int semiring, int components, float beta, SymInt[] batch, SymInt length, SymInt stride, int memory, "
    "SymInt work, SymInt segment"
)
_LIBRARY = torch.library.Library("semihmm", "DEF")
_LIBRARY.define(f"total(Tensor[] tensors, Tensor[] features, Tensor? lengths, {_CALL}) -> (Tensor, Tensor, Tensor)")
_LIBRARY.define(
    f"gradient(Tensor[] tensors, Tensor[] features, Tensor? lengths, {_CALL}, Tensor vectors, Tensor offsets, "
    "Tensor weight, Tensor? mean_weight, bool[] wanted) -> Tensor[]"
)
_LIBRARY.define(
    f"paths(Tensor[] tensors, Tensor? lengths, {_CALL}, SymInt rows, Tensor? uniforms) -> (Tensor, Tensor, Tensor)"
)
# Whoever traces compares: states that are kept but not reached, after a sequence's end, are 0 and not what lay there.
_LIBRARY.impl("total", partial(_total, new=torch.zeros), "CPU")
_LIBRARY.impl("gradient", _gradient, "CPU")
_LIBRARY.impl("paths", _paths, "CPU")


@torch.library.register_fake("semihmm::total", lib=_LIBRARY)  # type: ignore[untyped-decorator]
def _total_shapes(
    tensors: list[Tensor], features: list[Tensor], lengths: Tensor | None, *numbers: Any
) -> tuple[Tensor, Tensor, Tensor]:
    call = Call(*numbers[:-1])
    values = tensors[0].new_empty(call.components, *call.batch, dtype=torch.float64)
    return values, *_kept(call, numbers[-1], tensors[0])


@torch.library.register_fake("semihmm::gradient", lib=_LIBRARY)  # type: ignore[untyped-decorator]
def _gradient_shapes(
    tensors: list[Tensor], features: list[Tensor], lengths: Tensor | None, *numbers: Any
) -> list[Tensor]:
    return [torch.empty_like(x).contiguous() for x, w in zip([*tensors, *features], numbers[-1], strict=True) if w]


@torch.library.register_fake("semihmm::paths", lib=_LIBRARY)  # type: ignore[untyped-decorator]
def _paths_shapes(tensors: list[Tensor], lengths: Tensor | None, *numbers: Any) -> tuple[Tensor, Tensor, Tensor]:
    call, rows = Call(*numbers[:-3]), numbers[-2]
    like = tensors[0]
    slots = like.new_empty(rows, *call.batch, call.length + 1, dtype=torch.int64)
    choices = like.new_empty(rows, *call.batch, call.length, dtype=torch.int64)
    return slots, choices, like.new_empty(call.components, *call.batch, dtype=torch.float64)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    tensors, features, lengths, *numbers = inputs
    ctx.numbers, ctx.count = numbers, (len(tensors), len(features))
    ctx.needed = [x.requires_grad for x in (*tensors, *features)]
    ctx.save_for_backward(*tensors, *features, *output[1:], *(() if lengths is None else (lengths,)))
    ctx.mark_non_differentiable(*output[1:])


def _pull(ctx: Any, by_value: Tensor, _: Tensor, __: Tensor) -> tuple[Any, ...]:
    n, m = ctx.count
    saved = ctx.saved_tensors
    tensors, features, kept, lengths = (
        list(saved[:n]),
        list(saved[n : n + m]),
        saved[n + m : n + m + 2],
        saved[n + m + 2 :],
    )
    call = Call(*ctx.numbers[:-1])
    weights = (by_value[0], by_value[1] if call.semiring == EXPECTATION else None)
    found = gradient(call, tensors, features, next(iter(lengths), None), kept, ctx.numbers[-1], weights, ctx.needed)
    return (found[:n], found[n:], None, *(None for _ in ctx.numbers))


# Only tracers come by here: elsewhere `engine.total` has derivatives of every order.
torch.library.register_autograd("semihmm::total", _pull, setup_context=_remember, lib=_LIBRARY)


def _batched(info: Any, dims: Any, x: Any, at: int = 0) -> Any:
    """An argument with the axis that vmap maps over in front."""
    if isinstance(x, list | tuple) and x and isinstance(x[0], Tensor):
        return [_batched(info, d, y, at) for y, d in zip(x, dims, strict=True)]
    if not isinstance(x, Tensor):
        return x
    return x.unsqueeze(at) if dims is None else x.movedim(dims, at)


def _map_total(info: Any, dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
    moved = [_batched(info, d, x) for x, d in zip(args, dims, strict=True)]
    moved[7] = [info.batch_size, *moved[7]]
    moved[2] = None if moved[2] is None else moved[2].expand(*moved[7])
    return torch.ops.semihmm.total(*moved), (1, 0, 0)


def _map_gradient(info: Any, dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
    moved = [_batched(info, d, x) for x, d in zip(args, dims, strict=True)]
    moved[7] = [info.batch_size, *moved[7]]
    for i in (2, 15, 16):
        moved[i] = None if moved[i] is None else moved[i].expand(*moved[7])
    for i in (13, 14):  # what is kept is each sequence's own
        moved[i] = moved[i].expand(*moved[7], *moved[i].shape[len(moved[7]) :])
    for i in (0, 1):  # and so is each gradient
        own = [d is None and w for d, w in zip(dims[i], args[17][len(args[0]) * i :], strict=False)]
        moved[i] = [x.expand(info.batch_size, *x.shape[1:]) if o else x for x, o in zip(moved[i], own, strict=True)]
    found = torch.ops.semihmm.gradient(*moved)
    return found, [0] * len(found)


def _map_paths(info: Any, dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
    moved = [_batched(info, d, x, int(i == 13)) for i, (x, d) in enumerate(zip(args, dims, strict=True))]
    moved[6] = [info.batch_size, *moved[6]]
    moved[1] = None if moved[1] is None else moved[1].expand(*moved[6])
    moved[13] = None if moved[13] is None else moved[13].expand(moved[13].shape[0], *moved[6], moved[13].shape[-1])
    return torch.ops.semihmm.paths(*moved), (1, 1, 1)


torch.library.register_vmap("semihmm::total", _map_total, lib=_LIBRARY)
torch.library.register_vmap("semihmm::gradient", _map_gradient, lib=_LIBRARY)
torch.library.register_vmap("semihmm::paths", _map_paths, lib=_LIBRARY)

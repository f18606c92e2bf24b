"""Totals, gradients and paths, whether tensors hold numbers or are traced: then PyTorch sees operators.

An operator has derivatives of its own: that of a total is the operator of gradients, and that of a log-mass's gradient
is an expectation and its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from semihmm.engine.backends import kernels
from semihmm.engine.backends.kernels import EXPECTATION, GRID, GRID_TABLES, Call, room, stride_of
from semihmm.engine.backends.tensors import plain


def total(
    call: Call, tensors: Sequence[Tensor], features: Sequence[Tensor], lengths: Tensor | None, segment: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The total of a chain, float64 ``(components, ...)``, and the state vectors that are kept with their offsets.

    Args:
        segment: keep the state vectors in front of each so many steps; all of them if there are no more; 0 for none.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> from semihmm.engine.backends.compiled import call_for, leaves
        >>> if native() is not None:
        ...     value, *_ = total(call_for(semihmm.semirings.Log(), chain), leaves(chain), (), None, 0)
        ...     assert round(float(value.exp())) == 16
    """
    work = kernels.total if _numbers(tensors, features) else partial(_traced, torch.ops.semihmm.total)
    found: tuple[Tensor, Tensor, Tensor] = work(tensors, features, lengths, call, segment)
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
        >>> from semihmm.engine.backends.compiled import call_for, leaves
        >>> if native() is not None:
        ...     call = call_for(semihmm.semirings.Log(), chain)
        ...     _, *kept = total(call, leaves(chain), (), None, 3)
        ...     one = (torch.ones(()), None)
        ...     found = gradient(call, leaves(chain), (), None, tuple(kept), 3, one)
        ...     assert found[1].tolist() == [[[0.75, 0.75], [0.75, 0.75]]]  # 3 steps, 4 arcs
    """
    wanted = [w for xs in (tensors, features) for w in _weights(call, xs)]
    if needed is not None:
        wanted = [w and n for w, n in zip(wanted, needed, strict=True)]
    now = _numbers(tensors, features, [w for w in weights if w is not None])
    work = kernels.gradient if now else partial(_traced, torch.ops.semihmm.gradient)
    found = iter(work(tensors, features, lengths, call, segment, *kept, *weights, wanted))
    return [next(found) if w else None for w in wanted]


def paths(
    call: Call, tensors: Sequence[Tensor], lengths: Tensor | None, segment: int, rows: int, uniforms: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Slots ``(rows, ..., T + 1)`` and choices ``(rows, ..., T)`` of paths chosen, and values ``(components, ...)``.

    Args:
        uniforms: float64 in [0, 1), ``(rows, ..., 2 T + 2)``, to draw paths with; None for the best ones.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> from semihmm.engine.backends.compiled import call_for, leaves
        >>> if native() is not None:
        ...     slots, *_ = paths(call_for(semihmm.semirings.Max(), chain), leaves(chain), None, 3, 1, None)
        ...     assert slots.tolist() == [[0, 0, 0, 0]]
    """
    work = kernels.paths if plain(tensors) else partial(_traced, torch.ops.semihmm.paths)
    found: tuple[Tensor, Tensor, Tensor] = work(tensors, lengths, call, segment, rows, uniforms)
    return found


def _numbers(*given: Sequence[Tensor]) -> bool:
    """Whether tensors hold numbers, and nobody asks for their derivatives here."""
    tensors = [x for xs in given for x in xs]
    return plain(tensors) and not (torch.is_grad_enabled() and any(x.requires_grad for x in tensors))


def _weights(call: Call, tensors: Sequence[Tensor]) -> list[bool]:
    """Which tensors are log-weights (or features), and not indices or the tables of a Grid."""
    count = len(tensors) - (GRID_TABLES if call.spec[2] == GRID and tensors else 0)
    return [i < count and x.is_floating_point() for i, x in enumerate(tensors)]


# An operator takes a call in pieces: only tensors and plain numbers in, tensors out.


def _traced(operator: Callable[..., Any], *args: Any) -> Any:
    """Call an operator."""
    whole = (list(x) if isinstance(x, Sequence) and not isinstance(x, Call) else x for x in args)
    return operator(*(y for x in whole for y in (x if isinstance(x, Call) else (x,))))


def _operator(work: Callable[..., Any], at: int) -> Callable[..., Any]:
    """An operator, from what takes a call as argument number ``at``."""
    end = at + len(Call._fields)
    return lambda *args: work(*args[:at], Call(*args[at:end]), *args[end:])


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
_LIBRARY.impl("total", _operator(partial(kernels.total, new=torch.zeros), 3), "CPU")
_LIBRARY.impl("gradient", _operator(kernels.gradient, 3), "CPU")
_LIBRARY.impl("paths", _operator(kernels.paths, 2), "CPU")


def _total_shapes(
    tensors: list[Tensor], features: list[Tensor], lengths: Tensor | None, call: Call, segment: int
) -> tuple[Tensor, Tensor, Tensor]:
    values = tensors[0].new_empty(call.components, *call.batch, dtype=torch.float64)
    return values, *room(call, segment, tensors[0], call.batch)


def _gradient_shapes(
    tensors: list[Tensor], features: list[Tensor], lengths: Tensor | None, *numbers: Any
) -> list[Tensor]:
    return [torch.empty_like(x).contiguous() for x, w in zip([*tensors, *features], numbers[-1], strict=True) if w]


def _paths_shapes(
    tensors: list[Tensor], lengths: Tensor | None, call: Call, segment: int, rows: int, uniforms: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    like = tensors[0]
    slots = like.new_empty(rows, *call.batch, call.length + 1, dtype=torch.int64)
    choices = like.new_empty(rows, *call.batch, call.length, dtype=torch.int64)
    return slots, choices, like.new_empty(call.components, *call.batch, dtype=torch.float64)


torch.library.register_fake("semihmm::total", _operator(_total_shapes, 3), lib=_LIBRARY)
torch.library.register_fake("semihmm::gradient", _gradient_shapes, lib=_LIBRARY)
torch.library.register_fake("semihmm::paths", _operator(_paths_shapes, 2), lib=_LIBRARY)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    tensors, features, lengths, *numbers = inputs
    ctx.numbers, ctx.count = numbers, (len(tensors), len(features))
    ctx.needed = [x.requires_grad for x in (*tensors, *features)]
    ctx.save_for_backward(*tensors, *features, *output[1:], *(() if lengths is None else (lengths,)))
    ctx.mark_non_differentiable(*output[1:])


def _nothing(numbers: Sequence[Any]) -> list[Any]:
    """No gradient for any of an operator's other arguments. PyTorch takes an empty list for one of tensors."""
    return [[] if isinstance(x, list) and not x else None for x in numbers]


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
    return (found[:n], found[n:], None, *_nothing(ctx.numbers))


def _remember_gradient(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, features, lengths, *numbers = inputs
    ctx.call, (ctx.segment, _, _, weight, _, ctx.wanted) = (
        Call(*numbers[: len(Call._fields)]),
        numbers[len(Call._fields) :],
    )
    ctx.features, ctx.others = len(features), _nothing(numbers)
    ctx.needed = [x.requires_grad for x in tensors]
    ctx.save_for_backward(weight, *tensors, *(() if lengths is None else (lengths,)))


def _pull_gradient(ctx: Any, along: list[Tensor]) -> tuple[Any, ...]:
    """How totals move along a direction (a mean), and how that moves with the log-weights (covariances)."""
    call, (weight, *tensors) = ctx.call, ctx.saved_tensors
    if call.semiring == EXPECTATION:
        raise NotImplementedError(
            "semihmm::gradient: a traced gradient of moments has no derivative of its own. Ask for it outside of "
            "torch.compile and make_fx, or with backend='torch'."
        )
    lengths = tensors.pop() if len(tensors) > len(ctx.needed) else None
    directions, features = iter(along), []
    for x, is_weight, wanted in zip(tensors, _weights(call, tensors), ctx.wanted, strict=True):
        features.append(next(directions).double() if wanted else torch.zeros_like(x).double() if is_weight else x)
    warm = [x.double() * call.beta if w else x for x, w in zip(tensors, _weights(call, tensors), strict=True)]
    stride = stride_of(call.spec, tensors[0].shape[-1], 8, 2)
    wide = call._replace(semiring=EXPECTATION, components=2, beta=1.0, stride=stride)
    value, *kept = total(wide, warm, features, lengths, ctx.segment)
    weights = (torch.zeros_like(weight), weight)
    needed = (*ctx.needed, *(False,) * len(features))
    found = gradient(wide, warm, features, lengths, (kept[0], kept[1]), ctx.segment, weights, needed)
    curved = [None if g is None else (g * call.beta).to(x.dtype) for g, x in zip(found, tensors, strict=False)]
    others = [*ctx.others]
    others[-3] = value[1].to(weight.dtype).sum_to_size(weight.shape)
    return (curved, [None] * ctx.features, None, *others)


# Tracers come by here; elsewhere `engine.total` has derivatives of every order.
torch.library.register_autograd("semihmm::total", _pull, setup_context=_remember, lib=_LIBRARY)
torch.library.register_autograd("semihmm::gradient", _pull_gradient, setup_context=_remember_gradient, lib=_LIBRARY)


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

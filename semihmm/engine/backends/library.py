"""What PyTorch's tracers and transforms are told of the compiled code: operators, their shapes and derivatives.

The derivative of a total is the operator of gradients; that of a log-mass's gradient is an expectation, and its
gradient. The derivative of a best path's value says where the path went.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from semihmm.engine.backends import kernels
from semihmm.engine.backends.kernels import EXPECTATION, GRID, GRID_TABLES, Call, marks_of, room, stride_of
from semihmm.engine.backends.operators import gradient, gradient_of_paths, log_weights, scores_along, total
from semihmm.errors import SemihmmError

_CALL = (  # in pieces: an operator takes tensors and plain numbers
    "int[] spec, int semiring, int components, float beta, SymInt[] batch, SymInt length, SymInt stride, int memory, "
    "SymInt work"
)
_LIBRARY = torch.library.Library("semihmm", "DEF")
_LIBRARY.define(
    f"total(Tensor[] tensors, Tensor[] features, Tensor? lengths, {_CALL}, SymInt segment) -> (Tensor, Tensor, Tensor)"
)
_LIBRARY.define(
    f"gradient(Tensor[] tensors, Tensor[] features, Tensor? lengths, {_CALL}, SymInt segment, Tensor vectors, "
    "Tensor offsets, Tensor weight, Tensor? mean_weight, bool[] wanted) -> Tensor[]"
)
_LIBRARY.define(
    f"paths(Tensor[] tensors, Tensor? lengths, {_CALL}, SymInt segment, SymInt rows, Tensor? uniforms, bool marked) -> "
    "(Tensor, Tensor, Tensor, Tensor)"
)
_LIBRARY.define(
    f"gradient_of_paths(Tensor[] tensors, Tensor? lengths, {_CALL}, Tensor slots, Tensor marks, Tensor weight, "
    "bool[] wanted) -> Tensor[]"
)
_LIBRARY.define(f"vectors(Tensor[] tensors, Tensor? lengths, {_CALL}, SymInt slots) -> Tensor")


def _whole(work: Callable[..., Any], at: int) -> Callable[..., Any]:
    """What takes a call as argument number ``at``, as what takes it in pieces."""
    end = at + len(Call._fields)
    return lambda *args: work(*args[:at], Call(*args[at:end]), *args[end:])


# ---- what they do, and in which shapes


def _total_shapes(
    tensors: list[Tensor], features: list[Tensor], lengths: Tensor | None, call: Call, segment: int
) -> tuple[Tensor, Tensor, Tensor]:
    values = tensors[0].new_empty(call.components, *call.batch, dtype=torch.float64)
    return values, *room(call, segment, tensors[0], call.batch)


def _gradient_shapes(
    tensors: list[Tensor], features: list[Tensor], lengths: Tensor | None, call: Call, *others: Any
) -> list[Tensor]:
    return [torch.empty_like(x).contiguous() for x, w in zip([*tensors, *features], others[-1], strict=True) if w]


def _paths_shapes(
    tensors: list[Tensor],
    lengths: Tensor | None,
    call: Call,
    segment: int,
    rows: int,
    uniforms: Tensor | None,
    marked: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shape, whole = (rows, *call.batch), partial(tensors[0].new_empty, dtype=torch.int64)
    values = tensors[0].new_empty(call.components, *call.batch, dtype=torch.float64)
    marks = whole(*shape, call.length, marks_of(call.spec) if marked else 0)
    return values, whole(*shape, call.length + 1), whole(*shape, call.length), marks


def _taken_shapes(tensors: list[Tensor], lengths: Tensor | None, call: Call, *others: Any) -> list[Tensor]:
    return [torch.empty_like(x).contiguous() for x, w in zip(tensors, others[-1], strict=True) if w]


def _vectors_shapes(tensors: list[Tensor], lengths: Tensor | None, call: Call, slots: int) -> Tensor:
    return tensors[0].new_empty(*call.batch, call.length + 1, slots, dtype=torch.float64)


# ---- derivatives, for tracers: elsewhere `engine.total` has those of every order


class _Saved:
    """What an operator was called with: tensors are saved as autograd wants it, and all else is kept."""

    def __init__(self, ctx: Any, tensors: list[Tensor], lengths: Tensor | None, *more: Tensor) -> None:
        self.count, self.lengths = len(tensors), lengths is not None
        self.needed = [x.requires_grad for x in tensors]
        ctx.save_for_backward(*tensors, *((lengths,) if lengths is not None else ()), *more)

    def of(self, ctx: Any) -> tuple[list[Tensor], Tensor | None, list[Tensor]]:
        """The tensors, the lengths, and more."""
        found = list(ctx.saved_tensors)
        rest = found[self.count :]
        return found[: self.count], rest.pop(0) if self.lengths else None, rest


def _nothing(others: Sequence[Any]) -> list[Any]:
    """No gradient for any of an operator's other arguments. PyTorch takes an empty list for one of tensors."""
    return [[] if isinstance(x, list) and not x else None for x in others]


def _remember_total(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    tensors, features, lengths, *others = inputs
    ctx.saved = _Saved(ctx, [*tensors, *features], lengths, *output[1:])
    ctx.features, ctx.others = len(features), others
    ctx.mark_non_differentiable(*output[1:])


def _pull_total(ctx: Any, by_value: Tensor, *_: Tensor) -> tuple[Any, ...]:
    everything, lengths, (vectors, offsets) = ctx.saved.of(ctx)
    count = len(everything) - ctx.features
    call, segment = Call(*ctx.others[:-1]), ctx.others[-1]
    weights = (by_value[0], by_value[1] if call.semiring == EXPECTATION else None)
    tensors, features, kept = everything[:count], everything[count:], (vectors, offsets)
    found = gradient(call, tensors, features, lengths, kept, segment, weights, ctx.saved.needed)
    return (found[:count], found[count:], None, *_nothing(ctx.others))


def _remember_gradient(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, features, lengths, *others = inputs
    ctx.saved, ctx.features, ctx.others = _Saved(ctx, tensors, lengths, others[-3]), len(features), others[:-5]
    ctx.wanted = others[-1]


def _pull_gradient(ctx: Any, along: list[Tensor]) -> tuple[Any, ...]:
    """How totals move along a direction (a mean), and how that moves with the log-weights (covariances)."""
    tensors, lengths, (weight,) = ctx.saved.of(ctx)
    call, segment = Call(*ctx.others[:-1]), ctx.others[-1]
    if call.semiring == EXPECTATION:
        raise NotImplementedError(
            "semihmm::gradient: a traced gradient of moments has no derivative of its own. Ask for it outside of "
            "torch.compile and make_fx, or with backend='torch'."
        )
    ours, directions, features = log_weights(call, tensors), iter(along), []
    for x, is_weight, wanted in zip(tensors, ours, ctx.wanted, strict=True):
        features.append(next(directions).double() if wanted else torch.zeros_like(x).double() if is_weight else x)
    warm = [x.double() * call.beta if w else x for x, w in zip(tensors, ours, strict=True)]
    stride = stride_of(call.spec, tensors[0].shape[-1], 8, 2)
    wide = call._replace(semiring=EXPECTATION, components=2, beta=1.0, stride=stride)
    value, *kept = total(wide, warm, features, lengths, segment)
    weights, needed = (torch.zeros_like(weight), weight), (*ctx.saved.needed, *(False,) * len(features))
    found = gradient(wide, warm, features, lengths, (kept[0], kept[1]), segment, weights, needed)
    curved = [None if g is None else (g * call.beta).to(x.dtype) for g, x in zip(found, tensors, strict=False)]
    moved = value[1].to(weight.dtype).sum_to_size(weight.shape)
    return (curved, [None] * ctx.features, None, *_nothing(ctx.others), None, None, moved, None, None)


def _remember_paths(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    tensors, lengths, *others = inputs
    values, slots, choices, marks = output
    ctx.saved, ctx.others = _Saved(ctx, tensors, lengths, slots, marks), others
    ctx.mark_non_differentiable(slots, choices, marks, *(() if others[-1] else (values,)))


def _pull_paths(ctx: Any, by_value: Tensor, *_: Tensor) -> tuple[Any, ...]:
    tensors, lengths, (slots, marks) = ctx.saved.of(ctx)
    call = Call(*ctx.others[: len(Call._fields)])
    found = gradient_of_paths(call, tensors, lengths, slots, marks, by_value, ctx.saved.needed)
    return (found, None, *_nothing(ctx.others))


def _remember_taken(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, lengths, *others = inputs
    *ctx.others, slots, marks, weight, ctx.wanted = others
    ctx.saved = _Saved(ctx, tensors, lengths, slots, marks, weight)


def _pull_taken(ctx: Any, along: list[Tensor]) -> tuple[Any, ...]:
    """Linear in the weights, and constant otherwise."""
    tensors, lengths, (slots, marks, weight) = ctx.saved.of(ctx)
    directions = iter(along)
    direction = [next(directions) if wanted else None for wanted in ctx.wanted]
    moved = scores_along(Call(*ctx.others), tensors, lengths, slots, marks, direction)
    moved = moved.to(weight.dtype).sum_to_size(weight.shape)
    return ([None] * len(tensors), None, *_nothing(ctx.others), None, None, moved, None)


def _remember_vectors(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.mark_non_differentiable(output)


def _pull_vectors(ctx: Any, _: Tensor) -> tuple[Any, ...]:
    raise AssertionError("semihmm::vectors has no derivative: `engine.vectors` asks PyTorch where one may be wanted")


# ---- vmap: one more axis in front of a batch


def _batched(info: Any, dims: Any, x: Any, at: int = 0) -> Any:
    """An argument with the axis that vmap maps over in front."""
    if isinstance(x, list | tuple) and x and isinstance(x[0], Tensor):
        return [_batched(info, d, y, at) for y, d in zip(x, dims, strict=True)]
    if not isinstance(x, Tensor):
        return x
    return x.unsqueeze(at) if dims is None else x.movedim(dims, at)


def _mapped(info: Any, dims: tuple[Any, ...], args: tuple[Any, ...], call: int, lists: tuple[int, ...]) -> list[Any]:
    """An operator's arguments, batched. The tables of a Grid, in the ``lists`` of tensors, have no batch axis."""
    moved = [_batched(info, d, x) for x, d in zip(args, dims, strict=True)]
    moved[call + 4] = [info.batch_size, *args[call + 4]]
    if args[call][2] == GRID:
        for i in lists:
            if args[i]:
                if any(d is not None for d in dims[i][-GRID_TABLES:]):
                    raise SemihmmError("Grid: its tables are the same for all sequences, so vmap cannot map over them.")
                moved[i] = [*moved[i][:-GRID_TABLES], *args[i][-GRID_TABLES:]]
    return moved


def _map_total(info: Any, dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
    moved = _mapped(info, dims, args, 3, (0, 1))
    moved[2] = None if moved[2] is None else moved[2].expand(*moved[7])
    return torch.ops.semihmm.total(*moved), (1, 0, 0)


def _map_gradient(info: Any, dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
    moved = _mapped(info, dims, args, 3, (0, 1))
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
    moved = _mapped(info, dims, args, 2, (0,))
    moved[13] = _batched(info, dims[13], args[13], 1)  # behind their rows
    moved[1] = None if moved[1] is None else moved[1].expand(*moved[6])
    moved[13] = None if moved[13] is None else moved[13].expand(moved[13].shape[0], *moved[6], moved[13].shape[-1])
    return torch.ops.semihmm.paths(*moved), (1, 1, 1, 1)


# ---- all of it: what an operator does, in which shapes, where its call is, its derivative, and what that remembers


Functions = tuple[Callable[..., Any], Callable[..., Any], int, Callable[..., Any], Callable[..., Any]]
OPERATORS: dict[str, Functions] = {
    # Whoever traces compares: states kept but not reached, after a sequence's end, are 0 and not what lay there.
    "total": (partial(kernels.total, new=torch.zeros), _total_shapes, 3, _pull_total, _remember_total),
    "gradient": (kernels.gradient, _gradient_shapes, 3, _pull_gradient, _remember_gradient),
    "paths": (kernels.paths, _paths_shapes, 2, _pull_paths, _remember_paths),
    "gradient_of_paths": (kernels.gradient_of_paths, _taken_shapes, 2, _pull_taken, _remember_taken),
    "vectors": (kernels.vectors, _vectors_shapes, 2, _pull_vectors, _remember_vectors),
}
for _name, (_work, _shapes, _at, _pull, _remember) in OPERATORS.items():
    _LIBRARY.impl(_name, _whole(_work, _at), "CPU")
    torch.library.register_fake(f"semihmm::{_name}", _whole(_shapes, _at), lib=_LIBRARY)
    torch.library.register_autograd(f"semihmm::{_name}", _pull, setup_context=_remember, lib=_LIBRARY)
# The other two come by outside of transforms alone.
for _name, _map in (("total", _map_total), ("gradient", _map_gradient), ("paths", _map_paths)):
    torch.library.register_vmap(f"semihmm::{_name}", _map, lib=_LIBRARY)

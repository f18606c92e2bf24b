"""Max, Min and TopK, by the compiled backend: the gradient of a total is where its path goes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from semihmm.engine.backends import compiled
from semihmm.engine.chain import Chain
from semihmm.engine.derivatives.call import Call, Outputs, many, placed
from semihmm.engine.derivatives.followed import pullback, slowly
from semihmm.engine.plan import Plan
from semihmm.semirings import Semiring


def best(plan: Plan, semiring: Semiring, chain: Chain) -> Tensor:
    """The totals of best paths, float64 ``(rows, ...)``."""
    if torch.compiler.is_compiling():
        return _paths(plan, semiring, chain)[0]
    found: Tensor = _Best.apply(Call(plan, semiring, chain), *chain.leaves)[0]  # type: ignore[no-untyped-call]
    return found


def _paths(plan: Plan, semiring: Semiring, chain: Chain) -> tuple[Tensor, Tensor, Tensor]:
    """The values of best paths, their slots, and by which weights they go."""
    call, segment = compiled.call_for(semiring, chain), plan.segment(chain.length)
    leaves = compiled.leaves(chain)
    value, slots, _, marks = compiled.paths(call, leaves, chain.lengths, segment, semiring.rows, marked=True)
    return value, slots, marks


class _Best(torch.autograd.Function):
    """The totals of best paths, one for each, by the compiled backend; and where the paths went."""

    @staticmethod
    def forward(call: Call, *leaves: Tensor) -> Outputs:
        return _paths(call.plan, call.semiring, call.skeleton.rebuild(leaves))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.call = inputs[0]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:], *inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        slots, marks, *leaves = ctx.saved_tensors
        weight = grads[0]
        if weight is None:
            return (None, *(None for _ in leaves))
        if many(weight):
            return (None, *pullback(partial(slowly, ctx.call), tuple(leaves), (weight,))[1])
        needed = tuple(n and x.is_floating_point() for n, x in zip(ctx.needs_input_grad[1:], leaves, strict=True))
        work = _Taken.apply if torch.is_grad_enabled() else _Taken.forward
        return (None, *placed(work(replace(ctx.call, needed=needed), weight, slots, marks, *leaves), needed))


class _Taken(torch.autograd.Function):
    """The gradient of the totals of best paths, weighted: linear in the weights, and constant otherwise."""

    @staticmethod
    def forward(call: Call, weight: Tensor, slots: Tensor, marks: Tensor, *leaves: Tensor) -> Outputs:
        chain = call.skeleton.rebuild(leaves)
        tensors, needed = compiled.leaves(chain), compiled.asked_of(chain, call.needed)
        told = compiled.call_for(call.semiring, chain)
        found = compiled.gradient_of_paths(told, tensors, chain.lengths, slots, marks, weight, needed)
        return tuple(x for x in found if x is not None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        slots, marks, *leaves = ctx.saved_tensors
        chain = ctx.call.skeleton.rebuild(leaves)
        told, direction = compiled.call_for(ctx.call.semiring, chain), iter(grads)
        along = [next(direction) if asked else None for asked in compiled.asked_of(chain, ctx.call.needed)]
        moved = compiled.scores_along(told, compiled.leaves(chain), chain.lengths, slots, marks, along)
        flat = (torch.zeros_like(x) if n else None for x, n in zip(leaves, ctx.call.needed, strict=True))
        return (None, moved, None, None, *flat)

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
from semihmm.engine.planner import Plan
from semihmm.semirings import Semiring


def best(plan: Plan, semiring: Semiring, chain: Chain) -> Tensor:
    """The totals of best paths, float64 ``(rows, ...)``."""
    found: Tensor = _Best.apply(Call(plan, semiring, chain), *chain.leaves)[0]  # type: ignore[no-untyped-call]
    return found


class _Best(torch.autograd.Function):
    """The totals of best paths, one for each, by the compiled backend; and where the paths went."""

    @staticmethod
    def forward(call: Call, *leaves: Tensor) -> Outputs:
        chain = call.skeleton.rebuild(leaves)
        told, segment = compiled.call_for(call.semiring, chain), call.plan.segment(chain.length)
        return compiled.marked_paths(told, compiled.leaves(chain), chain.lengths, segment, call.semiring.rows)

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
        ctx.save_for_backward(inputs[1], *inputs[4:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, *leaves = ctx.saved_tensors

        def along(weight: Tensor) -> Outputs:
            found = pullback(partial(slowly, ctx.call), tuple(leaves), (weight,))[1]
            return tuple(g for g, n in zip(found, ctx.call.needed, strict=True) if n and g is not None)

        with torch.enable_grad():  # how the totals move along the direction
            moved = pullback(along, (weight,), grads)[1][0]
        flat = (torch.zeros_like(x) if n else None for x, n in zip(leaves, ctx.call.needed, strict=True))
        return (None, moved, None, None, *flat)

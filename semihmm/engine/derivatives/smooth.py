"""Log and SmoothMax: posteriors are one scan back, and how those move is an expectation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from semihmm.engine.backends import compiled
from semihmm.engine.chain import Chain
from semihmm.engine.contract import Posterior, contract
from semihmm.engine.derivatives.call import Asked, Call, Outputs, directly, many, or_zeros, placed, shares, widened
from semihmm.engine.derivatives.followed import by_blocks, pullback, slowly
from semihmm.engine.derivatives.moments import moments
from semihmm.engine.plan import Plan
from semihmm.engine.scan import finish, forward, unscaled
from semihmm.engine.strategies import State, Trail
from semihmm.engine.tracing import plain, transformed
from semihmm.semirings import Expectation, Semiring


def smooth(plan: Plan, semiring: Semiring, chains: Sequence[Chain]) -> Tensor:
    """The total of one chain, float64 ``(...)``, natively or not as the plan says; of derivatives of every order."""
    chain = chains[0]
    found: Tensor = _Total.apply(Call(plan, semiring, chain), *chain.leaves)[0]  # type: ignore[no-untyped-call]
    return found


class _Total(torch.autograd.Function):
    """A total, with what its gradient needs: the states in front of each block, and maybe every state vector."""

    generate_vmap_rule = True

    @staticmethod
    def forward(call: Call, *leaves: Tensor) -> Outputs:
        chain = call.skeleton.rebuild(leaves)
        if call.plan.backend == "native":
            value, *saved = directly(call, [chain], keep=True)
            return (value[0], *saved)
        keep = call.plan.blocks == 1
        last, fronts, trail = forward(call.plan, call.semiring, [chain], keep)
        ends, offset = finish(call.semiring, [chain], last)
        value = unscaled(call.semiring, call.semiring.sum(ends, -1), offset)
        states = [*fronts, last]
        kept = (torch.stack([s.carry for s in states], -3), torch.stack([s.offset for s in states], -1))
        return (value, *kept, *(trail if trail is not None else ()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.call = inputs[0]
        ctx.set_materialize_grads(False)  # no zeros for what is kept
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output, *inputs[1:])
        ctx.save_for_forward(*output, *inputs[1:])  # the same: vmap remembers the axes of what was saved last
        ctx.outputs = len(output)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        leaves = ctx.saved_tensors[ctx.outputs :]
        moved = _along(ctx.call, leaves, [or_zeros(v, x) for v, x in zip(tangents, leaves, strict=True)])
        return (moved, *(None,) * (ctx.outputs - 1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        leaves = saved[ctx.outputs :]
        if grads[0] is None:  # a derivative of what is kept: there is none
            return (None, *(None for _ in leaves))
        if ctx.call.plan.backend == "native" and many(grads[0]):
            return (None, *pullback(partial(slowly, ctx.call), tuple(leaves), (grads[0].unsqueeze(0),))[1])
        needed = tuple(n and x.is_floating_point() for n, x in zip(ctx.needs_input_grad[1:], leaves, strict=True))
        followed = torch.is_grad_enabled() or transformed() or torch.compiler.is_compiling()
        work = _Gradient.apply if followed else _Gradient.forward
        found = work(replace(ctx.call, needed=needed), ctx.outputs, grads[0], *saved)
        return (None, *placed(found, needed))


class _Gradient(torch.autograd.Function):
    """The gradient of totals, weighted: posteriors by one scan back. Its own gradient is a covariance."""

    generate_vmap_rule = True

    @staticmethod
    def forward(call: Call, outputs: int, weight: Tensor, *saved: Tensor) -> Outputs:
        needed = call.needed
        value, carries, offsets, *trail = saved[:outputs]
        chain = call.skeleton.rebuild(saved[outputs:])
        if call.plan.backend == "native":
            return shares(call, [chain], (carries, offsets), (weight, None), needed)
        states = [State(c, o) for c, o in zip(carries.unbind(-3), offsets.unbind(-1), strict=True)]
        assert call.semiring.temperature is not None
        measure = Posterior(call.semiring, weight.to(carries.dtype), call.semiring.temperature)
        kept = Trail(*trail) if trail else None
        found = contract(call.plan, chain, measure, states[:-1], kept, states[-1], value)
        return tuple(x for x, n in zip(found, needed, strict=False) if n and x is not None)  # lengths are not in found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.call, ctx.outputs = inputs[:2]
        ctx.save_for_backward(*inputs[2:])
        ctx.save_for_forward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, *saved = ctx.saved_tensors
        leaves = tuple(saved[ctx.outputs :])
        direction = [or_zeros(v, x) for v, x in zip(placed(grads, ctx.call.needed), leaves, strict=True)]
        if ctx.call.plan.backend == "native" and not (torch.is_grad_enabled() or transformed()):
            needed = tuple(
                n and x.is_floating_point()
                for n, x in zip(ctx.needs_input_grad[3 + ctx.outputs :], leaves, strict=True)
            )
            moved, pulled = _curved(ctx.call, leaves, direction, weight, needed)
        else:
            (moved,), pulled = pullback(lambda *x: (_along(ctx.call, x, direction),), leaves, (weight,))
        return (None, None, moved, *(None,) * ctx.outputs, *pulled)

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, moved: Tensor | None, *tangents: Tensor | None) -> Outputs:
        weight, *saved = ctx.saved_tensors
        leaves = tuple(saved[ctx.outputs :])
        direction = [or_zeros(v, x) for v, x in zip(tangents[ctx.outputs :], leaves, strict=True)]
        curved = pullback(lambda *x: (_along(ctx.call, x, direction),), leaves, (weight,))[1]
        by_weight = _Gradient.forward(ctx.call, ctx.outputs, or_zeros(moved, weight), *saved)
        needed = (x for x, n in zip(curved, ctx.call.needed, strict=True) if n and x is not None)
        return tuple(a + b for a, b in zip(needed, by_weight, strict=True))


for _function in (_Total, _Gradient):  # `apply` binds its arguments to a signature: to find it anew takes 25 us a call
    _function.forward.__signature__ = signature(_function.forward)  # type: ignore[union-attr]


def _along(call: Call, leaves: Sequence[Tensor], direction: Sequence[Tensor]) -> Tensor:
    """How far a total moves when its log-weights move along ``direction``: the expectation of a feature."""
    chains = _tilted(call, leaves, direction)
    if call.plan.backend == "native" and not transformed():
        return moments(call.plan, chains, torch.is_grad_enabled())[1]
    chains = [c.unrolled() for c in chains]
    return by_blocks(replace(call.plan, backend="torch"), Expectation(1), chains)[1]


def _tilted(call: Call, leaves: Sequence[Tensor], direction: Sequence[Tensor]) -> list[Chain]:
    """Log-weights, and the feature that adds up along a path as they move."""
    temperature = call.semiring.temperature
    assert temperature is not None
    warm = [x / temperature if temperature != 1.0 and x.is_floating_point() else x for x in leaves]
    return [call.skeleton.rebuild(warm), call.skeleton.rebuild(direction)]


def _curved(
    call: Call, leaves: Sequence[Tensor], direction: Sequence[Tensor], weight: Tensor, needed: Asked
) -> tuple[Tensor, list[Tensor | None]]:
    """What `_along` says, natively, and its gradient by the leaves that are needed; nobody follows them."""
    chains = [compiled.settled(widened(c)) for c in _tilted(call, leaves, direction)]
    wide = replace(call, semiring=Expectation(1))
    told, (tensors, along) = compiled.call_for(wide.semiring, chains[0]), map(compiled.leaves, chains)
    segment, lengths = call.plan.segment(chains[0].length), chains[0].lengths
    weights = (torch.zeros_like(weight), weight)
    found: Sequence[Tensor | None]
    if plain((*tensors, *along, weight)):
        asked = compiled.asked_of(chains[0], needed)
        value, each = compiled.posteriors(told, tensors, lengths, segment, asked, (), along, weights)
        found = compiled.of_leaves(chains[0], each)
    else:
        value, *kept = compiled.total(told, tensors, along, lengths, segment)
        found = placed(shares(wide, chains, (kept[0], kept[1]), weights, (*needed, *(False,) * len(leaves))), needed)
    scale = call.semiring.temperature
    assert scale is not None
    cooled = [g if g is None or scale == 1.0 else g / scale for g in found]
    return value[1], [None if g is None else g.to(x.dtype) for g, x in zip(cooled, leaves, strict=True)]

"""The log-mass and the mean of a feature, by the compiled backend, and their derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from semihmm.engine.backends import compiled
from semihmm.engine.chain import Chain
from semihmm.engine.derivatives.call import Call, Outputs, directly, many, placed, shares, widened
from semihmm.engine.derivatives.followed import by_blocks, plainly, pullback
from semihmm.engine.plan import Plan
from semihmm.semirings import Expectation


def moments(plan: Plan, chains: Sequence[Chain], wanted: bool) -> Tensor:
    """The log-mass and the mean of each feature, float64 ``(components, ...)``.

    Args:
        chains: log-weights, then features.
        wanted: whether derivatives are.
    """
    # In float64: a mean grows with the chain, and a covariance is what is left of the difference of two.
    chains = [widened(c) for c in chains]
    if len(chains) > 2:  # the kernel takes one feature at a time
        each = [moments(plan, [chains[0], feature], wanted) for feature in chains[1:]]
        return torch.cat([each[0], *(x[1:] for x in each[1:])])
    if any(c.steps.ranks != chains[0].steps.ranks for c in chains):  # some are unrolled
        chains = [c.unrolled() for c in chains]
    chains = [compiled.settled(c) for c in chains]
    call = Call(plan, Expectation(1), chains[0])
    if not wanted or torch.compiler.is_compiling():
        return directly(call, chains, wanted)[0]
    found: Tensor = _Moments.apply(call, *(x for c in chains for x in c.leaves))[0]  # type: ignore[no-untyped-call]
    return found


class _Moments(torch.autograd.Function):
    """The log-mass and mean of a feature, by the compiled backend. Leaves are the log-weights, then the features."""

    @staticmethod
    def forward(call: Call, *leaves: Tensor) -> Outputs:
        return directly(call, _split(call, leaves), keep=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.call = inputs[0]
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:], *inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        call, (vectors, offsets, *leaves) = ctx.call, ctx.saved_tensors
        if grads[0] is None:
            return (None, *(None for _ in leaves))
        if torch.is_grad_enabled() or many(grads[0]):  # somebody may ask for a derivative of this
            moved = pullback(partial(_both, call), tuple(leaves), (grads[0],))[1]
            return (None, *moved)
        needed = tuple(n and x.is_floating_point() for n, x in zip(ctx.needs_input_grad[1:], leaves, strict=True))
        found = shares(call, _split(call, leaves), (vectors, offsets), (grads[0][0], grads[0][1]), needed)
        return (None, *placed(found, needed))


def _split(call: Call, leaves: Sequence[Tensor]) -> list[Chain]:
    count = len(call.skeleton.leaves)
    return [call.skeleton.rebuild(leaves[:count]), call.skeleton.rebuild(leaves[count:])]


def _both(call: Call, *leaves: Tensor) -> Outputs:
    """Log-mass and mean as autograd can follow them."""
    return (plainly(replace(call.plan, backend="torch"), call.semiring, _split(call, leaves), by_blocks).double(),)

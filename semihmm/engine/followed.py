"""Totals that autograd follows step by step, by the torch backend: derivatives where no scan has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from semihmm.engine.maps import Map
from semihmm.engine.plan import Plan, Scan
from semihmm.engine.scan import advance, begin, centred, cleaned, finish, unscaled
from semihmm.engine.strategies import State
from semihmm.semirings import Semiring

Outputs = tuple[Tensor, ...]


def by_autograd(scan: Scan) -> Tensor:
    """The lowered total, in float64 where it is scaled. With more than one block, only the states between them are
    remembered.
    """
    plan, semiring = scan.plan, scan.semiring
    given, shift = [cleaned(c.unrolled()) for c in scan.chains], None
    if semiring.scalable:
        given[0], shift = centred(given[0])
    active = given[0].active(given[0].batch)
    again = plan.blocks > 1 and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    state = begin(semiring, given)
    for start, stop in plan.bounds(given[0].length):
        maps = [c.maps.window(start, stop) for c in given]
        going = None if active is None else active[..., start:stop]
        block = partial(_advance, plan, semiring, maps, stop - start)
        leaves = (x for m in maps for x in m.leaves)
        inputs = (*state, *leaves) if going is None else (*state, *leaves, going)
        state = State(*(_Again.apply(block, *inputs) if again else block(*inputs)))  # type: ignore[no-untyped-call]
    ends, offset = finish(semiring, given, state)
    value = unscaled(semiring, semiring.sum(ends, -1), offset)
    return semiring.lower(value if shift is None else semiring.scale(value, shift))


def _advance(plan: Plan, semiring: Semiring, maps: list[Map], length: int, *inputs: Tensor) -> Outputs:
    """Advance a state over a block, as a function of tensors: the state's, all leaves, which steps are taken."""
    rest = iter(inputs[2:])
    given = tuple(m.rebuild(tuple(next(rest) for _ in m.leaves)) for m in maps)
    return tuple(advance(plan, semiring, given, State(*inputs[:2]), next(rest, None), False, length)[0])


class _Again(torch.autograd.Function):
    """A function whose inner values are not remembered but computed again, for derivatives of any order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(function: Callable[..., Outputs], *inputs: Tensor) -> Outputs:
        return tuple(x.view_as(x) for x in function(*inputs))  # autograd refuses an input that comes out as it is

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.function = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *pullback(ctx.function, ctx.saved_tensors, grads)[1])


def pullback(
    function: Callable[..., Outputs], inputs: tuple[Tensor, ...], cotangents: Outputs
) -> tuple[Outputs, list[Tensor | None]]:
    """The function's outputs and the gradient of its floating inputs; itself differentiable where grad mode is on."""
    floating = [x for x in inputs if x.is_floating_point()]

    def of_floating(*given: Tensor) -> Outputs:
        return function(*_skip_indices(given, inputs, keep=True))

    if torch.is_grad_enabled():
        outputs, pull, *_ = torch.func.vjp(of_floating, *floating)
        found = pull(cotangents)
    else:
        with torch.enable_grad():
            fresh = [x.detach().requires_grad_() for x in floating]
            outputs = of_floating(*fresh)
            found = torch.autograd.grad(outputs, fresh, cotangents, allow_unused=True)
        outputs = tuple(x.detach() for x in outputs)
    for_all = iter(found)
    return outputs, [next(for_all) if x.is_floating_point() else None for x in inputs]


def _skip_indices(found: Sequence[Tensor], leaves: Sequence[Tensor], keep: bool = False) -> list[Any]:
    """One entry for each leaf: what was found for it, and for indices None (or, with ``keep``, the indices)."""
    rest = iter(found)
    return [next(rest) if x.is_floating_point() else (x if keep else None) for x in leaves]

"""Totals that autograd follows step by step, by the torch backend: what has no scan of its own for its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from semihmm.engine.chain import Chain
from semihmm.engine.derivatives.call import Call, Outputs
from semihmm.engine.maps import Map
from semihmm.engine.plan import Plan
from semihmm.engine.scan import advance, begin, centred, cleaned, finish, unscaled
from semihmm.engine.strategies import State
from semihmm.semirings import Min, Semiring


def plainly(
    plan: Plan, semiring: Semiring, chains: Sequence[Chain], scan: Callable[[Plan, Semiring, list[Chain]], Tensor]
) -> Tensor:
    """The lowered total by the torch backend, in float64 where it is scaled: a scan of chains made ready for it."""
    given = [cleaned(c.unrolled()) for c in chains]
    if not semiring.scalable:
        return semiring.lower(scan(plan, semiring, given))
    given[0], lost = centred(given[0])
    return semiring.lower(semiring.scale(scan(plan, semiring, given), lost))


def slowly(call: Call, *leaves: Tensor) -> Outputs:
    """What the compiled backend gives of one chain, ``(components, ...)``, as autograd can follow it."""
    plan = replace(call.plan, backend="torch")
    found = plainly(plan, call.semiring, [call.skeleton.rebuild(leaves)], by_blocks).double()
    found = -found if isinstance(call.semiring, Min) else found
    return (found if call.semiring.components else found.unsqueeze(0),)


def by_blocks(plan: Plan, semiring: Semiring, chains: Sequence[Chain]) -> Tensor:
    """A total that autograd can follow. With more than one block, only the states between them are remembered."""
    chain = chains[0]
    active = chain.active(chain.batch)
    again = plan.blocks > 1 and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    state = begin(semiring, chains)
    for start, stop in plan.bounds(chain.length):
        maps = [c.steps.window(start, stop) for c in chains]
        going = None if active is None else active[..., start:stop]
        block = partial(_advance, plan, semiring, maps, stop - start)
        leaves = (x for m in maps for x in m.leaves)
        inputs = (*state, *leaves) if going is None else (*state, *leaves, going)
        state = State(*(_Again.apply(block, *inputs) if again else block(*inputs)))  # type: ignore[no-untyped-call]
    ends, offset = finish(semiring, chains, state)
    return unscaled(semiring, semiring.sum(ends, -1), offset)


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

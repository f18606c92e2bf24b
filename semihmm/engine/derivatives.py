"""The derivatives of totals: one set of rules, for every backend, of which autograd and torch.library make use alike.

- The gradient of a total is one more scan, backwards (`Backend.gradient`): posteriors.
- How a total moves along a direction is the expectation of a feature (`along`); how its gradient moves is the gradient
  of that (`curved`): covariances.
- The gradient of the totals of best paths is where they go (`Backend.path_gradient`). It does not move with
  log-weights; how it does with its weights says `scores_along`.
- What a backend has no derivative of, autograd follows step by step (`by_autograd`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from semihmm.engine.backends import registered
from semihmm.engine.followed import Outputs, by_autograd, pullback
from semihmm.engine.plan import Scan
from semihmm.engine.tracing import batched, followed, transformed, twice_forward
from semihmm.semirings import Expectation, Semiring


def total(scan: Scan) -> Tensor:
    """The lowered total, with derivatives of every order; in float64 if the semiring is scaled."""
    plan, semiring, worker = scan.plan, scan.semiring, scan.plan.worker
    watched, changed = followed(scan.leaves), transformed()
    by_rule = not changed or (semiring.temperature and not twice_forward())
    if (watched or changed) and not (by_rule and worker.differentiates(semiring)):
        return by_autograd(scan)
    if len(scan.chains) > 2 and worker.differentiates(semiring):
        first, *features = scan.chains
        each = [total(Scan(plan, Expectation(1), (first, feature))) for feature in features]
        return torch.cat([each[0], *(x[1:] for x in each[1:])])
    scan = Scan(plan, semiring, worker.prepared(semiring, scan.chains))
    best = watched and len(scan.chains) == 1 and not semiring.temperature
    if not (watched or changed) or torch.compiler.is_compiling():  # an operator knows its derivatives
        return _lowered(semiring, worker.paths(scan, arcs=True).value) if best else worker.total(scan, keep=watched)[0]
    found: Outputs = (_Best if best else _Total).apply(scan, *scan.leaves)  # type: ignore[no-untyped-call]
    return found[0]


def along(scan: Scan, direction: Sequence[Tensor]) -> Tensor:
    """How far a total moves when its log-weights move along ``direction``: the expectation of a feature."""
    tilted = _tilted(scan, direction)
    supported = scan.plan.worker.supports(tilted.semiring, tilted.chain) is None
    return (total if supported else by_autograd)(tilted)[1]


def curved(
    scan: Scan, direction: Sequence[Tensor | None], weight: Tensor, requested: Sequence[bool]
) -> tuple[Tensor, list[Tensor | None]]:
    """What `along` says, and its gradient, weighted, by the leaves of a chain; autograd follows neither."""
    leaves, scale, worker = scan.leaves, scan.semiring.temperature, scan.plan.worker
    tilted = _tilted(scan, [_or_zeros(v, x) for v, x in zip(direction, leaves, strict=True)])
    tilted = replace(tilted, chains=worker.prepared(tilted.semiring, tilted.chains))
    weights = torch.stack([torch.zeros_like(weight), weight])
    posteriors = worker.posteriors(tilted, (*requested, *(False,) * len(leaves)), weights)
    assert posteriors is not None and scale is not None
    value, found = posteriors
    cooled = [g if g is None or scale == 1.0 else g / scale for g in found]
    return value[1], [None if g is None else g.to(x.dtype) for g, x in zip(cooled, leaves, strict=False)]


def scores_along(scan: Scan, slots: Tensor, arcs: Tensor, direction: Sequence[Tensor | None]) -> Tensor:
    """How far the totals of best paths move, ``(rows, ...)``, when log-weights move along ``direction`` (None: not).

    Cost: the gradient of each path and sequence by itself, so memory for that many.
    """
    batch, requested = scan.chain.batch, [v is not None for v in direction]
    axes = len(batch)
    leaves = [x.expand(*batch, *x.shape[axes:]) if r else x for x, r in zip(scan.leaves, requested, strict=True)]
    own = scan.holding(leaves)
    one = torch.ones((1, *batch), dtype=torch.float64, device=slots.device)
    rows = []
    for slot, arc in zip(slots.split(1), arcs.split(1), strict=True):
        taken = scan.plan.worker.path_gradient(own, slot, arc, one, requested)
        pairs = [(t.double(), v) for t, v in zip(taken, direction, strict=True) if t is not None and v is not None]
        rows.append(torch.stack([(t * v).flatten(axes).sum(-1) for t, v in pairs]).sum(0))
    return torch.stack(rows)


def _tilted(scan: Scan, direction: Sequence[Tensor]) -> Scan:
    """The log-mass, and the mean of the feature that adds up along a path as log-weights move."""
    scale = scan.semiring.temperature
    assert scale is not None
    warm = [x / scale if scale != 1.0 and x.is_floating_point() else x for x in scan.leaves]
    return Scan(scan.plan, Expectation(1), (scan.chain.rebuild(warm), scan.chain.rebuild(direction)))


def _lowered(semiring: Semiring, value: Tensor) -> Tensor:
    """The values of paths ``(rows, ...)`` as a total."""
    return value if semiring.components else value[0]


def _or_zeros(tangent: Tensor | None, like: Tensor) -> Tensor:
    """A tangent; zeros where there is none; an index as it is."""
    return tangent if tangent is not None else torch.zeros_like(like) if like.is_floating_point() else like


# ---- the rules as autograd has them: of a scan, whose leaves are given anew


@dataclass(frozen=True)
class _Part:
    """Which gradients of a scan are requested, one for each leaf. It is no tuple, as vmap looks into those."""

    scan: Scan
    requested: tuple[bool, ...]

    @staticmethod
    def of(scan: Scan, needs_grad: Sequence[bool], leaves: Sequence[Tensor]) -> _Part:
        """Those that autograd has a need for."""
        return _Part(scan, tuple([n and x.is_floating_point() for n, x in zip(needs_grad, leaves, strict=True)]))

    def placed(self, found: Sequence[Tensor]) -> list[Tensor | None]:
        """One entry for each leaf: what was found of those that are requested, None for the others."""
        rest = iter(found)
        return [next(rest) if r else None for r in self.requested]


def _slowly(scan: Scan, leaves: Sequence[Tensor], weight: Tensor) -> tuple[Tensor | None, ...]:
    """A backward pass by autograd alone, of a function of a scan and its leaves."""
    function = lambda *given: (by_autograd(scan.holding(given)).double(),)  # noqa: E731
    return (None, *pullback(function, tuple(leaves), (weight,))[1])


def _many(scan: Scan, weight: Tensor) -> bool:
    """Whether there are several gradients at once, and not PyTorch's own operations to take them."""
    return batched(weight) and scan.plan.worker is not registered("torch")


def _moving(scan: Scan, direction: Sequence[Tensor], leaves: tuple[Tensor, ...], weight: Tensor) -> Any:
    """What `curved` gives, so that autograd can follow it."""
    (moved,), found = pullback(lambda *given: (along(scan.holding(given), direction),), leaves, (weight,))
    return moved, found


class _Total(torch.autograd.Function):
    """A total, with what its gradient needs: the states in front of each block, and maybe every state vector."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scan: Scan, *leaves: Tensor) -> Outputs:
        value, kept = scan.plan.worker.total(scan.holding(leaves), keep=True)
        return (value.clone() if transformed() else value, *kept)  # forward mode takes no views

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.scan = inputs[0]
        ctx.set_materialize_grads(False)  # no zeros for what is kept
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:], *inputs[1:])
        ctx.save_for_forward(*output[1:], *inputs[1:])  # the same: vmap remembers the axes of what was saved last
        ctx.kept = len(output) - 1

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        leaves = ctx.saved_tensors[ctx.kept :]
        moved = along(ctx.scan.holding(leaves), [_or_zeros(v, x) for v, x in zip(tangents, leaves, strict=True)])
        return (moved, *(None,) * ctx.kept)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, scan, weight = ctx.saved_tensors, ctx.scan, grads[0]
        leaves = saved[ctx.kept :]
        if weight is None:  # a derivative of what is kept: there is none
            return (None, *(None for _ in leaves))
        derived = torch.is_grad_enabled() or transformed() or torch.compiler.is_compiling()
        if _many(scan, weight) or (derived and not scan.semiring.temperature):
            return _slowly(scan, leaves, weight)
        part = _Part.of(scan, ctx.needs_input_grad[1:], leaves)
        work = _Gradient.apply if derived else _Gradient.forward
        return (None, *part.placed(work(part, ctx.kept, weight, *saved)))


class _Gradient(torch.autograd.Function):
    """The gradient of totals, weighted: posteriors by one scan back. Its own gradient is a covariance."""

    generate_vmap_rule = True

    @staticmethod
    def forward(part: _Part, count: int, weight: Tensor, *saved: Tensor) -> Outputs:
        scan = part.scan.holding(saved[count:])
        found = scan.plan.worker.gradient(scan, saved[:count], weight, part.requested)
        return tuple([x for x in found if x is not None])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.part, ctx.kept = inputs[:2]
        ctx.save_for_backward(*inputs[2:])
        ctx.save_for_forward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, *saved = ctx.saved_tensors
        scan, leaves = ctx.part.scan, tuple(saved[ctx.kept :])
        direction = [_or_zeros(v, x) for v, x in zip(ctx.part.placed(grads), leaves, strict=True)]
        if scan.plan.worker.differentiates(Expectation(1)) and not (torch.is_grad_enabled() or transformed()):
            part = _Part.of(scan, ctx.needs_input_grad[3 + ctx.kept :], leaves)
            moved, pulled = curved(scan.holding(leaves), direction, weight, part.requested)
        else:
            moved, pulled = _moving(scan, direction, leaves, weight)
        return (None, None, moved, *(None,) * ctx.kept, *pulled)

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, moved: Tensor | None, *tangents: Tensor | None) -> Outputs:
        weight, *saved = ctx.saved_tensors
        part, leaves = ctx.part, tuple(saved[ctx.kept :])
        direction = [_or_zeros(v, x) for v, x in zip(tangents[ctx.kept :], leaves, strict=True)]
        by_leaves = _moving(part.scan, direction, leaves, weight)[1]
        by_weight = _Gradient.forward(part, ctx.kept, _or_zeros(moved, weight), *saved)
        needed = (x for x, r in zip(by_leaves, part.requested, strict=True) if r and x is not None)
        return tuple(a + b for a, b in zip(needed, by_weight, strict=True))


class _Best(torch.autograd.Function):
    """The totals of best paths; and where those go."""

    @staticmethod
    def forward(scan: Scan, *leaves: Tensor) -> Outputs:
        found = scan.plan.worker.paths(scan.holding(leaves), arcs=True)
        assert found.arcs is not None
        return _lowered(scan.semiring, found.value), found.slots, found.arcs

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.scan = inputs[0]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:], *inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        slots, arcs, *leaves = ctx.saved_tensors
        scan, weight = ctx.scan, grads[0]
        if weight is None:
            return (None, *(None for _ in leaves))
        if _many(scan, weight):
            return _slowly(scan, leaves, weight)
        part = _Part.of(scan, ctx.needs_input_grad[1:], leaves)
        work = _PathGradient.apply if torch.is_grad_enabled() else _PathGradient.forward
        weight = weight if scan.semiring.components else weight.unsqueeze(0)
        return (None, *part.placed(work(part, weight, slots, arcs, *leaves)))


class _PathGradient(torch.autograd.Function):
    """The gradient of the totals of best paths, weighted: linear in the weights, and constant otherwise."""

    @staticmethod
    def forward(part: _Part, weight: Tensor, slots: Tensor, arcs: Tensor, *leaves: Tensor) -> Outputs:
        scan = part.scan.holding(leaves)
        found = scan.plan.worker.path_gradient(scan, slots, arcs, weight, part.requested)
        return tuple([x for x in found if x is not None])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.part = inputs[0]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        slots, arcs, *leaves = ctx.saved_tensors
        moved = scores_along(ctx.part.scan.holding(leaves), slots, arcs, ctx.part.placed(grads))
        flat = (torch.zeros_like(x) if r else None for x, r in zip(leaves, ctx.part.requested, strict=True))
        return (None, moved, None, None, *flat)


for _function in (_Total, _Gradient):  # `apply` binds its arguments to a signature: to find it anew takes 25 us a call
    _function.forward.__signature__ = signature(_function.forward)  # type: ignore[union-attr]

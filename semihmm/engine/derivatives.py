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
from semihmm.engine.backends.protocol import Backend
from semihmm.engine.chain import Chain
from semihmm.engine.followed import Outputs, by_autograd, pullback
from semihmm.engine.plan import Plan
from semihmm.engine.tracing import batched, followed, transformed, twice_forward
from semihmm.semirings import Expectation, Semiring


def total(plan: Plan, semiring: Semiring, chains: Sequence[Chain]) -> Tensor:
    """The lowered total of log-weights and features, with derivatives of every order: in float64 if it is scaled."""
    worker, watched = plan.worker, followed(x for c in chains for x in c.leaves)
    derived = watched or transformed()
    if derived and (not worker.differentiates(semiring) or twice_forward()):
        return by_autograd(plan, semiring, chains)
    if derived and not semiring.temperature and transformed():  # rules for autograd alone
        return by_autograd(plan, semiring, chains)
    if len(chains) > 2 and worker.differentiates(semiring):
        each = [total(plan, Expectation(1), [chains[0], feature]) for feature in chains[1:]]
        return torch.cat([each[0], *(x[1:] for x in each[1:])])
    chains = worker.prepared(semiring, chains)
    best = watched and len(chains) == 1 and not semiring.temperature
    if torch.compiler.is_compiling() or not derived:  # an operator knows its derivatives
        if best:
            return _lowered(semiring, worker.paths(plan, semiring, chains[0], arcs=True).value)
        return worker.total(plan, semiring, chains, keep=watched)[0]
    scan = Scan(plan, semiring, tuple(chains))
    found: Outputs = (_Best if best else _Total).apply(scan, *(x for c in chains for x in c.leaves))  # type: ignore[no-untyped-call]
    return found[0]


def along(plan: Plan, semiring: Semiring, chain: Chain, direction: Sequence[Tensor]) -> Tensor:
    """How far a total moves when its log-weights move along ``direction``: the expectation of a feature."""
    chains, mean = _tilted(semiring, chain, direction), Expectation(1)
    if plan.worker.supports(mean, chains[0]) is not None:
        return by_autograd(plan, mean, chains)[1]
    return total(plan, mean, chains)[1]


def curved(
    plan: Plan,
    semiring: Semiring,
    chain: Chain,
    direction: Sequence[Tensor | None],
    weight: Tensor,
    requested: Sequence[bool],
) -> tuple[Tensor, list[Tensor | None]]:
    """What `along` says, and its gradient, weighted, by the leaves of a chain; autograd follows neither."""
    leaves, scale, mean = chain.leaves, semiring.temperature, Expectation(1)
    assert scale is not None
    whole = [_or_zeros(v, x) for v, x in zip(direction, leaves, strict=True)]
    chains = plan.worker.prepared(mean, _tilted(semiring, chain, whole))
    weights = torch.stack([torch.zeros_like(weight), weight])
    posteriors = plan.worker.posteriors(plan, mean, chains, (*requested, *(False,) * len(leaves)), weights)
    assert posteriors is not None
    value, found = posteriors
    cooled = [g if g is None or scale == 1.0 else g / scale for g in found]
    return value[1], [None if g is None else g.to(x.dtype) for g, x in zip(cooled, leaves, strict=False)]


def scores_along(
    plan: Plan, semiring: Semiring, chain: Chain, slots: Tensor, arcs: Tensor, direction: Sequence[Tensor | None]
) -> Tensor:
    """How far the totals of best paths move, ``(rows, ...)``, when log-weights move along ``direction`` (None: not).

    Cost: the gradient of each path and sequence by itself, so memory for that many.
    """
    axes, requested = len(chain.batch), [v is not None for v in direction]
    leaves = [x.expand(*chain.batch, *x.shape[axes:]) if r else x for x, r in zip(chain.leaves, requested, strict=True)]
    own = chain.rebuild(leaves)
    one = torch.ones((1, *chain.batch), dtype=torch.float64, device=slots.device)
    rows = []
    for slot, arc in zip(slots.split(1), arcs.split(1), strict=True):
        taken = plan.worker.path_gradient(plan, semiring, own, slot, arc, one, requested)
        pairs = [(t.double(), v) for t, v in zip(taken, direction, strict=True) if t is not None and v is not None]
        rows.append(torch.stack([(t * v).flatten(axes).sum(-1) for t, v in pairs]).sum(0))
    return torch.stack(rows)


def _tilted(semiring: Semiring, chain: Chain, direction: Sequence[Tensor]) -> list[Chain]:
    """Log-weights, and the feature that adds up along a path as they move."""
    scale = semiring.temperature
    assert scale is not None
    warm = [x / scale if scale != 1.0 and x.is_floating_point() else x for x in chain.leaves]
    return [chain.rebuild(warm), chain.rebuild(direction)]


def _lowered(semiring: Semiring, value: Tensor) -> Tensor:
    """The values of paths ``(rows, ...)`` as a total."""
    return value if semiring.components else value[0]


def _or_zeros(tangent: Tensor | None, like: Tensor) -> Tensor:
    """A tangent; zeros where there is none; an index as it is."""
    return tangent if tangent is not None else torch.zeros_like(like) if like.is_floating_point() else like


# ---- the rules as autograd has them


@dataclass(frozen=True)
class Scan:
    """What a call to the engine is about, less the leaves of its chains."""

    plan: Plan
    semiring: Semiring
    forms: tuple[Chain, ...]
    requested: tuple[bool, ...] = ()  # for each leaf, whether its gradient is

    @property
    def worker(self) -> Backend:
        """The backend."""
        return self.plan.worker

    def chains(self, leaves: Sequence[Tensor]) -> list[Chain]:
        """The chains with these leaves."""
        rest = iter(leaves)
        return [form.rebuild([next(rest) for _ in form.leaves]) for form in self.forms]

    def of_some(self, needs_grad: Sequence[bool], leaves: Sequence[Tensor]) -> Scan:
        """The same, with the gradients requested that autograd has a need for."""
        each = (n and x.is_floating_point() for n, x in zip(needs_grad, leaves, strict=True))
        return replace(self, requested=tuple(each))

    def placed(self, found: Sequence[Tensor]) -> list[Tensor | None]:
        """One entry for each leaf: what was found of those that are requested, None for the others."""
        rest = iter(found)
        return [next(rest) if r else None for r in self.requested]

    def by_autograd(self, *leaves: Tensor) -> Outputs:
        """The total, as autograd follows it."""
        return (by_autograd(self.plan, self.semiring, self.chains(leaves)).double(),)

    def along(self, direction: Sequence[Tensor], *leaves: Tensor) -> Outputs:
        """The function of that name."""
        return (along(self.plan, self.semiring, self.chains(leaves)[0], direction),)

    def slowly(self, weight: Tensor) -> bool:
        """Whether autograd is to find gradients: there are several at once, which PyTorch's own operations take."""
        return batched(weight) and self.worker is not registered("torch")


class _Total(torch.autograd.Function):
    """A total, with what its gradient needs: the states in front of each block, and maybe every state vector."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scan: Scan, *leaves: Tensor) -> Outputs:
        value, kept = scan.worker.total(scan.plan, scan.semiring, scan.chains(leaves), keep=True)
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
        moved = ctx.scan.along([_or_zeros(v, x) for v, x in zip(tangents, leaves, strict=True)], *leaves)
        return (*moved, *(None,) * ctx.kept)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, scan, weight = ctx.saved_tensors, ctx.scan, grads[0]
        leaves = saved[ctx.kept :]
        if weight is None:  # a derivative of what is kept: there is none
            return (None, *(None for _ in leaves))
        derived = torch.is_grad_enabled() or transformed() or torch.compiler.is_compiling()
        if scan.slowly(weight) or (derived and not scan.semiring.temperature):
            return (None, *pullback(scan.by_autograd, tuple(leaves), (weight,))[1])
        scan = scan.of_some(ctx.needs_input_grad[1:], leaves)
        work = _Gradient.apply if derived else _Gradient.forward
        return (None, *scan.placed(work(scan, ctx.kept, weight, *saved)))


class _Gradient(torch.autograd.Function):
    """The gradient of totals, weighted: posteriors by one scan back. Its own gradient is a covariance."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scan: Scan, count: int, weight: Tensor, *saved: Tensor) -> Outputs:
        chains, given = scan.chains(saved[count:]), (scan.plan, scan.semiring)
        found = scan.worker.gradient(*given, chains, saved[:count], weight, scan.requested)
        return tuple(x for x in found if x is not None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.scan, ctx.kept = inputs[:2]
        ctx.save_for_backward(*inputs[2:])
        ctx.save_for_forward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, *saved = ctx.saved_tensors
        scan, leaves = ctx.scan, tuple(saved[ctx.kept :])
        direction = [_or_zeros(v, x) for v, x in zip(scan.placed(grads), leaves, strict=True)]
        mean = scan.worker.differentiates(Expectation(1))
        if mean and not (torch.is_grad_enabled() or transformed()):
            requested = scan.of_some(ctx.needs_input_grad[3 + ctx.kept :], leaves).requested
            chain = scan.chains(leaves)[0]
            moved, pulled = curved(scan.plan, scan.semiring, chain, direction, weight, requested)
        else:
            (moved,), pulled = pullback(lambda *x: scan.along(direction, *x), leaves, (weight,))
        return (None, None, moved, *(None,) * ctx.kept, *pulled)

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, moved: Tensor | None, *tangents: Tensor | None) -> Outputs:
        weight, *saved = ctx.saved_tensors
        scan, leaves = ctx.scan, tuple(saved[ctx.kept :])
        direction = [_or_zeros(v, x) for v, x in zip(tangents[ctx.kept :], leaves, strict=True)]
        curved = pullback(lambda *x: scan.along(direction, *x), leaves, (weight,))[1]
        by_weight = _Gradient.forward(scan, ctx.kept, _or_zeros(moved, weight), *saved)
        requested = (x for x, r in zip(curved, scan.requested, strict=True) if r and x is not None)
        return tuple(a + b for a, b in zip(requested, by_weight, strict=True))


class _Best(torch.autograd.Function):
    """The totals of best paths; and where those go."""

    @staticmethod
    def forward(scan: Scan, *leaves: Tensor) -> Outputs:
        found = scan.worker.paths(scan.plan, scan.semiring, scan.chains(leaves)[0], arcs=True)
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
        if scan.slowly(weight):
            return (None, *pullback(scan.by_autograd, tuple(leaves), (weight,))[1])
        scan = scan.of_some(ctx.needs_input_grad[1:], leaves)
        work = _PathGradient.apply if torch.is_grad_enabled() else _PathGradient.forward
        weight = weight if scan.semiring.components else weight.unsqueeze(0)
        return (None, *scan.placed(work(scan, weight, slots, arcs, *leaves)))


class _PathGradient(torch.autograd.Function):
    """The gradient of the totals of best paths, weighted: linear in the weights, and constant otherwise."""

    @staticmethod
    def forward(scan: Scan, weight: Tensor, slots: Tensor, arcs: Tensor, *leaves: Tensor) -> Outputs:
        (chain,), given = scan.chains(leaves), (scan.plan, scan.semiring)
        found = scan.worker.path_gradient(*given, chain, slots, arcs, weight, scan.requested)
        return tuple(x for x in found if x is not None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.scan = inputs[0]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        slots, arcs, *leaves = ctx.saved_tensors
        scan = ctx.scan
        moved = scores_along(scan.plan, scan.semiring, scan.chains(leaves)[0], slots, arcs, scan.placed(grads))
        flat = (torch.zeros_like(x) if r else None for x, r in zip(leaves, scan.requested, strict=True))
        return (None, moved, None, None, *flat)


for _function in (_Total, _Gradient):  # `apply` binds its arguments to a signature: to find it anew takes 25 us a call
    _function.forward.__signature__ = signature(_function.forward)  # type: ignore[union-attr]

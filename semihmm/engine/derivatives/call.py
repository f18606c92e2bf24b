"""What derivatives of totals have in common: the call that they are of, and gradients from the compiled backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.engine.backends import compiled
from semihmm.engine.chain import Chain
from semihmm.engine.plan import Plan
from semihmm.semirings import Semiring

Outputs = tuple[Tensor, ...]
Asked = tuple[bool, ...]  # for each leaf of a chain, whether its gradient is asked for


@dataclass(frozen=True)
class Call:
    """What a call to the engine is about, less its log-weights."""

    plan: Plan
    semiring: Semiring
    skeleton: Chain
    needed: Asked = ()  # of the gradient alone


def directly(call: Call, chains: Sequence[Chain], keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """A total from the compiled backend, float64 ``(components, ...)``, and what it kept, if it was to."""
    chain = chains[0]
    along = [x for c in chains[1:] for x in compiled.leaves(c)]
    told, segment = compiled.call_for(call.semiring, chain), call.plan.segment(chain.length) if keep else 0
    return compiled.total(told, compiled.leaves(chain), along, chain.lengths, segment)


def shares(
    call: Call,
    chains: Sequence[Chain],
    kept: tuple[Tensor, Tensor],
    weights: tuple[Tensor, Tensor | None],
    needed: Asked | None = None,
) -> Outputs:
    """The gradient of totals by each log-weight of ``chains`` (that is needed), from the compiled backend."""
    chain = chains[0]
    told = compiled.call_for(call.semiring, chain)
    along = [x for c in chains[1:] for x in compiled.leaves(c)]
    segment = call.plan.segment(chain.length)
    if needed is not None:
        each = (needed[i : i + len(chain.leaves)] for i in range(0, len(needed), len(chain.leaves)))
        needed = sum((compiled.asked_of(chain, asked) for asked in each), ())
    found = compiled.gradient(told, compiled.leaves(chain), along, chain.lengths, kept, segment, weights, needed)
    return tuple(x for x in found if x is not None)


def widened(chain: Chain) -> Chain:
    """The chain in float64."""
    leaves = chain.leaves
    if all(x.dtype == torch.float64 or not x.is_floating_point() for x in leaves):
        return chain
    return chain.rebuild(x.double() if x.is_floating_point() else x for x in leaves)


def many(weight: Tensor) -> bool:
    """Whether these are weights of several gradients at once, as autograd has them for its `is_grads_batched`."""
    return torch._C._functorch.is_legacy_batchedtensor(weight)


def or_zeros(tangent: Tensor | None, like: Tensor) -> Tensor:
    """A tangent; zeros where there is none; an index as it is."""
    return tangent if tangent is not None else torch.zeros_like(like) if like.is_floating_point() else like


def placed(found: Sequence[Tensor], needed: Asked) -> list[Tensor | None]:
    """One entry for each leaf: what was found for it, None where nothing was asked for."""
    rest = iter(found)
    return [next(rest) if n else None for n in needed]

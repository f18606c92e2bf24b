"""The total of a chain, and its derivatives: each is a scan again."""

from collections.abc import Sequence

import torch
from torch import Tensor

from semihmm.engine.backends import compiled
from semihmm.engine.chain import Chain
from semihmm.engine.derivatives.best import best
from semihmm.engine.derivatives.call import Call, directly
from semihmm.engine.derivatives.followed import by_blocks, plainly
from semihmm.engine.derivatives.moments import moments
from semihmm.engine.derivatives.smooth import smooth
from semihmm.engine.overflow import check_overflow
from semihmm.engine.plan import Plan
from semihmm.engine.tracing import transformed
from semihmm.semirings import Log, Min, Semiring


def total(plan: Plan, semiring: Semiring, chain: Chain, features: Sequence[Chain] = ()) -> Tensor:
    """Add up the values of all paths.

    Args:
        features: chains of the same form that hold features where ``chain`` holds log-weights; as many as
            ``semiring.inputs - 1``.
    Returns:
        The lowered total, ``(components, ..., )`` in the dtype of the log-weights (Count, Boolean: their own).
        Differentiable any number of times. Where the semiring has a temperature, the first derivative is one scan
        back over the transposed chain and the second an expectation-semiring scan. That of Max, Min and TopK is,
        natively, where the best paths went: of paths that tie, those that `decode` finds. Elsewhere each block of steps
        is computed again and differentiated by autograd.
    Raises:
        DataError: finite log-weights whose sum along a path leaves the range of their dtype.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> float(total(plan(chain, semihmm.semirings.Max()), semihmm.semirings.Max(), chain))
        0.0
    """
    floating = chain.start[0].dtype
    given = (chain, *features)
    wanted = torch.is_grad_enabled() and any(x.requires_grad for c in given for x in c.leaves)
    derived, again = wanted or transformed(), _forward_again()
    # Of moments and best paths, the compiled backend has the derivatives that autograd asks for, and no transforms'.
    if plan.backend == "native" and not again and (not derived or semiring.temperature or not transformed()):
        value = _natively(plan, semiring, given, derived)
        check_overflow(chain, value)
        return value.to(floating)
    followed = wanted and semiring.temperature and not features and not again and not torch.compiler.is_compiling()
    answer = plainly(plan, semiring, given, smooth if followed else by_blocks)
    check_overflow(chain, answer)
    return answer.to(floating) if answer.dtype == torch.float64 else answer


def _forward_again() -> bool:
    """Whether forward mode goes over forward mode: the outer one does not look into the `jvp` of a Function."""
    if torch.compiler.is_compiling():
        return False
    stack = torch._C._functorch.get_interpreter_stack() or ()
    return sum(layer.key() == torch._C._functorch.TransformType.Jvp for layer in stack) > 1


def _natively(plan: Plan, semiring: Semiring, chains: Sequence[Chain], wanted: bool) -> Tensor:
    """A total by the compiled backend, in float64."""
    if len(chains) > 1:
        return moments(plan, chains, wanted)
    chain = compiled.settled(chains[0])
    if wanted and semiring.temperature and not torch.compiler.is_compiling():
        return smooth(plan, semiring, [chain])
    if wanted and not semiring.temperature:
        value = best(plan, semiring, chain)
    else:
        value = directly(Call(plan, semiring, chain), [chain], keep=wanted)[0]
    value = value if semiring.components else value[0]
    return -value if isinstance(semiring, Min) else value


def posteriors(
    plan: Plan, chain: Chain, asked: Sequence[bool], into: Sequence[Tensor | None] = ()
) -> tuple[Tensor, list[Tensor | None]]:
    """A chain's log-mass, float64, and its gradient by each leaf that is asked for. Native plans only; no autograd.

    Args:
        into: zeros that gradients are written to, event axes in one piece; new tensors where None.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> way = plan(chain, semihmm.semirings.Log())
        >>> if way.backend == "native":
        ...     assert posteriors(way, chain, (True, False))[1][0].tolist() == [0.5, 0.5]
    """
    assert plan.backend == "native"
    call, segment = compiled.call_for(Log(), chain), plan.segment(chain.length)
    tensors, needed = compiled.leaves(chain), compiled.asked_of(chain, asked)
    value, found = compiled.posteriors(call, tensors, chain.lengths, segment, needed, into[: len(tensors)])
    check_overflow(chain, value)
    return value, compiled.of_leaves(chain, found)

"""What is asked of a chain: its total, posteriors, best paths through each log-weight or slot, and state vectors."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from semihmm.engine import derivatives
from semihmm.engine.backends import registered
from semihmm.engine.chain import Chain
from semihmm.engine.maps import Compose, Diagonal
from semihmm.engine.overflow import check_overflow
from semihmm.engine.plan import Plan, Scan
from semihmm.engine.tracing import followed, transformed
from semihmm.semirings import Log, Max, Semiring


def total(plan: Plan, semiring: Semiring, chain: Chain, features: Sequence[Chain] = ()) -> Tensor:
    """Add up the values of all paths.

    Args:
        features: chains of the same form that hold features where ``chain`` holds log-weights; as many as
            ``semiring.inputs - 1``.
    Returns:
        The lowered total, ``(components, ..., )`` in the dtype of the log-weights (Count, Boolean: their own).
        Differentiable any number of times (see `semihmm.engine.derivatives`). Where best paths tie, the gradient is of
        those that `decode` finds.
    Raises:
        DataError: finite log-weights whose sum along a path leaves the range of their dtype.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> float(total(plan(chain, semihmm.semirings.Max()), semihmm.semirings.Max(), chain))
        0.0
    """
    value = derivatives.total(Scan(plan, semiring, (chain, *features)))
    check_overflow(chain, value)
    return value.to(chain.start[0].dtype) if value.dtype == torch.float64 else value


def posteriors(
    plan: Plan, chain: Chain, requested: Sequence[bool], into: Sequence[Tensor | None] = ()
) -> tuple[Tensor, list[Tensor | None]] | None:
    """A chain's log-mass, float64, and its gradient by each leaf that is requested, in one pass. Not for autograd.

    Args:
        into: zeros that gradients are written to, event axes in one piece; new tensors where None.
    Returns:
        None where the backend has no such pass over a chain as it is.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> posteriors(plan(chain, semihmm.semirings.Log()), chain, (True, False))[1][0].tolist()
        [0.5, 0.5]
    """
    worker = plan.worker
    scan = Scan(plan, Log(), worker.prepared(Log(), (chain,)))
    if scan.chain is not chain:
        return None
    found = worker.posteriors(scan, requested, None, into)
    if found is not None:
        check_overflow(chain, found[0])
    return found


def best_through(plan: Plan, chain: Chain) -> tuple[Chain, list[Tensor]]:
    """The score of the best path through each log-weight of a chain, ``-inf`` where there is none.

    Returns:
        The chain whose log-weights these are (the torch backend unrolls it), and one tensor for each, of its shape.

    Example:
        >>> weights = torch.tensor([[[0.0, 1.0], [3.0, 0.0]]])
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(weights), length=1)
        >>> found = best_through(semihmm.engine.plan(chain, semihmm.semirings.Max()), chain)[1]
        >>> [x.tolist() for x in found]
        [[1.0, 3.0], [[[0.0, 1.0], [3.0, 0.0]]]]
    """
    requested = [x.is_floating_point() for x in chain.leaves]
    worker = plan.worker
    scan = Scan(plan, Max(), worker.prepared(Max(), (chain,)))
    found = worker.posteriors(scan, requested)
    if found is None:
        return best_through(replace(plan, backend="torch"), chain)
    return scan.chain, [x for x in found[1] if x is not None]


def best_in_slots(plan: Plan, chain: Chain) -> Tensor:
    """The score of the best path that is in each slot at each time, ``(..., T + 1, slots)``; ``-inf`` for none.

    Of chains whose maps look one step back.

    Example:
        >>> weights = torch.tensor([[[0.0, 1.0], [3.0, 0.0]]])
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(weights), length=1)
        >>> best_in_slots(semihmm.engine.plan(chain, semihmm.semirings.Max()), chain).tolist()
        [[1.0, 3.0], [3.0, 1.0]]
    """
    worker = plan.worker
    through = worker.best_in_slots(Scan(plan, Max(), worker.prepared(Max(), (chain,))))
    if through is not None:
        return through
    free = chain.start[0].new_zeros((*chain.batch, chain.length + 1, chain.steps.slots))  # a weight for each of them
    first, rest = free.split_with_sizes((1, chain.length), -2)
    steps = Compose(chain.steps, Diagonal(rest))  # type: ignore[arg-type]  # as in `Map.__matmul__`
    marked = replace(chain, start=(first.squeeze(-2), *chain.start), steps=steps)
    scan = Scan(plan, Max(), worker.prepared(Max(), (marked,)))
    at = len(scan.chain.leaves) - 1 - (chain.lengths is not None)
    found = worker.posteriors(scan, [i in (0, at) for i in range(at + 1)] + [False] * (chain.lengths is not None))
    if found is None:
        return best_in_slots(replace(plan, backend="torch"), chain)
    begin, later = found[1][0], found[1][at]
    assert begin is not None and later is not None
    return torch.cat([begin.unsqueeze(-2), later], -2)


def vectors(plan: Plan, semiring: Semiring, chain: Chain, only: Tensor | None = None) -> Tensor:
    """The state vector at each time, ``(..., T + 1, slots)``; in float64 where the semiring is scaled.

    Args:
        only: of each sequence the one slot that is requested, int64 ``(...)``; then ``(..., T + 1)``.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> vectors(plan(chain, semihmm.semirings.Log()), semihmm.semirings.Log(), chain).exp().round().tolist()
        [[1.0, 1.0], [2.0, 2.0], [4.0, 4.0], [8.0, 8.0]]
    """
    worker = registered("torch") if transformed() or followed(chain.leaves) else plan.worker  # which has derivatives
    found = worker.vectors(Scan(plan, semiring, worker.prepared(semiring, (chain,))), only)
    return vectors(replace(plan, backend="torch"), semiring, chain, only) if found is None else found

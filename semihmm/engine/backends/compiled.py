"""The compiled backend: totals, gradients and paths of a whole chain in one call each (csrc/).

Here a chain becomes a call and its tensors; `operators` and `kernels` do the rest. To import `library` registers the
operators that PyTorch sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from semihmm.engine.backends.kernels import (
    DENSE,
    DIAGONAL,
    EXPECTATION,
    GRID,
    GRID_TABLES,
    LOG,
    MAX,
    SEGMENTAL,
    SPARSE,
    TIED,
    TOPK,
    Call,
    marks_of,
    posteriors,
    stride_of,
)
from semihmm.engine.backends.library import OPERATORS
from semihmm.engine.backends.operators import gradient, gradient_of_paths, paths, scores_along, total, vectors
from semihmm.engine.chain import Chain
from semihmm.engine.maps import Compose, Dense, Diagonal, Grid, Map, Segmental, Sparse
from semihmm.semirings import Expectation, Log, Max, Min, Sample, Semiring, SmoothMax, TopK

__all__ = [
    "OPERATORS",
    "Call",
    "asked_of",
    "call_for",
    "gradient",
    "gradient_of_paths",
    "leaves",
    "marks_of",
    "of_leaves",
    "paths",
    "posteriors",
    "refusal",
    "scores_along",
    "settled",
    "total",
    "vectors",
]


def refusal(semiring: Semiring, chain: Chain) -> str | None:
    """Why the compiled code does not do this chain; None where it does.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> refusal(semihmm.semirings.Count(), chain)
        'no kernel for Count()'
    """
    if _arithmetic(semiring) is None:
        return f"no kernel for {semiring}"
    leaves = chain.leaves
    kind = leaves[0].dtype
    if kind not in (torch.float32, torch.float64) or any(x.dtype != kind and x.is_floating_point() for x in leaves):
        return f"no kernel for {', '.join(sorted({str(x.dtype) for x in leaves if x.is_floating_point()}))}"
    if not all(x.is_cpu for x in leaves):
        return "its tensors are not on the CPU"
    if _spec(chain.steps) is None:
        return f"no kernel for {type(chain.steps).__name__}"
    return None


def _arithmetic(semiring: Semiring) -> tuple[int, int, float] | None:
    """The kernel's semiring, its components and beta."""
    kind = type(semiring)  # a subclass may do anything; and to ask an abstract class takes a while
    if kind is Log or kind is Sample:
        return LOG, 1, 1.0
    if kind is Max or kind is Min:
        return MAX, 1, 1.0
    if kind is SmoothMax:
        assert semiring.temperature is not None
        return LOG, 1, 1.0 / semiring.temperature
    if isinstance(semiring, TopK):
        return TOPK, semiring.k, 1.0
    return (EXPECTATION, 2, 1.0) if kind is Expectation else None  # one feature at a time


def _spec(steps: Map) -> tuple[int, ...] | None:
    kind = type(steps)
    if kind is Compose:
        assert isinstance(steps, Compose)
        first, then = _spec(steps.first), _spec(steps.then)
        if first is None or then is None or SEGMENTAL in (first[0], then[0]):  # that one's vectors have two parts
            return None
        return first + then
    if kind is Dense:
        return (DENSE,)
    if isinstance(steps, Diagonal):
        return (DIAGONAL if steps.index is None else TIED,)
    if isinstance(steps, Sparse):
        return (SPARSE, steps.memory)
    if isinstance(steps, Segmental):
        return (SEGMENTAL, int(steps.segment is not None))
    return (GRID, steps.memory, steps.first) if isinstance(steps, Grid) else None


def call_for(semiring: Semiring, chain: Chain) -> Call:
    """How the compiled code is told of a chain that it does not refuse.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> call_for(semihmm.semirings.Log(), chain).spec
        (1, 0, 0)
    """
    arithmetic, steps = _arithmetic(semiring), _spec(chain.steps)
    assert arithmetic is not None and steps is not None
    map_ = chain.steps
    spec = (len(chain.start), len(chain.end), *steps)
    stride = stride_of(spec, map_.slots, chain.start[0].element_size(), arithmetic[1])
    return Call(spec, *arithmetic, tuple(chain.batch), chain.length, stride, map_.memory, map_.work)


def leaves(chain: Chain) -> list[Tensor]:
    """All tensors of a chain but its lengths, in the order of the compiled code.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> [tuple(x.shape) for x in leaves(chain)]
        [(2,), (1, 2, 2)]
    """
    steps, more = chain.steps, []
    if isinstance(steps, Grid):
        more = [steps.row, steps.source, steps.plane, steps.factor, steps.low, steps.high]
    return [*chain.start, *chain.end, *steps.leaves, *more]


def asked_of(chain: Chain, asked: Sequence[bool]) -> tuple[bool, ...]:
    """Which of a chain's `leaves` are asked for, from which of ``chain.leaves`` are.

    Those have the tables of a Grid last, these the lengths.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> asked_of(chain, (True, False))
        (True, False)
    """
    tables = GRID_TABLES if isinstance(chain.steps, Grid) else 0
    return (*asked[: _own(chain)], *(False,) * tables)


def of_leaves(chain: Chain, found: Sequence[Tensor | None]) -> list[Tensor | None]:
    """What there is for each of ``chain.leaves``, from what was found for each of its `leaves`; None for lengths.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> of_leaves(chain, [torch.ones(2), None])
        [tensor([1., 1.]), None]
    """
    return [*found[: _own(chain)], *(None,) * (chain.lengths is not None)]


def _own(chain: Chain) -> int:
    return len(chain.leaves) - (chain.lengths is not None)


def settled(chain: Chain) -> Chain:
    """The chain with the tables of a Grid as plain tensors, which outlive the transform that they were made in.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> settled(chain) is chain
        True
    """
    if torch.compiler.is_compiling() or not isinstance(chain.steps, Grid):
        return chain
    if torch._C._functorch.peek_interpreter_stack() is None:
        return chain
    tables = {}
    for name in ("row", "source", "plane", "factor", "low", "high"):
        x = getattr(chain.steps, name)
        while torch._C._functorch.is_functorch_wrapped_tensor(x):
            x = torch._C._functorch.get_unwrapped(x)
        tables[name] = x
    return replace(chain, steps=chain.steps.holding(**tables))

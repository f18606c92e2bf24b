"""A chain in another form, to compare with; its total and its paths by a strategy and a backend that are named."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from semihmm import engine
from semihmm.engine import Chain, Decoded, Plan
from semihmm.engine.plan import StrategyName
from semihmm.semirings import Semiring


def in_float64(chain: Chain) -> Chain:
    """The same log-weights in float64.

    Example:
        >>> chain = random_chain("dense", ChainCase(seed=0, dtype=torch.float32))
        >>> in_float64(chain).start[0].dtype
        torch.float64
    """
    return chain.rebuild(x.double() if x.is_floating_point() else x for x in chain.leaves)


def rounded(chain: Chain, scale: float) -> Chain:
    """Log-weights that are multiples of ``1 / scale``: their sums are exact, and the coarser, the more paths tie.

    Example:
        >>> chain = rounded(random_chain("dense", ChainCase(seed=0)), 8)
        >>> bool(((8 * chain.start[0]).frac() == 0).all())
        True
    """
    return chain.rebuild((x * scale).round() / scale if x.is_floating_point() else x for x in chain.leaves)


def differentiable(chain: Chain) -> tuple[Chain, list[Tensor]]:
    """The chain with new leaves that require gradients, and these: start, end, then those of its map.

    Example:
        >>> chain, leaves = differentiable(random_chain("dense", ChainCase(seed=0, forbidden=0.0)))
        >>> by_start, *_ = torch.autograd.grad(total_of(chain, semihmm.semirings.Log()).sum(), leaves)
        >>> [round(float(x), 9) for x in by_start.sum(-1)]  # every path starts somewhere
        [1.0, 1.0]
    """
    leaves = [x.detach().requires_grad_(x.is_floating_point()) for x in chain.leaves]
    return chain.rebuild(leaves), [x for x in leaves if x.requires_grad]


def plan_of(
    chain: Chain,
    semiring: Semiring,
    *,
    strategy: StrategyName | None = None,
    backend: str | None = None,
    blocks: int | None = None,
) -> Plan:
    """What the engine is to do.

    Args:
        strategy, backend: as for `semihmm.engine.plan`.
        blocks: as in `ChainCase`; at most one for each step.
    Example:
        >>> chain = random_chain("dense", ChainCase(seed=0, steps=9))
        >>> plan_of(chain, semihmm.semirings.Log(), backend="torch", blocks=2).bounds(9)
        [(0, 5), (5, 9)]
    """
    plan = engine.plan(chain, semiring, strategy, blocks == 0, backend)
    assert backend is None or plan.backend == backend
    return replace(plan, blocks=min(blocks, chain.length)) if blocks and chain.length else plan


def total_of(
    chain: Chain,
    semiring: Semiring,
    features: Sequence[Chain] = (),
    *,
    strategy: StrategyName | None = None,
    backend: str | None = None,
    blocks: int | None = None,
) -> Tensor:
    """The total of a chain: `semihmm.engine.total` by the plan that `plan_of` makes.

    Example:
        >>> chain = random_chain("dense", ChainCase(seed=0, batch=(3,)))
        >>> total_of(chain, semihmm.semirings.Log(), strategy="associative").shape
        torch.Size([3])
    """
    plan = plan_of(chain, semiring, strategy=strategy, backend=backend, blocks=blocks)
    return engine.total(plan, semiring, chain, features)


def paths_of(
    chain: Chain,
    semiring: Semiring,
    generator: torch.Generator | None = None,
    *,
    strategy: StrategyName | None = None,
    backend: str | None = None,
    blocks: int | None = None,
) -> Decoded:
    """The best or drawn paths of a chain: `semihmm.engine.decode` by the plan that `plan_of` makes.

    Example:
        >>> chain = random_chain("dense", ChainCase(seed=0, batch=(3,), steps=4))
        >>> paths_of(chain, semihmm.semirings.TopK(2)).slots.shape
        torch.Size([2, 3, 5])
    """
    plan = plan_of(chain, semiring, strategy=strategy, backend=backend, blocks=blocks)
    return engine.decode(plan, semiring, chain, generator)

"""How many bytes a scan takes: what it keeps for its gradient, and the most it holds at any time."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from semihmm.engine.backends import registered
from semihmm.engine.chain import Chain
from semihmm.engine.plan import Plan, Scan
from semihmm.errors import SemihmmError
from semihmm.semirings import Semiring

OFFSET = 8  # bytes: each state vector has its offset, in float64


class Bytes(NamedTuple):
    """What a scan takes beside its log-weights.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> log = semihmm.semirings.Log()
        >>> estimate(chain, log, semihmm.engine.plan(chain, log, backend="torch")).vectors
        80
    """

    vectors: int  # state vectors and offsets that are kept for the gradient
    total: int  # at most at any time, where no gradient is requested
    gradient: int  # the same where one is, the gradient itself included


class Kept(Protocol):
    """The state vectors that a scan keeps for its gradient, with their offsets."""

    @property
    def vector(self) -> int:
        """Bytes of one vector."""
        ...

    def rows(self, blocks: int) -> int:
        """Bytes kept where a scan has so many blocks."""
        ...

    def block(self, blocks: int) -> int:
        """Bytes of the vectors of a block that is scanned again."""
        ...


def kept(chain: Chain, semiring: Semiring, backend: str) -> Kept:
    """What a scan of a chain keeps by a backend.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> kept(chain, semihmm.semirings.Log(), "torch").vector
        8
    """
    return registered(backend).kept(semiring, chain)


def blocks_within(budget: int, chain: Chain, semiring: Semiring, backend: str) -> int:
    """The fewest blocks with which what is kept and the vectors of a block stay within a budget of bytes.

    Raises:
        SemihmmError: none does.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=1000)
        >>> blocks_within(4000, chain, semihmm.semirings.Log(), "torch")
        5
    """
    found = kept(chain, semiring, backend)
    least = None
    for blocks in range(1, chain.length + 1):
        size = found.rows(blocks) + found.block(blocks)
        if size <= budget:
            return blocks
        least = size if least is None else min(least, size)
    raise SemihmmError(
        f"checkpoint: a budget of {budget:,} bytes cannot hold a scan of {chain.length} steps; the least is "
        f"{least or 0:,} bytes. Pass that, or cut the batch.",
        see="memory-budget",
    )


def estimate(chain: Chain, semiring: Semiring, plan: Plan) -> Bytes:
    """What a scan takes, at most: measured multiples of what it works on, log-weights themselves not counted.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=1000)
        >>> log = semihmm.semirings.Log()
        >>> whole, blocks = (estimate(chain, log, semihmm.engine.plan(chain, log, None, c)) for c in (False, True))
        >>> whole.vectors > 10 * blocks.vectors, whole.gradient > blocks.gradient
        (True, True)
    """
    return registered(plan.backend).workspace_bytes(Scan(plan, semiring, (chain,)))

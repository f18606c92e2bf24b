"""What a call will do: by which strategy, in how many blocks, on which backend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from semihmm.engine.backends import Backend, registered
from semihmm.engine.chain import Chain
from semihmm.engine.tracing import traced
from semihmm.semirings import Semiring

StrategyName = Literal["sequential", "associative", "chunked"]


@dataclass(frozen=True)
class Plan:
    """What a call will do.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> semihmm.engine.plan(chain, semihmm.semirings.Log()).bounds(3)
        [(0, 3)]
    """

    strategy: StrategyName | Literal["operator"]  # which no caller names
    blocks: int  # how many blocks of steps; 1 keeps every state vector for the gradient
    backend: str
    reason: str

    @property
    def worker(self) -> Backend:
        """The backend that does the call now."""
        named = registered(self.backend)
        return named if named.traceable or not traced() else registered("torch")

    def segment(self, length: int) -> int:
        """How many steps there are in a block, at least 1."""
        return max(-(-length // self.blocks), 1)

    def bounds(self, length: int) -> list[tuple[int, int]]:
        """First and last step of each block; no block where there is no step."""
        if self.strategy == "operator":  # which takes a length that is not known yet
            return [(0, length)]
        size = self.segment(length)
        return [(at, min(at + size, length)) for at in range(0, length, size)]


@dataclass(frozen=True)
class Scan:
    """What is multiplied out, and how: all that a backend is given.

    Args:
        chains: the log-weights', then (with `Expectation` alone) one that holds a feature in place of each log-weight.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> log = semihmm.semirings.Log()
        >>> len(Scan(semihmm.engine.plan(chain, log), log, (chain,)).leaves)
        2
    """

    plan: Plan
    semiring: Semiring
    chains: tuple[Chain, ...]

    @property
    def chain(self) -> Chain:
        """That of the log-weights."""
        return self.chains[0]

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """Those of all chains."""
        return self.chains[0].leaves if len(self.chains) == 1 else tuple(x for c in self.chains for x in c.leaves)

    def holding(self, leaves: Iterable[Tensor]) -> Scan:
        """The same with other leaves."""
        if len(self.chains) == 1:
            return Scan(self.plan, self.semiring, (self.chains[0].rebuild(leaves),))
        rest = iter(leaves)
        return replace(self, chains=tuple([c.rebuild([next(rest) for _ in c.leaves]) for c in self.chains]))

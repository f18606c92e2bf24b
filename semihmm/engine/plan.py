"""What a call will do: by which strategy, in how many blocks, on which backend."""

from dataclasses import dataclass
from typing import Literal

from semihmm.engine.backends import Backend, registered
from semihmm.engine.tracing import traced

StrategyName = Literal["sequential", "associative", "chunked"]


@dataclass(frozen=True)
class Plan:
    """What a call will do.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> semihmm.engine.plan(chain, semihmm.semirings.Log()).bounds(3)
        [(0, 3)]
    """

    strategy: StrategyName
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
        size = self.segment(length)
        return [(at, min(at + size, length)) for at in range(0, length, size)]

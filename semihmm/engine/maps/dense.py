"""The maps that act on a state vector as it is: every arc (Dense), or each state alone (Diagonal)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.engine.maps.base import Look, Map, Measure, Origin, fit
from semihmm.semirings import Semiring


@dataclass(frozen=True)
class Dense(Map):
    """All arcs.

    Args:
        weight: log-weight of ``[from, to]``, ``(..., T or 1, S, R)``.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)
        >>> count = semihmm.semirings.Count()
        >>> int(semihmm.engine.total(semihmm.engine.plan(chain, count), count, chain))
        16
    """

    weight: Tensor
    memory = 1
    ranks = (2,)
    steady = (True,)
    table_ranks = (2,)

    @property
    def slots(self) -> int:  # type: ignore[override]
        """R."""
        return self.weight.shape[-1]

    @property
    def pointers(self) -> int:
        """R."""
        return self.weight.shape[-1]

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """The one matrix."""
        return (self.weight,)

    @property
    def work(self) -> int:
        """S times R."""
        return self.weight.shape[-1] * self.weight.shape[-2]

    def rebuild(self, leaves: tuple[Tensor, ...]) -> "Dense":
        """With another matrix."""
        return Dense(*leaves)

    def tables(self) -> tuple[Tensor, ...]:
        """The matrix."""
        return (self.weight,)

    def step(self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...]) -> Tensor:
        """Vector times matrix."""
        return semiring.vecmat(carry.select(-2, 0), tables[0])

    def choose(
        self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...], generator: torch.Generator | None
    ) -> Tensor:
        """The state before."""
        scores = semiring.times(carry.select(-2, 0).unsqueeze(-1), tables[0])
        return semiring.choose(scores, -2, generator)[1]

    def trace(self, look: Look, slot: Tensor, tables: tuple[Tensor, ...]) -> Origin:
        """The state before."""
        source, row = look(slot, None)
        return Origin(source, row, 1, source)

    def transpose(self) -> Map:
        """The transposed matrix."""
        return Dense(self.weight.mT).flip()

    def contract(
        self, measure: Measure, carry: Tensor, output: Tensor, cost: Tensor, tables: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Before, arc and after."""
        term = carry.select(-2, 0).unsqueeze(-1) + tables[0] + cost.unsqueeze(-2)
        return (fit(measure, measure.weigh(term), self.weight),)


@dataclass(frozen=True)
class Diagonal(Map):
    """A weight for each state: emissions.

    Args:
        weight: log-weights, ``(..., T or 1, S)``.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), Diagonal(torch.zeros(3, 2)), length=3)
        >>> count = semihmm.semirings.Count()
        >>> int(semihmm.engine.total(semihmm.engine.plan(chain, count), count, chain))
        2
    """

    weight: Tensor
    memory = 1
    ranks = (1,)
    steady = (True,)
    table_ranks = (1,)
    pointers = 0
    reads_output = True

    @property
    def slots(self) -> int:  # type: ignore[override]
        """S."""
        return self.weight.shape[-1]

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """The weights."""
        return (self.weight,)

    @property
    def work(self) -> int:
        """S."""
        return self.weight.shape[-1]

    def rebuild(self, leaves: tuple[Tensor, ...]) -> "Diagonal":
        """With other weights."""
        return Diagonal(*leaves)

    def tables(self) -> tuple[Tensor, ...]:
        """The weights."""
        return (self.weight,)

    def step(self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...]) -> Tensor:
        """Each state by its weight."""
        return semiring.times(carry.select(-2, 0), tables[0])

    def choose(
        self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...], generator: torch.Generator | None
    ) -> Tensor:
        """Nothing to choose."""
        batch = carry.shape[semiring.components : -2]
        return carry.new_empty((semiring.rows, *batch, 0), dtype=torch.int64)

    def trace(self, look: Look, slot: Tensor, tables: tuple[Tensor, ...]) -> Origin:
        """The same state."""
        return Origin(slot, None, 1, slot)

    def transpose(self) -> Map:
        """Itself."""
        return self.flip()

    def contract(
        self, measure: Measure, carry: Tensor, output: Tensor, cost: Tensor, tables: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The output, which has the weight in it, and after."""
        return (fit(measure, measure.weigh(output + cost), self.weight),)

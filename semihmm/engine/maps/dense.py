"""The maps that act on a state vector as it is: every arc (Dense), or each state alone (Diagonal)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm._shapes import broadcast
from semihmm.engine.maps.base import Look, Map, Measure, Origin, fit
from semihmm.engine.maps.form import (
    FORBIDDEN,
    Transitions,
    as_index,
    check_range,
    check_weight,
    entries,
    unchecked,
)
from semihmm.errors import ShapeError
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

    def __post_init__(self) -> None:
        check_weight("Dense", "weight", self.weight, ("T or 1", "S", "R"))

    @property
    def slots(self) -> int:  # type: ignore[override]
        return self.weight.shape[-1]

    @property
    def inputs(self) -> int:
        return self.weight.shape[-2]

    @property
    def pointers(self) -> int:
        return self.weight.shape[-1]

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    @property
    def work(self) -> int:
        return self.weight.shape[-1] * self.weight.shape[-2]

    def rebuild(self, leaves: tuple[Tensor, ...]) -> "Dense":
        return unchecked(Dense, weight=leaves[0])

    def log_weights(self, at: Transitions) -> Tensor:
        return entries(self.weight, 2, at.before * self.slots + at.after)

    def tables(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    def step(self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...]) -> Tensor:
        return semiring.vecmat(carry.select(-2, 0), tables[0])

    def choose(
        self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...], generator: torch.Generator | None
    ) -> Tensor:
        scores = semiring.times(carry.select(-2, 0).unsqueeze(-1), tables[0])
        return semiring.choose(scores, -2, generator)[1]

    def trace(self, look: Look, slot: Tensor, tables: tuple[Tensor, ...]) -> Origin:
        source, row = look(slot, None)
        return Origin(source, row, 1, source)

    def transpose(self) -> "Dense":
        return Dense(self.weight.mT).flip()

    def contract(
        self, measure: Measure, carry: Tensor, output: Tensor, cost: Tensor, tables: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        term = carry.select(-2, 0).unsqueeze(-1) + tables[0] + cost.unsqueeze(-2)
        return (fit(measure, measure.weigh(term), self.weight),)


@dataclass(frozen=True)
class Diagonal(Map):
    """A weight for each state: emissions.

    Args:
        weight: log-weights, ``(..., T or 1, S)``; with an ``index``, ``(..., T or 1, V)``.
        index: which of the V columns each state has, int64 ``(..., 1, S)``, where states share columns: the tokens of
            CTC, the phones of a graph. None: each state its own. Whatever goes step by step does so on `unrolled`,
            which holds S log-weights for each step; the compiled backend reads the columns where they lie.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), Diagonal(torch.zeros(3, 2)), length=3)
        >>> count = semihmm.semirings.Count()
        >>> int(semihmm.engine.total(semihmm.engine.plan(chain, count), count, chain))
        2
        >>> Diagonal(torch.tensor([[0.5, 1.5]]), torch.tensor([[0, 1, 0]])).unrolled().weight
        tensor([[0.5000, 1.5000, 0.5000]])
    """

    weight: Tensor
    index: Tensor | None = None
    memory = 1
    table_ranks = (1,)
    pointers = 0
    reads_output = True

    def __post_init__(self) -> None:
        check_weight("Diagonal", "weight", self.weight, ("T or 1", "S" if self.index is None else "V"))
        if self.index is None:
            return
        object.__setattr__(self, "index", as_index("Diagonal", "index", self.index))
        if self.index.ndim < 2 or self.index.shape[-2] != 1:
            raise ShapeError(
                f"Diagonal: index must be (..., 1, S), the same at all times, got {tuple(self.index.shape)}. One for "
                "all sequences? Pass index.unsqueeze(0)."
            )
        columns = self.weight.shape[-1]
        check_range("Diagonal", "index", self.index, 0, columns - 1, f"the {columns} columns of weight")

    @property
    def slots(self) -> int:  # type: ignore[override]
        return self.tied.shape[-1]

    @property
    def tied(self) -> Tensor:
        """What has an entry for each state: the index, or the weights themselves."""
        return self.weight if self.index is None else self.index

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return (self.weight,) if self.index is None else (self.weight, self.index)

    @property
    def ranks(self) -> tuple[int, ...]:
        return (1,) * len(self.leaves)

    @property
    def steady(self) -> tuple[bool, ...]:
        """The weights."""
        return (True, False)[: len(self.leaves)]

    @property
    def work(self) -> int:
        return self.slots

    @property
    def unfolded(self) -> int:
        """S, with an index."""
        return 0 if self.index is None else self.slots

    def rebuild(self, leaves: tuple[Tensor, ...]) -> "Diagonal":
        return unchecked(Diagonal, weight=leaves[0], index=leaves[1] if len(leaves) > 1 else None)

    def unrolled(self) -> "Diagonal":
        """With a weight of its own for each state."""
        if self.index is None:
            return self
        batch = broadcast(self.weight.shape[:-2], self.index.shape[:-2])
        time = self.weight.shape[-2]
        index = self.index.expand(*batch, time, -1)
        return unchecked(Diagonal, weight=self.weight.expand(*batch, -1, -1).gather(-1, index), index=None)

    def log_weights(self, at: Transitions) -> Tensor:
        column = at.after if self.index is None else entries(self.index, 1, at.after)
        return torch.where(at.before == at.after, entries(self.weight, 1, column), FORBIDDEN)

    def tables(self) -> tuple[Tensor, ...]:
        return (self.unrolled().weight,)

    def step(self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...]) -> Tensor:
        return semiring.times(carry.select(-2, 0), tables[0])

    def choose(
        self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...], generator: torch.Generator | None
    ) -> Tensor:
        batch = carry.shape[semiring.components : -2]
        return carry.new_empty((semiring.rows, *batch, 0), dtype=torch.int64)

    def trace(self, look: Look, slot: Tensor, tables: tuple[Tensor, ...]) -> Origin:
        return Origin(slot, None, 1, slot)

    def transpose(self) -> Map:
        return self.flip()

    def contract(
        self, measure: Measure, carry: Tensor, output: Tensor, cost: Tensor, tables: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The output, which has the weight in it, and after: for each leaf of the unrolled map."""
        return (fit(measure, measure.weigh(output + cost), tables[0]),)

"""What the torch backend asks of a map: one step of a chain, in any semiring, forwards, backwards and traced."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from semihmm.engine.maps.form import Form, Transitions, unchecked
from semihmm.errors import ShapeError, StructureError
from semihmm.semirings import Semiring

if TYPE_CHECKING:
    from typing_extensions import Self

Look = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]


class Origin(NamedTuple):
    """Where a slot's value came from; each ``(rows, ...)`` int64."""

    slot: Tensor
    row: Tensor | None  # None: the row being followed goes on
    delay: int | Tensor  # how many steps earlier
    choice: Tensor  # which of its predecessors it was


class Measure(Protocol):
    """How the weights of all paths through an entry become one number: summed posteriors, or the best of them."""

    @property
    def semiring(self) -> Semiring:
        """Where log terms are worked out: its `times` is a sum of nats."""
        ...

    def weigh(self, log_term: Tensor) -> Tensor:
        """From log space into the space that is reduced."""
        ...

    def excess(self, log_terms: Tensor) -> Tensor:
        """What to take from log terms of slots, one of which each path takes, ``(..., slots)``; ``(..., 1)``."""
        ...

    def reduce(self, x: Tensor, dim: tuple[int, ...] | int) -> Tensor:
        """Over entries that share a weight; the axes stay, with size 1."""
        ...

    def plus(self, a: Tensor, b: Tensor) -> Tensor:
        """Two numbers for one weight."""
        ...

    def tail(self, x: Tensor, dim: int) -> Tensor:
        """Each entry with all the later ones along ``dim``."""
        ...

    def empty(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """What nothing passes through."""
        ...


class Map(Form):
    """A form that takes steps: a sequence of linear maps in any semiring.

    Its tables are what one step works with. A carry is the ``memory`` latest state vectors, newest first:
    ``(..., memory, slots)``.
    """

    reads_output: bool = False  # `contract` wants the step's output, not its carry
    in_one_slot: bool = True  # if it looks one step back, each path is in one slot at each time

    def unrolled(self) -> Map:
        """The same map with log-weights that lie by step and slot: itself, but for a Diagonal with an index."""
        return self

    @property
    def leads_on(self) -> Tensor:
        """Which slots later steps look back on, bool ``(slots,)``; the others are where a path may end."""
        return torch.ones(self.slots, dtype=torch.bool)

    @abstractmethod
    def tables(self) -> tuple[Tensor, ...]:
        """What a step works with: log-weights (linear in the leaves) and indices, ``(..., T, *event)``."""

    @property
    @abstractmethod
    def table_ranks(self) -> tuple[int, ...]:
        """How many event axes each table has."""

    @abstractmethod
    def step(self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...]) -> Tensor:
        """The next state vector ``(..., slots)``, from lifted tables without their time axis."""

    @abstractmethod
    def choose(
        self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...], generator: torch.Generator | None
    ) -> Tensor:
        """Where each slot of the next state vector came from: ``(rows, ..., pointers)``, as in `Semiring.choose`."""

    @property
    @abstractmethod
    def pointers(self) -> int:
        """How many pointers `choose` gives; 0 where a slot has one predecessor, itself."""

    @abstractmethod
    def trace(self, look: Look, slot: Tensor, tables: tuple[Tensor, ...]) -> Origin:
        """Follow the pointers of one step back from ``slot``.

        ``look(column, row)`` reads a pointer and gives ``(argument, row)``; ``row`` None is the row being followed.
        """

    @abstractmethod
    def transpose(self) -> Map:
        """The chain backwards in time, from ends to beginnings."""

    def close(self, semiring: Semiring, end: Tensor, lengths: Tensor | None) -> Tensor:
        """What comes after each slot at the end, ``(..., slots)``, where ``end`` weighs them; as log-weights.

        ``lengths`` is the chain's, with all batch axes or none.
        """
        return end

    def dual(self, vector: Tensor) -> Tensor:
        """Between a weighting of this map's state vectors and the state vectors of its `transpose`."""
        return vector

    @abstractmethod
    def contract(
        self, measure: Measure, carry: Tensor, output: Tensor, cost: Tensor, tables: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """For each leaf, the measure of all paths through it, over a block of steps.

        ``carry (..., T, memory, slots)`` weighs what comes before a step, ``cost (..., T, slots)`` what comes after (a
        state vector of the transpose), both in nats.
        """

    def spans(self, start: int, stop: int) -> tuple[slice, ...]:
        """Which part of each leaf's time axis the steps ``start`` to ``stop`` read."""
        return tuple(
            slice(start, stop + reach) if reach or leaf.shape[-1 - rank] != 1 else slice(0, 1)
            for leaf, rank, reach in zip(self.leaves, self.ranks, self.reaches, strict=True)
        )

    def window(self, start: int, stop: int) -> Self:
        """The steps ``start`` to ``stop`` alone."""
        cut = zip(self.leaves, self.ranks, self.spans(start, stop), strict=True)
        return self.rebuild(tuple(x.narrow(-1 - r, s.start, s.stop - s.start) for x, r, s in cut))

    def flip(self) -> Self:
        """The same steps, last one first (each still forwards: `transpose` is what turns them round)."""
        return self.rebuild(tuple(x.flip(-1 - r) for x, r in zip(self.leaves, self.ranks, strict=True)))

    def __matmul__(self, other: Form) -> Compose:
        """One after the other, within each step."""
        return Compose(self, other)  # type: ignore[arg-type]  # a form is unrolled there


@dataclass(frozen=True)
class Compose(Map):
    """``first @ then``, within one time step. Only maps that look one step back compose; a Grid is unrolled.

    Example:
        >>> steps = Dense(torch.zeros(1, 2, 2)) @ Diagonal(torch.zeros(3, 2))
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), steps, length=3)
        >>> count = semihmm.semirings.Count()
        >>> int(semihmm.engine.total(semihmm.engine.plan(chain, count), count, chain))
        16
    """

    first: Map
    then: Map

    def __post_init__(self) -> None:
        given: tuple[tuple[str, Form], ...] = (("first", self.first), ("then", self.then))
        for name, part in given:
            if not isinstance(part, Form):
                raise ShapeError(
                    f"Compose: @ joins maps, got {type(part).__name__}. A weight for each slot? Pass Diagonal(weight)."
                )
            if not isinstance(part, Map):
                object.__setattr__(self, name, part.unrolled())
        if self.first.memory != 1 or self.then.memory != 1:
            raise ShapeError(
                f"Compose: both maps must look one step back, got memories {self.first.memory} and {self.then.memory}. "
                "Give Segmental its emission instead of composing it with Diagonal."
            )
        if self.first.slots != self.then.inputs:
            raise ShapeError(
                f"Compose: the second map takes what the first one gives, so both must have as many slots, got "
                f"{type(self.first).__name__} with {self.first.slots} and {type(self.then).__name__} with "
                f"{self.then.inputs}."
            )

    def unrolled(self) -> Compose:
        first, then = self.first.unrolled(), self.then.unrolled()
        return self if first is self.first and then is self.then else unchecked(Compose, first=first, then=then)

    @property
    def memory(self) -> int:  # type: ignore[override]
        return 1

    @property
    def slots(self) -> int:  # type: ignore[override]
        return self.then.slots

    @property
    def inputs(self) -> int:
        return self.first.inputs

    @property
    def in_one_slot(self) -> bool:  # type: ignore[override]
        """Where both are."""
        return self.first.in_one_slot and self.then.in_one_slot

    @property
    def reads_output(self) -> bool:  # type: ignore[override]
        """As the second map does; the first one's output is computed where it is needed."""
        return self.then.reads_output

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.first.leaves + self.then.leaves

    @property
    def ranks(self) -> tuple[int, ...]:
        return self.first.ranks + self.then.ranks

    @property
    def steady(self) -> tuple[bool, ...]:
        return self.first.steady + self.then.steady

    @property
    def table_ranks(self) -> tuple[int, ...]:
        return self.first.table_ranks + self.then.table_ranks

    @property
    def work(self) -> int:
        return self.first.work + self.then.work

    @property
    def unfolded(self) -> int:
        return self.first.unfolded + self.then.unfolded

    def rebuild(self, leaves: tuple[Tensor, ...]) -> Compose:
        n = len(self.first.leaves)
        return unchecked(Compose, first=self.first.rebuild(leaves[:n]), then=self.then.rebuild(leaves[n:]))

    def log_weights(self, at: Transitions) -> Tensor:
        """The sum of both. Slots say where a path is between two maps if one of them keeps it where it is.

        Raises:
            StructureError: both maps move it.
        """
        if self.first.pointers and self.then.pointers:
            raise StructureError(
                f"Compose: {type(self.first).__name__} @ {type(self.then).__name__}: both maps lead from slot to slot, "
                "and a path does not say where it is between them. To have scores, make them one map, or two steps."
            )
        middle = at.before if self.then.pointers else at.after
        then = at._replace(before=middle, choice=torch.full_like(at.choice, -1))
        return self.first.log_weights(at._replace(after=middle)) + self.then.log_weights(then)

    def tables(self) -> tuple[Tensor, ...]:
        return self.first.tables() + self.then.tables()

    def _split(self, tables: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        n = len(self.first.table_ranks)
        return tables[:n], tables[n:]

    def step(self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...]) -> Tensor:
        one, two = self._split(tables)
        return self.then.step(semiring, self.first.step(semiring, carry, one).unsqueeze(-2), two)

    @property
    def pointers(self) -> int:
        return self.first.pointers + self.then.pointers

    def choose(
        self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...], generator: torch.Generator | None
    ) -> Tensor:
        one, two = self._split(tables)
        head = self.first.choose(semiring, carry, one, generator)
        if not self.then.pointers:
            return head
        middle = self.first.step(semiring, carry, one).unsqueeze(-2)
        tail = self.then.choose(semiring, middle, two, generator)
        return torch.cat([head, tail.expand(*head.shape[:-1], -1)] if self.first.pointers else [tail], -1)

    def trace(self, look: Look, slot: Tensor, tables: tuple[Tensor, ...]) -> Origin:
        """Through the second map, then through the first. The choice is the first map's."""
        one, two = self._split(tables)
        middle = self.then.trace(lambda column, row: look(column + self.first.pointers, row), slot, two)
        origin = self.first.trace(
            lambda column, row: look(column, middle.row if row is None else row), middle.slot, one
        )
        return origin if origin.row is not None else origin._replace(row=middle.row)

    def transpose(self) -> Map:
        return unchecked(Compose, first=self.then.transpose(), then=self.first.transpose())

    def contract(
        self, measure: Measure, carry: Tensor, output: Tensor, cost: Tensor, tables: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Each map between what the other makes of the carry and of the cost."""
        one, two = self._split(tables)
        back = self.then.transpose().flip()  # turned round, but in the order of time
        before = back.step(measure.semiring, cost.unsqueeze(-2), back.tables())
        spared = self.then.reads_output and not isinstance(self.then, Compose)  # which makes a middle of its own
        needs_middle = self.first.reads_output or not spared
        middle = self.first.step(measure.semiring, carry, one) if needs_middle else output
        return self.first.contract(measure, carry, middle, before, one) + self.then.contract(
            measure, middle.unsqueeze(-2), output, cost, two
        )


def fit(measure: Measure, x: Tensor, leaf: Tensor) -> Tensor:
    """Reduce ``x`` over the axes that ``leaf`` shares."""
    shared = tuple(d for d in range(-leaf.ndim, 0) if leaf.shape[d] == 1 and x.shape[d] != 1)
    return measure.reduce(x, shared) if shared else x


def select(pointer: Tensor, column: Tensor, row: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Read ``pointer (rows, ..., pointers)`` at a column and row for each answer ``(rows, ...)``: argument and row."""
    width = pointer.shape[-1]
    flat = pointer.movedim(0, -2).flatten(-2)  # (..., rows * pointers)
    code = flat.expand(*column.shape, -1).gather(-1, (row * width + column).unsqueeze(-1)).squeeze(-1)
    return code // rows, code % rows
